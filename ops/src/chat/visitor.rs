//! The visitor's record: the last message of the visitor's subject, changed by compare-and-set.

use std::collections::BTreeMap;

use bus_schema::{
    Author, Body, Epoch, ErrorBody, ErrorCode, Event, EventId, IncarnationId, Shard, Subject, TenantId,
    Visibility, VisitorId, WidgetId,
    event::{VisitorSeen, VisitorUpdated},
    state::{Page, VisitorRecord},
};

use super::{
    frozen,
    retry::{TRIES_MAX, pause},
    unreadable, unwritable,
};
use crate::log::{Expect, Log, Write, WriteError};

/// A visitor's record with its place; sequence 0: not written yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub seq: u64,
    pub record: VisitorRecord,
}

/// What is to be known of a visitor from now on; none: as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileChange {
    pub name: Option<String>,
    pub email: Option<String>,
    pub custom: Option<BTreeMap<String, String>>,
    /// A label, unless proved.
    pub external_id: Option<String>,
    pub widget_id: Option<WidgetId>,
    pub page: Option<Page>,
}

/// The record as the leader has it, empty where none was written.
pub async fn record(log: &Log, tenant: TenantId, visitor: VisitorId) -> Result<Record, ErrorBody> {
    let subject = subject(log.shard(), tenant, visitor);
    let Some(message) = log.last(&subject).await.map_err(|error| unreadable(&error))? else {
        return Ok(Record { seq: 0, record: VisitorRecord::new(visitor) });
    };
    let event = Event::decode(&message.payload).map_err(|error| frozen(&subject, &error))?;
    match event.body.visitor_record() {
        Some(record) => Ok(Record { seq: message.seq, record: record.clone() }),
        None => Err(ErrorCode::Internal.into()),
    }
}

/// Writes the change unless the record says so already. The record comes back as it is then.
pub async fn update_visitor(
    log: &Log,
    tenant: TenantId,
    visitor: VisitorId,
    change: &ProfileChange,
    epoch: Epoch,
    writer: IncarnationId,
) -> Result<Record, ErrorBody> {
    let mut tries = 0;
    loop {
        let before = record(log, tenant, visitor).await?;
        let Some((write, after)) = change.write(log.shard(), tenant, &before, epoch, writer) else {
            return Ok(before);
        };
        match log.publish(write).await {
            Ok(stored) => return Ok(Record { seq: stored.seq, record: after }),
            // Read again: it may be there, another's may be there, or it may never come.
            Err(WriteError::Mismatch | WriteError::InFlight | WriteError::Unknown) if tries < TRIES_MAX => {
                tries += 1;
                pause(tries).await;
            }
            Err(error) => return Err(unwritable(&error)),
        }
    }
}

impl ProfileChange {
    fn applied(&self, before: &VisitorRecord) -> VisitorRecord {
        let mut after = before.clone();
        let set = |field: &mut Option<String>, value: &Option<String>| {
            if let Some(value) = value {
                *field = Some(value.clone()).filter(|text| !text.is_empty());
            }
        };
        set(&mut after.name, &self.name);
        set(&mut after.email, &self.email);
        if !after.verified {
            set(&mut after.external_id, &self.external_id);
        }
        if let Some(custom) = &self.custom {
            after.custom.clone_from(custom);
        }
        if self.page.is_some() {
            after.page.clone_from(&self.page);
        }
        if after.widget_id.is_none() {
            after.widget_id = self.widget_id;
        }
        after
    }

    /// The write that makes it so, fenced with what was there; none where nothing changes.
    pub(super) fn write(
        &self,
        shard: Shard,
        tenant: TenantId,
        before: &Record,
        epoch: Epoch,
        writer: IncarnationId,
    ) -> Option<(Write, VisitorRecord)> {
        let after = self.applied(&before.record);
        if before.seq > 0 && after == before.record {
            return None;
        }
        let visitor = after.visitor_id;
        let subject = subject(shard, tenant, visitor);
        let body = if before.seq == 0 || after.page != before.record.page {
            Body::VisitorSeen(VisitorSeen {
                widget_id: after.widget_id,
                external_id: after.external_id.clone(),
                verified: after.verified,
                page: after.page.clone(),
                record: after.clone(),
            })
        } else {
            Body::VisitorUpdated(VisitorUpdated {
                name: after.name.clone(),
                email: after.email.clone(),
                custom: after.custom.clone(),
                record: after.clone(),
            })
        };
        let event = Event {
            id: EventId::of_write(epoch, &subject, before.seq, writer),
            cause: None,
            tenant_id: tenant,
            conversation_id: None,
            thread_id: None,
            author: Author::visitor(visitor),
            client_id: None,
            visibility: Visibility::All,
            body,
        };
        let write = Write::new(subject, event.encode()).expect(Expect::LastOnSubject(before.seq));
        Some((write, after))
    }
}

fn subject(shard: Shard, tenant: TenantId, visitor: VisitorId) -> String {
    Subject::Visitor { shard, tenant, visitor }.to_string()
}
