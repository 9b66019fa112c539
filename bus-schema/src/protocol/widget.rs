//! What a page needs to show its widget.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::GroupStatus;
use crate::{GroupId, limits::Limits};

/// Answer to `GET /v1/widget/config/{widget_key}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WidgetConfig {
    pub name: String,
    pub theme: Map<String, Value>,
    #[cfg_attr(feature = "openapi", schema(required))]
    pub greeting: Option<String>,
    pub pre_chat: PreChat,
    pub groups: Vec<WidgetGroup>,
    #[cfg_attr(feature = "openapi", schema(required))]
    pub locale: Option<String>,
    pub limits: Limits,
    pub ws_url: String,
    pub identity_required: bool,
}

/// What is asked before a chat begins.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PreChat {
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::openapi::FormField>))]
    pub fields: Vec<Value>,
}

/// A group that a visitor may choose.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WidgetGroup {
    pub id: GroupId,
    pub name: String,
    /// Without the router's word it would wait.
    pub status: GroupStatus,
}
