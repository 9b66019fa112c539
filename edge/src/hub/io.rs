//! What a worker waits for: reads and writes of the log, each a future that ends in a [`Done`].

use bus_schema::{Audience, ErrorBody, Lane, Shard, Subject, Timestamp, subject::ConversationSubjects};
use bytes::Bytes;
use ops::{
    chat::{self, Sent, Tail},
    log::{Log, ReadError, StoredMsg},
};

use super::{act::Act, load::Loaded, marks, sends::SendJob};
use crate::feed::{Entry, Wanted};

/// Messages of one repair read.
const READ_PAGE: usize = 256;

/// One audience of one conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    pub home: ConversationSubjects,
    pub audience: Audience,
}

/// Something ended.
pub enum Done {
    Opened {
        place: Place,
        result: Result<Tail, ErrorBody>,
    },
    Tail {
        place: Place,
        /// Up to where the feed had delivered messages when it was asked.
        highest: u64,
        /// It is one of the worker's looks because of a doubt, which are bounded.
        counted: bool,
        result: Result<Tail, ErrorBody>,
    },
    /// The ends of a conversation's lanes as of a message, from any replica.
    Ends {
        place: Place,
        result: Result<Vec<(Lane, u64)>, ReadError>,
    },
    Read {
        place: Place,
        result: Result<(Vec<Entry<Shown>>, bool), ReadError>,
    },
    Loaded {
        place: Place,
        conn: u64,
        /// Of the member's load, so that one that was given up answers nobody else.
        load: u64,
        loaded: Box<Loaded>,
    },
    Sent {
        job: Box<SendJob>,
        result: Result<Sent, ErrorBody>,
    },
    /// Where the leader says that the conversation is, for somebody who does something in it.
    Looked {
        act: Box<Act>,
        result: Result<Tail, ErrorBody>,
    },
    /// A mark was stored, or not.
    Marked {
        marker: marks::Key,
        due: marks::Due,
        result: Result<(), ErrorBody>,
    },
    /// A signal was passed on.
    Told,
    /// A conversation was held long enough.
    Held {
        home: ConversationSubjects,
    },
    /// The ends of many conversations' lanes, from any replica.
    Checked {
        shard: Shard,
        places: Vec<Place>,
        result: Result<Vec<StoredMsg>, ReadError>,
    },
}

/// Asks the leader where the lanes end, on the connection that the subscription was made on: everything stored later
/// comes live. For one who resumes it is also found where each lane ends there.
pub async fn open(log: Log, place: Place, resumes: bool) -> Done {
    let Place { home, audience } = place;
    let result = match resumes {
        true => chat::tail_with_ends(&log, home, audience).await,
        false => chat::tail(&log, home, audience).await,
    };
    Done::Opened { place, result }
}

/// Where the lanes end, for a feed that has delivered messages up to `highest`; `counted`: as one of the worker's looks.
pub async fn tail(log: Log, place: Place, highest: u64, counted: bool) -> Done {
    let result = chat::tail(&log, place.home, place.audience).await;
    Done::Tail { place, highest, counted, result }
}

/// The last message of each lane.
pub async fn ends(log: Log, place: Place) -> Done {
    Done::Ends { place, result: chat::some_ends(&log, place.home, place.audience).await }
}

/// One page of a repair.
pub async fn read(log: Log, place: Place, wanted: Wanted) -> Done {
    let Place { home, audience } = place;
    let found = match wanted.leader {
        true => log.read_leader(&home.stored(audience), wanted.from, READ_PAGE).await,
        false => chat::ascent(&log, home, audience, (wanted.from, wanted.up_to), READ_PAGE).await,
    };
    let result = found.map(|found| {
        let ended = found.len() < READ_PAGE;
        (found.into_iter().filter_map(entry).map(shown).collect(), ended)
    });
    Done::Read { place, result }
}

/// What readers are shown of a stored message.
#[derive(Debug, Clone)]
pub struct Shown {
    pub at: Timestamp,
    pub payload: Bytes,
}

fn shown(entry: Entry<StoredMsg>) -> Entry<Shown> {
    let StoredMsg { at, payload, .. } = entry.item;
    Entry { lane: entry.lane, seq: entry.seq, item: Shown { at, payload } }
}

/// A message with its lane.
pub fn entry(message: StoredMsg) -> Option<Entry<StoredMsg>> {
    let (_, lane) = Subject::parse(&message.subject).ok()?.conversation()?;
    Some(Entry { lane, seq: message.seq, item: message })
}

/// A signal, where it is one and no live copy.
pub fn is_signal(subject: &str) -> bool {
    subject.starts_with("signal.")
}

/// The lane that a live subject names, without parsing its ids again.
pub fn lane_of(subject: &str) -> Option<Lane> {
    Lane::ALL.into_iter().find(|lane| subject.ends_with(lane.tokens()))
}
