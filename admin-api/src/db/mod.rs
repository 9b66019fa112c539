//! Schema `config`: rows, and changes that the bus learns of.

mod change;
mod rows;
mod within;

pub use change::{By, Change, members_of, named, revoke};
pub use rows::{
    AccountRow, ActionTemplateRow, AgentRow, CannedResponseRow, GroupRow, MemberRow, SessionRow, TagRow,
    TenantRow, WidgetRow, meaning, word,
};

pub use within::Within;

use bus_schema::{FieldError, Timestamp};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use persister::db::At;

use crate::http::Problem;

/// `already_exists` for a name that another one has; anything else as it is.
pub fn taken(error: DieselError, pointer: &str, message: &str) -> Problem {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Problem::taken(pointer, message),
        other => other.into(),
    }
}

/// When a thing was made, changed and deleted: part of every view.
#[derive(Debug, Clone, Copy, serde::Serialize, utoipa::ToSchema)]
pub struct Times {
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Only of what was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deleted_at: Option<Timestamp>,
}

impl Times {
    pub fn of(created: At, updated: At, deleted: Option<At>) -> Self {
        Self { created_at: created.0, updated_at: updated.0, deleted_at: deleted.map(|at| at.0) }
    }
}

/// A value named in a request that is not in the tenant.
pub fn unknown(pointer: impl Into<String>, what: &str) -> FieldError {
    FieldError::new(pointer, format!("is no {what} of this tenant"))
}
