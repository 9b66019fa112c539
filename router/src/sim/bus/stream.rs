//! The stream: what is stored, what is on its way to be, and what is answered to writes.
//!
//! On three replicas a write is checked when it is proposed and stored when it is replicated; between the two its
//! subjects, and those of its expectations, take no other expectation. On one replica both are the same moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bus_schema::{
    Subject, Timestamp,
    refusal::{EXPECTATION_IN_FLIGHT, MSG_ID_IN_FLIGHT, WRONG_LAST_SEQUENCE},
};

/// A repeat of a message id is answered as one for this long.
const DUPLICATES_WITHIN: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replicas {
    One,
    Three,
}

/// What must hold for a message to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Anything,
    /// The last message of its own subject.
    Own(u64),
    /// The last message of another subject: a fence.
    Of(Subject, u64),
}

#[derive(Debug, Clone)]
pub struct Put<P> {
    pub subject: Subject,
    pub expect: Expect,
    pub msg_id: Option<u128>,
    pub payload: P,
}

#[derive(Debug, Clone)]
pub struct Stored<P> {
    pub seq: u64,
    pub at: Timestamp,
    pub subject: Subject,
    pub payload: P,
}

/// A write that was not refused and is not stored yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proposal(u64);

/// What becomes of a write when it reaches the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    Proposed(Proposal),
    /// Its message id was stored before, with this sequence.
    Duplicate(u64),
    /// The server's number.
    Refused(u64),
}

#[derive(Debug)]
pub struct Stream<P> {
    replicas: Replicas,
    log: Vec<Stored<P>>,
    of_subject: BTreeMap<Subject, Vec<u64>>,
    ids: BTreeMap<u128, (u64, Timestamp)>,
    proposals: BTreeMap<Proposal, Vec<Put<P>>>,
    next: u64,
}

impl<P> Stream<P> {
    pub fn new(replicas: Replicas) -> Self {
        Self {
            replicas,
            log: Vec::new(),
            of_subject: BTreeMap::new(),
            ids: BTreeMap::new(),
            proposals: BTreeMap::new(),
            next: 1,
        }
    }

    pub fn replicas(&self) -> Replicas {
        self.replicas
    }

    /// Everything that is stored, in order; the message of sequence n is the n-th.
    pub fn log(&self) -> &[Stored<P>] {
        &self.log
    }

    pub fn get(&self, seq: u64) -> Option<&Stored<P>> {
        self.log.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    pub fn last_seq(&self, subject: Subject) -> u64 {
        self.of_subject.get(&subject).and_then(|seqs| seqs.last()).copied().unwrap_or(0)
    }

    /// The messages of a subject after a sequence.
    pub fn after(&self, subject: Subject, seq: u64) -> impl Iterator<Item = &Stored<P>> {
        let seqs = self.of_subject.get(&subject).map_or(&[][..], |seqs| seqs);
        let from = seqs.partition_point(|stored| *stored <= seq);
        seqs[from..].iter().filter_map(|seq| self.get(*seq))
    }

    /// The last sequence of each subject, in the order of the log.
    pub fn last_of_each(&self) -> Vec<u64> {
        let mut seqs: Vec<u64> = self.of_subject.values().filter_map(|seqs| seqs.last().copied()).collect();
        seqs.sort_unstable();
        seqs
    }

    /// A write reaches the leader: all of it or none.
    pub fn propose(&mut self, puts: Vec<Put<P>>, at: Timestamp) -> Begun {
        match self.check(&puts, at) {
            Some(answer) => answer,
            None => {
                let proposal = Proposal(self.next);
                self.next += 1;
                self.proposals.insert(proposal, puts);
                Begun::Proposed(proposal)
            }
        }
    }

    /// What a write would be answered now that is not taken.
    #[cfg(test)]
    #[cfg(feature = "service")]
    pub fn would_refuse(&self, puts: &[Put<P>], at: Timestamp) -> Option<Begun> {
        self.check(puts, at)
    }

    fn check(&self, puts: &[Put<P>], at: Timestamp) -> Option<Begun> {
        let mut written: BTreeSet<Subject> = BTreeSet::new();
        for put in puts {
            // On one replica the expectation is looked at first, so that a repeat of what was stored is a mismatch.
            let answers = match self.replicas {
                Replicas::One => [self.unexpected(put, &written), self.known(put, puts.len(), at)],
                Replicas::Three => [self.known(put, puts.len(), at), self.unexpected(put, &written)],
            };
            if let Some(answer) = answers.into_iter().flatten().next() {
                return Some(answer);
            }
            written.insert(put.subject);
        }
        None
    }

    fn unexpected(&self, put: &Put<P>, written: &BTreeSet<Subject>) -> Option<Begun> {
        let (subject, seq) = match put.expect {
            Expect::Anything => return None,
            Expect::Own(seq) => (put.subject, seq),
            Expect::Of(subject, seq) => (subject, seq),
        };
        if written.contains(&subject) || self.is_under_way(subject) {
            return Some(Begun::Refused(EXPECTATION_IN_FLIGHT));
        }
        (self.last_seq(subject) != seq).then_some(Begun::Refused(WRONG_LAST_SEQUENCE))
    }

    fn known(&self, put: &Put<P>, together: usize, at: Timestamp) -> Option<Begun> {
        let id = put.msg_id?;
        if let Some((seq, stored)) = self.ids.get(&id)
            && at.since(*stored) < DUPLICATES_WITHIN
        {
            // A batch cannot be a repeat in part.
            return Some(if together == 1 {
                Begun::Duplicate(*seq)
            } else {
                Begun::Refused(bus_schema::refusal::WRONG_LAST_SEQUENCE)
            });
        }
        let under_way = self.proposals.values().flatten().any(|other| other.msg_id == Some(id));
        under_way.then_some(Begun::Refused(MSG_ID_IN_FLIGHT))
    }

    fn is_under_way(&self, subject: Subject) -> bool {
        self.proposals.values().flatten().any(|put| {
            put.subject == subject || matches!(put.expect, Expect::Of(fence, _) if fence == subject)
        })
    }

    /// Replicated: stored with consecutive sequences. Gives the first.
    pub fn commit(&mut self, proposal: Proposal, at: Timestamp) -> Option<(u64, u64)> {
        let puts = self.proposals.remove(&proposal)?;
        let first = self.log.len() as u64 + 1;
        for put in puts {
            let seq = self.log.len() as u64 + 1;
            self.of_subject.entry(put.subject).or_default().push(seq);
            if let Some(id) = put.msg_id {
                self.ids.insert(id, (seq, at));
            }
            self.log.push(Stored { seq, at, subject: put.subject, payload: put.payload });
        }
        Some((first, self.log.len() as u64))
    }

    /// The leader is lost before it was replicated: it never is.
    pub fn forget(&mut self, proposal: Proposal) {
        self.proposals.remove(&proposal);
    }

    pub fn under_way(&self) -> Vec<Proposal> {
        self.proposals.keys().copied().collect()
    }
}
