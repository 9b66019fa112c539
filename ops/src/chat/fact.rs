//! What an event changes of what a thread comes to for its readers.

use bus_schema::{Lane, event::Kind, protocol::MarkView, tally::Fact};
use serde::Deserialize;

use super::{Head, Life, MarkKind, Marked};

#[derive(Deserialize)]
pub(super) struct UpTo {
    pub up_to_seq: u64,
}

/// What the event stored at `seq` changes for somebody who gets it now, `late` where they have a later one already.
pub fn fact(lane: Lane, seq: u64, stored: &[u8], late: bool) -> Fact {
    match lane {
        Lane::Desk => Fact::Nothing,
        // It may begin a thread of which they have something: that would be forgotten.
        Lane::Life if late => Fact::Unreadable,
        Lane::Life => Life::decode(seq, stored).map_or(Fact::Unreadable, |life| of_life(&life)),
        // Readers ignore what they cannot read.
        Lane::Msg | Lane::Note | Lane::Mark => {
            Head::decode(stored).map_or(Fact::Nothing, |head| of_head(&head))
        }
    }
}

fn of_life(life: &Life) -> Fact {
    Fact::Thread { started_seq: life.started_seq(), has_previous: life.state.previous_thread_id.is_some() }
}

fn of_head(head: &Head<'_>) -> Fact {
    let kind = match head.kind() {
        Some(Kind::Delivered) => MarkKind::Delivered,
        Some(Kind::Read) => MarkKind::Read,
        Some(kind) if kind.counts_as_unread() => return Fact::Said(head.author),
        Some(_) | None => return Fact::Nothing,
    };
    let up_to = serde_json::from_str::<UpTo>(head.data.get()).map_or(0, |data| data.up_to_seq);
    let Marked { delivered, read } = Marked::of(kind, up_to);
    Fact::Marked(MarkView { author: head.author, delivered, read })
}
