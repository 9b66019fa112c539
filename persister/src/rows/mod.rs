//! Rows of the read model, and the one statement that writes many of each at once.
//!
//! Invariant: whatever the number of rows, a statement has one array for each column, so it is prepared once for
//! each connection. Names are unqualified: the connection's `search_path` says which schema is written.

mod conversation;
mod event;
mod life;
mod people;
mod pipe;
mod position;
mod said;
mod staff;

pub use conversation::{ConversationRow, MarkRow, TouchRow};
pub use event::{EventRow, InsertEvents, ParkedRow};
pub use life::{AssignmentEndRow, AssignmentRow, DeskRow, TalkRow, ThreadRow};
pub use people::{AgentStateRow, VisitorRow};
pub use pipe::Pipe;
pub use position::{MoveRow, MoveWatermark, StartRow, StartWatermark};
pub use said::{DeletionRow, EditRow, MessageRow, PurgeRow};
pub use staff::{CounterRow, DecisionRow, ErasureRow, RatingRow, TagRow};

use diesel::{
    pg::Pg,
    query_builder::{Query, QueryFragment, QueryId},
};

/// A row, and the statement that writes a batch of them.
pub trait Row: Sized + Send {
    type Statement: FromIterator<Self> + Query + QueryFragment<Pg> + QueryId + Send + 'static;
}

/// Defines a row and its statement. `insert` writes the insert and its select list itself; `update` takes what
/// stands before and after the rows, which it calls `r`.
macro_rules! row {
    ($(#[$doc:meta])* $row:ident by $statement:ident returning $returns:ty {
        $($field:ident: $sql:ty = $rust:ty $(as $cast:literal)?,)+
    } insert $table:literal, $tail:literal) => {
        row!(@types $(#[$doc])* $row $statement $returns { $($field: $sql = $rust,)+ });
        impl QueryFragment<Pg> for $statement {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                out.push_sql(concat!("INSERT INTO ", $table, " ("));
                row!(@list out "" $($field)+);
                out.push_sql(") SELECT ");
                let mut separator = "";
                $(
                    out.push_sql(separator);
                    out.push_sql(concat!("r.", stringify!($field) $(, "::", $cast)?));
                    separator = ", ";
                )+
                let _ = separator;
                out.push_sql(" FROM unnest(");
                row!(@binds out self $($field: $sql,)+);
                out.push_sql(concat!(" ", $tail));
                Ok(())
            }
        }
    };
    ($(#[$doc:meta])* $row:ident by $statement:ident {
        $($field:ident: $sql:ty = $rust:ty $(as $cast:literal)?,)+
    } insert $table:literal, $tail:literal) => {
        row!($(#[$doc])* $row by $statement returning () {
            $($field: $sql = $rust $(as $cast)?,)+
        } insert $table, $tail);
    };
    ($(#[$doc:meta])* $row:ident by $statement:ident {
        $($field:ident: $sql:ty = $rust:ty,)+
    } update $before:literal, $after:literal) => {
        row!(@types $(#[$doc])* $row $statement () { $($field: $sql = $rust,)+ });
        impl QueryFragment<Pg> for $statement {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                out.push_sql(concat!($before, " unnest("));
                row!(@binds out self $($field: $sql,)+);
                out.push_sql(concat!(" ", $after));
                Ok(())
            }
        }
    };
    (@types $(#[$doc:meta])* $row:ident $statement:ident $returns:ty { $($field:ident: $sql:ty = $rust:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $row { $(pub $field: $rust,)+ }

        /// The rows of a batch, column by column.
        #[derive(Debug, Default)]
        pub struct $statement { $($field: Vec<$rust>,)+ }

        impl FromIterator<$row> for $statement {
            fn from_iter<I: IntoIterator<Item = $row>>(rows: I) -> Self {
                let mut all = Self::default();
                for row in rows {
                    $(all.$field.push(row.$field);)+
                }
                all
            }
        }

        impl Row for $row {
            type Statement = $statement;
        }

        impl QueryId for $statement {
            type QueryId = Self;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl Query for $statement {
            type SqlType = $returns;
        }
    };
    (@list $out:ident $prefix:literal $($field:ident)+) => {
        let mut separator = "";
        $(
            $out.push_sql(separator);
            $out.push_sql(concat!($prefix, stringify!($field)));
            separator = ", ";
        )+
        let _ = separator;
    };
    (@binds $out:ident $self:ident $($field:ident: $sql:ty,)+) => {
        let mut separator = "";
        $(
            $out.push_sql(separator);
            $out.push_bind_param::<Array<$sql>, _>(&$self.$field)?;
            separator = ", ";
        )+
        let _ = separator;
        $out.push_sql(") AS r (");
        row!(@list $out "" $($field)+);
        $out.push_sql(")");
    };
}
use row;

/// What every file of rows needs.
mod prelude {
    pub use bus_schema::{
        AgentId, ConversationId, Epoch, EventId, GroupId, TagId, TenantId, ThreadId, VisitorId, WidgetId,
    };
    pub use diesel::{
        QueryResult,
        pg::Pg,
        query_builder::{AstPass, Query, QueryFragment, QueryId},
        sql_types::{
            Array, BigInt, Binary, Bool, Date, Integer, Nullable, SmallInt, Text, Timestamptz,
            Uuid as UuidSql,
        },
    };
    pub use uuid::Uuid;

    pub use super::Row;
    pub(in crate::rows) use super::row;
    pub use crate::db::{At, Id};
}
