//! The visitor's record: the last message of the visitor's subject, changed by compare-and-set.

use std::collections::BTreeMap;

use bus_schema::{
    Author, Body, Epoch, ErrorBody, ErrorCode, Event, EventId, IncarnationId, Shard, Subject, TenantId,
    Visibility, VisitorId, WidgetId,
    event::{VisitorSeen, VisitorUpdated},
    state::{Page, VisitorRecord},
};
use uuid::Uuid;

use super::{
    frozen,
    retry::{TRIES_MAX, pause},
    unreadable, unwritable,
};
use crate::log::{Expect, Log, StoredMsg, Write, WriteError};

/// A visitor's record with its place; sequence 0: not written yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub seq: u64,
    pub record: VisitorRecord,
    /// Of the erasure, where that is the last that happened to it.
    pub receipt: Option<String>,
}

/// What is to be known of a visitor from now on; none: as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileChange {
    pub name: Option<String>,
    pub email: Option<String>,
    pub custom: Option<BTreeMap<String, String>>,
    /// A label, unless `proved`.
    pub external_id: Option<String>,
    /// An identity token says that the visitor is `external_id`.
    pub proved: bool,
    pub widget_id: Option<WidgetId>,
    pub page: Option<Page>,
}

/// The record as the leader has it, empty where none was written.
pub async fn record(log: &Log, tenant: TenantId, visitor: VisitorId) -> Result<Record, ErrorBody> {
    let subject = subject(log.shard(), tenant, visitor);
    match log.last(&subject).await.map_err(|error| unreadable(&error))? {
        Some(message) => Record::of(&message),
        None => Ok(Record { seq: 0, record: VisitorRecord::new(visitor), receipt: None }),
    }
}

impl Record {
    /// Reads a message of a visitor's subject.
    pub(super) fn of(message: &StoredMsg) -> Result<Self, ErrorBody> {
        let event = Event::decode(&message.payload).map_err(|error| frozen(&message.subject, &error))?;
        let record = event.body.visitor_record().cloned().ok_or(ErrorCode::Internal)?;
        Ok(Self { seq: message.seq, record, receipt: receipt(&event.body) })
    }
}

/// Who changes a visitor's record, and why.
#[derive(Debug, Clone, Copy)]
pub struct Hand {
    pub tenant: TenantId,
    pub visitor: VisitorId,
    pub author: Author,
    /// What makes the change, where a repeat is to be known again.
    pub cause: Option<Uuid>,
    pub epoch: Epoch,
    pub writer: IncarnationId,
}

impl Hand {
    /// The write of what follows the record at `before`, fenced with it.
    pub(super) fn write(&self, shard: Shard, before: u64, body: Body) -> Write {
        let subject = subject(shard, self.tenant, self.visitor);
        let id = EventId::of_write(self.epoch, &subject, before, self.writer);
        Write::new(subject, self.event(id, body).encode()).expect(Expect::LastOnSubject(before))
    }

    pub(super) fn event(&self, id: EventId, body: Body) -> Event {
        Event {
            id,
            cause: self.cause,
            tenant_id: self.tenant,
            conversation_id: None,
            thread_id: None,
            author: self.author,
            client_id: None,
            visibility: Visibility::All,
            body,
        }
    }
}

/// Writes what `change` makes of the record as it is then; none: it is as it should be. `change` runs again whenever
/// another writer was first. The record comes back as it is after it.
pub async fn change_visitor(
    log: &Log,
    hand: Hand,
    change: impl Fn(&Record) -> Result<Option<Body>, ErrorBody>,
) -> Result<Record, ErrorBody> {
    let mut tries = 0;
    loop {
        let before = record(log, hand.tenant, hand.visitor).await?;
        let Some(body) = change(&before)? else { return Ok(before) };
        let after = body.visitor_record().cloned().ok_or(ErrorCode::Internal)?;
        let receipt = receipt(&body);
        match log.publish(hand.write(log.shard(), before.seq, body)).await {
            Ok(stored) => return Ok(Record { seq: stored.seq, record: after, receipt }),
            // Read again: it may be there, another's may be there, or it may never come.
            Err(WriteError::Mismatch | WriteError::InFlight | WriteError::Unknown) if tries < TRIES_MAX => {
                tries += 1;
                pause(tries).await;
            }
            Err(error) => return Err(unwritable(&error)),
        }
    }
}

/// Writes what the visitor says unless the record says so already. The record comes back as it is then.
pub async fn update_visitor(
    log: &Log,
    tenant: TenantId,
    visitor: VisitorId,
    change: &ProfileChange,
    epoch: Epoch,
    writer: IncarnationId,
) -> Result<Record, ErrorBody> {
    let hand = Hand { tenant, visitor, author: Author::visitor(visitor), cause: None, epoch, writer };
    change_visitor(log, hand, |before| Ok(change.body(before))).await
}

fn receipt(body: &Body) -> Option<String> {
    match body {
        Body::VisitorErased(erased) => Some(erased.receipt.clone()),
        _ => None,
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
        // What was proved is not relabelled.
        if self.proved || !after.verified {
            set(&mut after.external_id, &self.external_id);
        }
        after.verified |= self.proved;
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

    /// What makes it so; none where nothing changes.
    pub fn body(&self, before: &Record) -> Option<Body> {
        let after = self.applied(&before.record);
        if before.seq > 0 && after == before.record {
            return None;
        }
        Some(if before.seq == 0 || after.page != before.record.page {
            Body::VisitorSeen(VisitorSeen {
                widget_id: after.widget_id,
                external_id: after.external_id.clone(),
                verified: after.verified,
                page: after.page.clone(),
                record: after,
            })
        } else {
            Body::VisitorUpdated(VisitorUpdated {
                name: after.name.clone(),
                email: after.email.clone(),
                custom: after.custom.clone(),
                record: after,
            })
        })
    }

    /// The visitor's own write that makes it so, fenced with what was there; none where nothing changes.
    pub(super) fn write(
        &self,
        shard: Shard,
        tenant: TenantId,
        before: &Record,
        epoch: Epoch,
        writer: IncarnationId,
    ) -> Option<(Write, VisitorRecord)> {
        let body = self.body(before)?;
        let after = body.visitor_record()?.clone();
        let visitor = after.visitor_id;
        let hand = Hand { tenant, visitor, author: Author::visitor(visitor), cause: None, epoch, writer };
        Some((hand.write(shard, before.seq, body), after))
    }
}

fn subject(shard: Shard, tenant: TenantId, visitor: VisitorId) -> String {
    Subject::Visitor { shard, tenant, visitor }.to_string()
}
