//! Forgetting a visitor of whom nothing was written for long, and nobody who comes back in that moment.
//!
//! Invariant: `visitor_erased` is stored only where the visitor's record and the life of the conversation are still the
//! ones that were looked at: who starts a thread, or says who they are, comes either before it, and is not forgotten, or after it.

use bus_schema::{
    Body, ErrorBody, ErrorCode, EventId, Lane, Subject, Timestamp, VisitorId,
    event::{VisitorErased, VisitorUpdated},
    state::VisitorRecord,
    subject::ConversationSubjects,
};

use super::{
    Hand, Life, Record,
    retry::{TRIES_MAX, pause},
    unreadable, unwritable,
};
use crate::log::{Expect, Log, Write, WriteError};

/// What the log holds last of a visitor, whoever wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Newest {
    pub at: Timestamp,
    pub is_open: bool,
    pub record: Record,
    /// The conversation's last `life` message; 0: none was begun.
    pub life_seq: u64,
}

/// The last message of the record and of each lane, from the leader; none: nothing is known of this visitor.
pub async fn newest(
    log: &Log,
    home: ConversationSubjects,
    visitor: VisitorId,
) -> Result<Option<Newest>, ErrorBody> {
    let known = Subject::Visitor { shard: home.shard, tenant: home.tenant, visitor }.to_string();
    let last = async |subject: String| log.last(&subject).await.map_err(|error| unreadable(&error));
    let Some(known) = last(known).await? else { return Ok(None) };
    let mut newest = Newest { at: known.at, is_open: false, record: Record::of(&known)?, life_seq: 0 };
    for lane in Lane::ALL {
        let Some(message) = last(home.lane(lane).to_string()).await? else { continue };
        newest.at = newest.at.max(message.at);
        if lane == Lane::Life {
            newest.is_open = Life::of(&message)?.is_open();
            newest.life_seq = message.seq;
        }
    }
    Ok(Some(newest))
}

/// Writes that the visitor is erased, unless the record or `life` went on from these places; says where.
///
/// The first of both messages, a record without anything in it, is there for its expectation: a message has one, and the
/// record is fenced as well as `life`.
pub async fn forget_quiet(
    log: &Log,
    hand: Hand,
    home: ConversationSubjects,
    (record_seq, life_seq): (u64, u64),
    erased: VisitorErased,
) -> Result<Option<u64>, ErrorBody> {
    let emptied = VisitorUpdated {
        name: None,
        email: None,
        custom: Default::default(),
        record: VisitorRecord { ban: erased.record.ban.clone(), ..VisitorRecord::new(hand.visitor) },
    };
    let known =
        Subject::Visitor { shard: home.shard, tenant: home.tenant, visitor: hand.visitor }.to_string();
    let life = home.lane(Lane::Life).to_string();
    // What follows the same record is told apart by the subject that it is fenced with.
    let id = EventId::of_write(hand.epoch, &life, record_seq, hand.writer);
    let erased = Write::new(known, hand.event(id, Body::VisitorErased(erased)).encode());
    let erased = erased.expect(Expect::LastOn { subject: life, seq: life_seq });
    let writes = vec![hand.write(home.shard, record_seq, Body::VisitorUpdated(emptied)), erased];
    let mut tries = 0;
    loop {
        match log.publish_batch(writes.clone()).await {
            Ok(seqs) => return seqs.last().copied().map(Some).ok_or_else(|| ErrorCode::Internal.into()),
            Err(WriteError::Mismatch) => return Ok(None),
            Err(error) if error.is_contention() && tries < TRIES_MAX => {
                tries += 1;
                pause(tries).await;
            }
            Err(error) => return Err(unwritable(&error)),
        }
    }
}
