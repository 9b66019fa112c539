//! What the events of a thread came to, up to one of them: tags, marks, what was unread.
//!
//! Invariant: however long a thread is, all of its events count; of its marks the last of each person alone is read.

use std::collections::{BTreeMap, BTreeSet};

use bus_schema::{
    Author, AuthorType, Body, ConversationId, Event, TagId, TenantId, ThreadId, Timestamp, event::Kind,
    protocol::MarkView,
};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use ops::chat::Marked;
use persister::db::{At, Id, schema::chat::events};

use super::events::lanes;
use crate::{db::word, http::Problem};

/// Events of a thread, and of the conversation while it was the open one.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub tenant: Id<TenantId>,
    pub conversation: Id<ConversationId>,
    pub thread: ThreadId,
    /// The first and the last that may count.
    pub from: i64,
    pub to: i64,
}

impl Span {
    /// When the first event was stored.
    pub async fn first_at(&self, connection: &mut AsyncPgConnection) -> Result<Option<Timestamp>, Problem> {
        let at: Option<At> = events::table
            .find((self.tenant, self.from))
            .filter(events::conversation_id.eq(self.conversation))
            .select(events::at)
            .first(connection)
            .await
            .optional()?;
        Ok(at.map(|at| at.0))
    }

    /// Tags and marks.
    pub async fn fold(&self, connection: &mut AsyncPgConnection) -> Result<Folded, Problem> {
        let tagging = [Kind::Tagged.name(), Kind::Untagged.name()];
        let tagged: Vec<Option<String>> = events::table
            .filter(events::tenant_id.eq(self.tenant).and(events::conversation_id.eq(self.conversation)))
            .filter(events::seq.between(self.from, self.to).and(events::kind.eq_any(tagging)))
            .order(events::seq.asc())
            .select(events::payload)
            .load(connection)
            .await?;
        // They only grow: the last says it all.
        let whose = (events::author_type, events::author_id, events::kind);
        let marked: Vec<Option<String>> = events::table
            .filter(events::tenant_id.eq(self.tenant).and(events::conversation_id.eq(self.conversation)))
            .filter(events::seq.between(self.from, self.to).and(events::lane.eq(lanes::MARK)))
            .filter(events::payload.is_not_null())
            .distinct_on(whose)
            .order((events::author_type, events::author_id, events::kind, events::seq.desc()))
            .select(events::payload)
            .load(connection)
            .await?;
        let mut folded = Folded::default();
        for payload in tagged.into_iter().chain(marked).flatten() {
            folded.add(self.thread, &payload);
        }
        Ok(folded)
    }

    /// The last thing that participants see, and when it was stored.
    pub async fn last_seen(&self, connection: &mut AsyncPgConnection) -> Result<Option<(i64, At)>, Problem> {
        let said: Vec<&str> =
            Kind::ALL.iter().filter(|kind| kind.ends_with_thread()).map(|kind| kind.name()).collect();
        let seen =
            events::lane.eq(lanes::LIFE).or(events::lane.eq(lanes::MSG).and(events::kind.eq_any(said)));
        let last = events::table
            .filter(events::tenant_id.eq(self.tenant).and(events::conversation_id.eq(self.conversation)))
            .filter(events::seq.between(self.from, self.to).and(seen))
            .filter(events::payload.is_not_null())
            .order(events::seq.desc())
            .select((events::seq, events::at))
            .first(connection)
            .await;
        Ok(last.optional()?)
    }

    /// What others said above what `me` had read.
    pub async fn unread(
        &self,
        connection: &mut AsyncPgConnection,
        me: Author,
        read: u64,
    ) -> Result<u64, Problem> {
        let counts: Vec<&str> =
            Kind::ALL.iter().filter(|kind| kind.counts_as_unread()).map(|kind| kind.name()).collect();
        let above = i64::try_from(read).unwrap_or(i64::MAX).saturating_add(1).max(self.from);
        let mine = events::author_type.eq(word(me.kind)).and(events::author_id.eq(me.id));
        let unread: i64 = events::table
            .filter(events::tenant_id.eq(self.tenant).and(events::conversation_id.eq(self.conversation)))
            .filter(events::seq.between(above, self.to).and(diesel::dsl::not(mine)))
            .filter(events::kind.eq_any(counts).and(events::payload.is_not_null()))
            .count()
            .get_result(connection)
            .await?;
        Ok(unread.unsigned_abs())
    }
}

/// What a thread's events come to.
#[derive(Debug, Default)]
pub struct Folded {
    pub tags: BTreeSet<TagId>,
    marks: BTreeMap<(AuthorType, uuid::Uuid), Marked>,
}

impl Folded {
    fn add(&mut self, thread: ThreadId, payload: &str) {
        let Ok(event) = Event::decode(payload.as_bytes()) else { return };
        let of_thread = event.thread_id == Some(thread);
        match &event.body {
            Body::Tagged(data) if of_thread => drop(self.tags.insert(data.tag_id)),
            Body::Untagged(data) if of_thread => drop(self.tags.remove(&data.tag_id)),
            body => {
                let Some(mark) = Marked::of_body(body) else { return };
                let known = self.marks.entry((event.author.kind, event.author.id)).or_default();
                *known = known.max(mark);
            }
        }
    }

    /// How far somebody has read.
    pub fn read_by(&self, who: Author) -> u64 {
        self.marks.get(&(who.kind, who.id)).map_or(0, |mark| mark.read)
    }

    pub fn marks(&self) -> Vec<MarkView> {
        let view = |(&(kind, id), mark): (&(AuthorType, uuid::Uuid), &Marked)| MarkView {
            author: Author { kind, id },
            delivered: mark.delivered,
            read: mark.read,
        };
        self.marks.iter().map(view).collect()
    }
}
