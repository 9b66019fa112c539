//! A tenant's history, each row of it a function of its number: every table can be filled on its own, in any order.

use bus_schema::{ConversationId, TenantId, Timestamp, VisitorId};
use uuid::Uuid;

use super::super::schedule::Draw;

/// Conversations that go on beside each other, event by event.
const BESIDE: u64 = 100;
/// The year that ends now.
const SPAN_MS: i64 = 365 * 24 * 3600 * 1000;
/// Other agents and groups than the ones who ask.
pub const AGENTS: u64 = 50;
pub const GROUPS: u64 = 10;
/// Words there are; how often one is used falls with its number, as in a language.
const WORDS: f64 = 50_000.0;
const TEXT_WORDS: std::ops::RangeInclusive<u64> = 4..=16;

/// One of each kind that is configured.
#[derive(Debug, Clone, Copy)]
pub struct Things {
    pub widget: Uuid,
    pub canned_response: Uuid,
    pub action_template: Uuid,
    pub api_token: Uuid,
}

/// What is to be made, and for whom.
#[derive(Debug, Clone)]
pub struct Made {
    pub things: Things,
    pub tenant: TenantId,
    /// Who asks as an agent: one of [`AGENTS`].
    pub agent: Uuid,
    /// Their group: one of [`GROUPS`].
    pub group: Uuid,
    pub tag: Uuid,
    pub conversations: u64,
    /// Events of each conversation.
    pub each: u64,
    pub now: Timestamp,
}

/// One conversation, of one thread.
#[derive(Debug, Clone, Copy)]
pub struct Talk {
    pub number: u64,
    pub id: ConversationId,
    pub visitor: VisitorId,
    pub thread: Uuid,
    pub group: Uuid,
    pub agent: Uuid,
    pub open: bool,
    pub tagged: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Started,
    Decided,
    Assigned,
    Message,
    Note,
    Read,
    Closed,
}

/// One event of it.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub seq: u64,
    pub at: Timestamp,
    pub id: Uuid,
    pub what: What,
    pub by_visitor: bool,
}

impl What {
    pub const fn lane(self) -> &'static str {
        match self {
            What::Started | What::Assigned | What::Closed => "life",
            What::Decided => "desk",
            What::Message => "msg",
            What::Note => "note",
            What::Read => "mark",
        }
    }

    pub const fn kind(self) -> &'static str {
        match self {
            What::Started => "started",
            What::Assigned => "assigned",
            What::Closed => "closed",
            What::Decided => "decided",
            What::Message | What::Note => "message",
            What::Read => "read",
        }
    }

    pub const fn is_said(self) -> bool {
        matches!(self, What::Message | What::Note)
    }
}

fn drawn(kind: u64, number: u64) -> Draw {
    Draw::new(kind.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number)
}

fn id(kind: u64, number: u64) -> Uuid {
    let mut draw = drawn(kind, number);
    uuid::Builder::from_random_bytes(
        ((u128::from(draw.next()) << 64) | u128::from(draw.next())).to_be_bytes(),
    )
    .into_uuid()
}

impl Made {
    pub fn events(&self) -> u64 {
        self.conversations * self.each
    }

    pub fn talk(&self, number: u64) -> Talk {
        let visitor = VisitorId::from_uuid(id(1, number));
        let mut draw = drawn(2, number);
        let (who, place) = (draw.next() % AGENTS, draw.next() % GROUPS);
        Talk {
            number,
            id: ConversationId::of(self.tenant, visitor),
            visitor,
            thread: id(3, number),
            group: if place == 0 { self.group } else { id(4, place) },
            agent: if who == 0 { self.agent } else { id(5, who) },
            // The latest are still open.
            open: number * 10 >= self.conversations * 9 && !draw.next().is_multiple_of(3),
            tagged: draw.next().is_multiple_of(10),
        }
    }

    pub fn entry(&self, talk: &Talk, step: u64) -> Entry {
        let block = talk.number / BESIDE;
        let beside = BESIDE.min(self.conversations - block * BESIDE);
        let seq = block * BESIDE * self.each + step * beside + talk.number % BESIDE + 1;
        let what = match step {
            0 => What::Started,
            1 => What::Decided,
            2 => What::Assigned,
            _ if step + 1 == self.each && !talk.open => What::Closed,
            _ if step % 6 == 5 => What::Read,
            _ if step % 17 == 16 => What::Note,
            _ => What::Message,
        };
        let by_visitor = what == What::Started || (what != What::Note && step.is_multiple_of(2));
        Entry { seq, at: self.at(seq), id: id(6, seq), what, by_visitor }
    }

    fn at(&self, seq: u64) -> Timestamp {
        let share = seq as f64 / self.events().max(1) as f64;
        Timestamp::from_millis(self.now.millis() - SPAN_MS + (share * SPAN_MS as f64) as i64)
    }

    /// What is said in the event with this sequence.
    pub fn text(seq: u64) -> String {
        let mut draw = drawn(7, seq);
        let count = TEXT_WORDS.start() + draw.next() % (TEXT_WORDS.end() - TEXT_WORDS.start() + 1);
        let words: Vec<String> = (0..count).map(|_| word(draw.unit())).collect();
        words.join(" ")
    }
}

/// The word at this share of all that is said.
pub fn word(share: f64) -> String {
    const SYLLABLES: [&str; 16] =
        ["ba", "do", "ki", "lu", "me", "na", "po", "ri", "sa", "te", "vu", "wo", "ja", "fe", "gi", "ho"];
    let mut rank = (WORDS.powf(share)) as usize;
    let mut word = String::new();
    loop {
        word.push_str(SYLLABLES[rank % 16]);
        rank /= 16;
        if rank == 0 {
            return word;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_sequence_is_made_once_and_in_the_order_of_its_time() {
        let things = Things {
            widget: Uuid::nil(),
            canned_response: Uuid::nil(),
            action_template: Uuid::nil(),
            api_token: Uuid::nil(),
        };
        let made = Made {
            things,
            tenant: TenantId::from_uuid(Uuid::from_u128(1)),
            agent: Uuid::from_u128(2),
            group: Uuid::from_u128(3),
            tag: Uuid::from_u128(4),
            conversations: 250,
            each: 20,
            now: Timestamp::from_millis(1_795_222_923_004),
        };
        let talks: Vec<Talk> = (0..made.conversations).map(|number| made.talk(number)).collect();
        let mut entries: Vec<Entry> =
            talks.iter().flat_map(|talk| (0..made.each).map(|step| made.entry(talk, step))).collect();
        entries.sort_by_key(|entry| entry.seq);
        assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq));
        assert!(entries.windows(2).all(|two| two[0].at <= two[1].at));
        let ids: BTreeSet<Uuid> = entries.iter().map(|entry| entry.id).collect();
        assert_eq!(ids.len(), entries.len());
        assert!(talks.iter().any(|talk| talk.agent == made.agent && talk.open));
        assert!(Made::text(7) == Made::text(7) && Made::text(7) != Made::text(8));
    }
}
