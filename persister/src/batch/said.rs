//! What people say, edit, delete, rate and tag, and how far they have read.
//!
//! Invariant: an edit of a deleted message is none, whether both come in one batch or in two.

use std::collections::btree_map::Entry as Slot;

use bus_schema::{
    AuthorType, ConversationId, TagId, Visibility,
    event::{Body, FormFilled, MessageDeleted, MessageEdited, Rated},
};
use serde_json::Value;

use super::{Entry, fold::Rows, staff::count, text::clean};
use crate::{
    db::{At, Id},
    rows::{DeletionRow, EditRow, MarkRow, MessageRow, PurgeRow, RatingRow, TagRow, TalkRow, TouchRow},
};

pub fn said(rows: &mut Rows, entry: &Entry, conversation: ConversationId) {
    match &entry.event.body {
        Body::Message(data) => message(rows, entry, conversation, Some(clean(&data.text))),
        Body::File(data) => message(rows, entry, conversation, Some(clean(&data.name))),
        Body::FormFilled(data) => message(rows, entry, conversation, Some(filled(data))),
        Body::RichMessage(_) | Body::Form(_) => message(rows, entry, conversation, None),
        Body::MessageEdited(data) => edited(rows, entry, conversation, data),
        Body::MessageDeleted(data) => deleted(rows, entry, conversation, data),
        Body::Rated(data) => rated(rows, entry, conversation, data),
        Body::Tagged(data) => tag(rows, entry, conversation, data.tag_id, true),
        Body::Untagged(data) => tag(rows, entry, conversation, data.tag_id, false),
        Body::Delivered(data) => mark(rows, entry, conversation, data.up_to_seq, 0),
        Body::Read(data) => mark(rows, entry, conversation, 0, data.up_to_seq),
        _ => {}
    }
}

fn message(rows: &mut Rows, entry: &Entry, conversation: ConversationId, text: Option<String>) {
    let event = &entry.event;
    let (tenant, visible) = (event.tenant_id, event.visibility == Visibility::All);
    let Some(kind) = event.body.kind() else { return };
    rows.messages.push(MessageRow {
        tenant_id: Id(tenant),
        conversation_id: Id(conversation),
        seq: entry.seq,
        id: Id(event.id),
        thread_id: event.thread_id.map(Id),
        at: At(entry.at),
        kind: kind.name(),
        author_type: event.author.kind.name(),
        author_id: event.author.id,
        visibility: if visible { "all" } else { "agents" },
        text,
    });
    if !visible {
        count(rows, entry, "notes");
        return;
    }
    let touch = TouchRow { tenant_id: Id(tenant), id: Id(conversation), at: At(entry.at), seq: entry.seq };
    rows.touches.insert((tenant, conversation), touch);
    let (from_visitor, from_agent) = match event.author.kind {
        AuthorType::Visitor => (1, 0),
        AuthorType::Agent | AuthorType::Bot => (0, 1),
        AuthorType::System => (0, 0),
    };
    count(rows, entry, if from_visitor == 1 { "messages_visitor" } else { "messages_agent" });
    let Some(thread) = event.thread_id else { return };
    let talk = rows.talk.entry((tenant, thread)).or_insert_with(|| TalkRow {
        tenant_id: Id(tenant),
        id: Id(thread),
        visitor_messages: 0,
        agent_messages: 0,
        first_response_at: None,
    });
    talk.visitor_messages += from_visitor;
    talk.agent_messages += from_agent;
    if from_agent == 1 {
        talk.first_response_at.get_or_insert(At(entry.at));
    }
}

/// What was filled in, for people who search.
fn filled(data: &FormFilled) -> String {
    let values = data.values.values().map(|value| match value {
        Value::String(text) => clean(text),
        other => clean(&other.to_string()),
    });
    values.collect::<Vec<_>>().join("\n")
}

fn edited(rows: &mut Rows, entry: &Entry, conversation: ConversationId, data: &MessageEdited) {
    let key = (entry.event.tenant_id, conversation, data.target_id);
    if rows.deletions.contains_key(&key) {
        return;
    }
    rows.edits.insert(
        key,
        EditRow {
            tenant_id: Id(entry.event.tenant_id),
            conversation_id: Id(conversation),
            target_id: Id(data.target_id),
            seq: entry.seq,
            at: At(entry.at),
            text: clean(&data.text),
        },
    );
}

fn deleted(rows: &mut Rows, entry: &Entry, conversation: ConversationId, data: &MessageDeleted) {
    let (tenant, author) = (entry.event.tenant_id, entry.event.author);
    if let Slot::Vacant(slot) = rows.deletions.entry((tenant, conversation, data.target_id)) {
        slot.insert(DeletionRow {
            tenant_id: Id(tenant),
            conversation_id: Id(conversation),
            target_id: Id(data.target_id),
            seq: entry.seq,
            at: At(entry.at),
            author_type: author.kind.name(),
            author_id: author.id,
        });
    }
    if data.purge {
        rows.purges.push(PurgeRow {
            tenant_id: Id(tenant),
            conversation_id: Id(conversation),
            target_id: Id(data.target_id),
            seq: entry.seq,
        });
    }
}

fn rated(rows: &mut Rows, entry: &Entry, conversation: ConversationId, data: &Rated) {
    let Some(thread) = entry.event.thread_id else { return };
    let tenant = entry.event.tenant_id;
    rows.ratings.entry((tenant, thread)).or_insert_with(|| RatingRow {
        tenant_id: Id(tenant),
        thread_id: Id(thread),
        conversation_id: Id(conversation),
        seq: entry.seq,
        at: At(entry.at),
        score: i16::from(data.score),
        comment: data.comment.as_deref().map(clean),
    });
}

fn tag(rows: &mut Rows, entry: &Entry, conversation: ConversationId, tag: TagId, present: bool) {
    let Some(thread) = entry.event.thread_id else { return };
    let (tenant, author) = (entry.event.tenant_id, entry.event.author);
    let row = TagRow {
        tenant_id: Id(tenant),
        thread_id: Id(thread),
        tag_id: Id(tag),
        conversation_id: Id(conversation),
        present,
        seq: entry.seq,
        at: At(entry.at),
        author_type: author.kind.name(),
        author_id: author.id,
    };
    rows.tags.insert((tenant, thread, tag), row);
}

fn mark(rows: &mut Rows, entry: &Entry, conversation: ConversationId, delivered: u64, read: u64) {
    let (tenant, author) = (entry.event.tenant_id, entry.event.author);
    let number = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
    let key = (tenant, conversation, author.kind.name(), author.id);
    let row = rows.marks.entry(key).or_insert_with(|| MarkRow {
        tenant_id: Id(tenant),
        conversation_id: Id(conversation),
        author_type: author.kind.name(),
        author_id: author.id,
        delivered_seq: 0,
        read_seq: 0,
        seq: 0,
        at: At(entry.at),
    });
    row.delivered_seq = row.delivered_seq.max(number(delivered));
    row.read_seq = row.read_seq.max(number(read));
    (row.seq, row.at) = (entry.seq, At(entry.at));
}
