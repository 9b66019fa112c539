//! Attachments.

use bus_schema::{
    ErrorBody, ErrorCode,
    protocol::{AttachmentLink, GetAttachment},
};
use serde_json::value::RawValue;

use crate::session::request;

/// A link to an attachment that the caller may see. Nothing was ever uploaded, so there is none.
pub fn get_attachment(payload: Option<&RawValue>) -> Result<AttachmentLink, ErrorBody> {
    let GetAttachment { .. } = request::payload(payload)?;
    Err(ErrorCode::NotFound.into())
}
