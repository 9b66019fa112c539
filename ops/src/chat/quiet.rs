//! Forgetting a visitor of whom nothing was written for long, and nobody who comes back in that moment.
//!
//! Invariant: `visitor_erased` is stored only where the visitor's record and the life of the conversation are what
//! [`newest`] found: who starts a thread, or says who they are, comes either before it, and is not forgotten, or after it.

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
use crate::log::{Expect, Log, StoredMsg, Write, WriteError};

/// What the log holds last of a visitor, whoever wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Newest {
    pub seq: u64,
    pub at: Timestamp,
    pub is_open: bool,
    pub record: Record,
    /// Of the conversation's `life`; 0: nothing was begun.
    life: u64,
}

/// The last message of the record and of each lane, from the leader; none: nothing is known of this visitor.
pub async fn newest(
    log: &Log,
    home: ConversationSubjects,
    visitor: VisitorId,
) -> Result<Option<Newest>, ErrorBody> {
    let known = Subject::Visitor { shard: home.shard, tenant: home.tenant, visitor }.to_string();
    let last = async |subject: String| log.last(&subject).await.map_err(|error| unreadable(&error));
    let Some(said) = last(known).await? else { return Ok(None) };
    let (mut seq, mut at) = (said.seq, said.at);
    let mut later = |message: &StoredMsg| {
        seq = seq.max(message.seq);
        at = at.max(message.at);
    };
    let mut life = None;
    for lane in Lane::ALL {
        let Some(message) = last(home.lane(lane).to_string()).await? else { continue };
        later(&message);
        if lane == Lane::Life {
            life = Some(Life::of(&message)?);
        }
    }
    let is_open = life.as_ref().is_some_and(Life::is_open);
    let record = Record::of(&said)?;
    Ok(Some(Newest { seq, at, is_open, record, life: life.map_or(0, |life| life.seq) }))
}

/// Writes that the visitor is erased, unless they came back since `newest`; says where.
///
/// The first of both messages, a record without anything in it, is there for its expectation: a message has one, and the
/// record is fenced as well as `life`.
pub async fn forget_quiet(
    log: &Log,
    hand: Hand,
    home: ConversationSubjects,
    newest: &Newest,
    erased: VisitorErased,
) -> Result<Option<u64>, ErrorBody> {
    let emptied = VisitorUpdated {
        name: None,
        email: None,
        custom: Default::default(),
        record: VisitorRecord { ban: newest.record.record.ban.clone(), ..VisitorRecord::new(hand.visitor) },
    };
    let known = Subject::Visitor { shard: home.shard, tenant: home.tenant, visitor: hand.visitor }.to_string();
    let (life, before) = (home.lane(Lane::Life).to_string(), newest.record.seq);
    let writes = || {
        // What follows the same record is told apart by the subject that it is fenced with.
        let id = EventId::of_write(hand.epoch, &life, before, hand.writer);
        let erased = hand.event(id, Body::VisitorErased(erased.clone()));
        let erased = Write::new(known.clone(), erased.encode());
        let unless_begun = Expect::LastOn { subject: life.clone(), seq: newest.life };
        let emptied = hand.write(home.shard, before, Body::VisitorUpdated(emptied.clone()));
        vec![emptied, erased.expect(unless_begun)]
    };
    let mut tries = 0;
    loop {
        match log.publish_batch(writes()).await {
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
