//! Attachments.

use std::time::Duration;

use bus_schema::{
    ErrorBody, ErrorCode, Visibility,
    file::FileKey,
    limits::LINK_MS,
    protocol::{AttachmentLink, GetAttachment},
};
use ops::{chat, files::lane_of};
use serde_json::value::RawValue;

use crate::{
    clock,
    session::{Who, login::Session, request},
};

/// A link to a file, for whoever sees the event that it is in.
pub async fn get_attachment(
    session: &Session,
    payload: Option<&RawValue>,
) -> Result<AttachmentLink, ErrorBody> {
    let GetAttachment { attachment_id } = request::payload(payload)?;
    let (who, core) = (session.who, &session.app.core);
    let file = FileKey { tenant: who.tenant(), attachment: attachment_id };
    let record = core.files.record(file).await?.ok_or(ErrorCode::NotFound)?;
    let home = who.home(&session.app, record.conversation_id)?;
    if record.visibility == Visibility::Agents && matches!(who, Who::Visitor { .. }) {
        return Err(ErrorCode::NotFound.into());
    }
    let log = core.log(home.shard).ok_or(ErrorCode::Unavailable)?;
    let life = chat::life(log, home).await?.ok_or(ErrorCode::NotFound)?;
    who.sender().may_see(&core.directory.now(), &life.state)?;
    let lane = lane_of(record.visibility);
    if !chat::shown(log, home, lane, record.from_seq, record.event_id).await? {
        return Err(ErrorCode::NotFound.into());
    }
    let expires_at = clock::now().plus(Duration::from_millis(LINK_MS));
    Ok(AttachmentLink { url: core.links.make(file, expires_at), expires_at })
}
