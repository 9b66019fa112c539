//! A visitor's whole record, written by edges and admin-api with compare-and-set.

use serde::{Deserialize, Serialize};

use super::Extra;
use crate::{AgentId, Timestamp, VisitorId, WidgetId};

/// Carried by every message of a visitor's subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = VisitorState))]
pub struct VisitorRecord {
    pub visitor_id: VisitorId,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub email: Option<String>,
    /// What the site says of the visitor: text values, at most [`crate::limits::CUSTOM_FIELDS_MAX`].
    #[serde(default)]
    pub custom: std::collections::BTreeMap<String, String>,
    /// A label, unless `verified`.
    #[serde(default)]
    pub external_id: Option<String>,
    /// An identity token proved `external_id`.
    #[serde(default)]
    pub verified: bool,
    #[serde(default)]
    pub widget_id: Option<WidgetId>,
    #[serde(default)]
    pub page: Option<Page>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ban: Option<Ban>,
    /// Erased up to this instant; tokens made before it are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased_at: Option<Timestamp>,
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Extra,
}

impl VisitorRecord {
    pub fn new(visitor_id: VisitorId) -> Self {
        Self {
            visitor_id,
            name: None,
            email: None,
            custom: Default::default(),
            external_id: None,
            verified: false,
            widget_id: None,
            page: None,
            ban: None,
            erased_at: None,
            extra: Extra::new(),
        }
    }

    pub fn is_banned(&self, now: Timestamp) -> bool {
        self.ban.as_ref().is_some_and(|ban| ban.until.is_none_or(|until| now < until))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page {
    pub url: String,
    pub title: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ban {
    /// Absent: for good.
    pub until: Option<Timestamp>,
    pub by: AgentId,
}
