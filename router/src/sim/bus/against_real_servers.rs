//! The model of the stream held to real servers: the same random writes, answer by answer.
//!
//! Writes that are sent one after the other have one answer. Of those sent at once any order is right, so each answer
//! has to be one that the model gives at some moment between the stored ones.

use std::collections::BTreeSet;

use bus_schema::{ConversationId, Lane, Shard, Subject, TenantId, Timestamp, refusal::Refusal};
use ops::{
    log::{self, Log, WriteError},
    nats::{self, Options},
    provision,
    testing::{NatsCluster, NatsServer, long, wait_for},
};
use uuid::Uuid;

use super::{Begun, Expect, Put, Replicas, Stream};
use crate::sim::random::Random;

const SOON: std::time::Duration = std::time::Duration::from_secs(30);
const SHARD: Shard = Shard(0);
const SUBJECTS: u128 = 3;

fn operations() -> usize {
    if long() { 10_000 } else { 1_000 }
}

async fn provisioned(url: String, replicas: usize) -> Log {
    let mut options = Options::new(url, "router");
    options.wait = SOON;
    let bus = nats::connect_with(options).await.unwrap();
    let plan = provision::Plan {
        shards: vec![SHARD],
        replicas,
        log_bytes_max: 64 << 20,
        files_bytes_max: 256 << 20,
    };
    wait_for(SOON, "the streams", async || provision::apply(&bus, &plan).await.ok()).await;
    Log::new(bus, SHARD)
}

/// What came of a write, as far as the model says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Stored { first: u64, last: u64 },
    Duplicate(u64),
    Refused(Refusal),
}

impl From<Begun> for Answer {
    fn from(begun: Begun) -> Self {
        match begun {
            Begun::Proposed(_) => Answer::Stored { first: 0, last: 0 },
            Begun::Duplicate(seq) => Answer::Duplicate(seq),
            Begun::Refused(code) => Answer::Refused(Refusal::of(code)),
        }
    }
}

struct Pair {
    random: Random,
    log: Log,
    model: Stream<String>,
    next: u128,
    ids: Vec<u128>,
    /// How often each kind of answer was given.
    seen: [u64; 5],
}

impl Pair {
    fn new(seed: u64, log: Log, replicas: Replicas) -> Self {
        let model = Stream::new(replicas);
        Self { random: Random::new(seed), log, model, next: 0, ids: Vec::new(), seen: [0; 5] }
    }

    fn subject(&mut self, lane: Lane) -> Subject {
        let conversation = ConversationId::from_uuid(Uuid::from_u128(self.random.one_of(SUBJECTS)));
        Subject::Conversation { shard: SHARD, tenant: TenantId::NIL, conversation, lane }
    }

    /// A sequence that is right, mostly.
    fn seq(&mut self, subject: Subject) -> u64 {
        let last = self.model.last_seq(subject);
        if self.random.chance(750) { last } else { self.random.between(0, last + 3) }
    }

    fn put(&mut self, batch: bool) -> Put<String> {
        self.next += 1;
        let payload = format!("message {}", self.next);
        if self.random.chance(400) && !batch {
            let (subject, fence) = (self.subject(Lane::Msg), self.subject(Lane::Life));
            let seq = self.seq(fence);
            let msg_id = self.random.chance(700).then(|| self.id());
            return Put { subject, expect: Expect::Of(fence, seq), msg_id, payload };
        }
        let lane = if self.random.chance(500) { Lane::Life } else { Lane::Desk };
        let subject = self.subject(lane);
        let seq = self.seq(subject);
        let expect = if self.random.chance(900) { Expect::Own(seq) } else { Expect::Anything };
        Put { subject, expect, msg_id: None, payload }
    }

    /// New, or one of the last.
    fn id(&mut self) -> u128 {
        if self.random.chance(300)
            && let Some(id) = self.random.pick(&self.ids).copied()
        {
            return id;
        }
        self.next += 1;
        self.ids.push(self.next);
        if self.ids.len() > 20 {
            self.ids.remove(0);
        }
        self.next
    }

    fn real(put: &Put<String>) -> log::Write {
        let mut write = log::Write::new(put.subject.to_string(), put.payload.clone());
        if let Some(id) = put.msg_id {
            write = write.msg_id(format!("id-{id}"));
        }
        match put.expect {
            Expect::Anything => write,
            Expect::Own(seq) => write.expect(log::Expect::LastOnSubject(seq)),
            Expect::Of(subject, seq) => {
                write.expect(log::Expect::LastOn { subject: subject.to_string(), seq })
            }
        }
    }

    async fn send(log: &Log, puts: &[Put<String>]) -> Answer {
        let writes: Vec<log::Write> = puts.iter().map(Self::real).collect();
        let outcome = match writes.as_slice() {
            [only] => log.publish(only.clone()).await.map(|stored| match stored.duplicate {
                true => Answer::Duplicate(stored.seq),
                false => Answer::Stored { first: stored.seq, last: stored.seq },
            }),
            _ => log.publish_batch(writes).await.map(|seqs| Answer::Stored {
                first: *seqs.first().expect("a batch has messages"),
                last: *seqs.last().expect("a batch has messages"),
            }),
        };
        outcome.unwrap_or_else(|error| match error {
            WriteError::Mismatch => Answer::Refused(Refusal::Mismatch),
            WriteError::InFlight => Answer::Refused(Refusal::InFlight),
            WriteError::DuplicateInFlight => Answer::Refused(Refusal::DuplicateInFlight),
            other => panic!("{other}"),
        })
    }

    fn count(&mut self, answer: Answer) {
        let kind = match answer {
            Answer::Stored { .. } => 0,
            Answer::Duplicate(_) => 1,
            Answer::Refused(Refusal::Mismatch) => 2,
            Answer::Refused(Refusal::InFlight) => 3,
            Answer::Refused(_) => 4,
        };
        self.seen[kind] += 1;
    }

    /// One write, which has one answer.
    async fn alone(&mut self) {
        let count = if self.random.chance(400) { self.random.between(2, 5) } else { 1 };
        let puts: Vec<_> = (0..count).map(|_| self.put(count > 1)).collect();
        let real = Self::send(&self.log, &puts).await;
        let modelled = match self.model.propose(puts.clone(), at()) {
            Begun::Proposed(proposal) => {
                let (first, last) = self.model.commit(proposal, at()).expect("it was proposed");
                Answer::Stored { first, last }
            }
            other => other.into(),
        };
        assert_eq!(real, modelled, "{puts:?}");
        self.count(real);
    }

    /// Several at once.
    async fn together(&mut self) {
        let mut writes: Vec<_> = (0..self.random.between(2, 6)).map(|_| vec![self.put(false)]).collect();
        if self.random.chance(300) {
            // As who has no answer yet and tries again.
            writes.push(writes[0].clone());
        }
        let log = self.log.clone();
        let answers = futures::future::join_all(writes.iter().map(|puts| Self::send(&log, puts))).await;
        let mut stored: Vec<(u64, usize)> = Vec::new();
        for (at, answer) in answers.iter().enumerate() {
            self.count(*answer);
            if let Answer::Stored { first, .. } = answer {
                stored.push((*first, at));
            }
        }
        stored.sort_unstable();
        let mut possible: Vec<Vec<Answer>> = vec![Vec::new(); writes.len()];
        let look = |model: &Stream<String>, possible: &mut Vec<Vec<Answer>>| {
            for (puts, possible) in writes.iter().zip(possible) {
                possible.extend(model.would_refuse(puts, at()).map(Answer::from));
            }
        };
        look(&self.model, &mut possible);
        for (seq, index) in stored {
            let Begun::Proposed(proposal) = self.model.propose(writes[index].clone(), at()) else {
                panic!("{:?} was stored, and the model refuses it", writes[index]);
            };
            look(&self.model, &mut possible);
            assert_eq!(self.model.commit(proposal, at()), Some((seq, seq)));
            look(&self.model, &mut possible);
        }
        for (index, answer) in answers.iter().enumerate() {
            let right = matches!(answer, Answer::Stored { .. }) || possible[index].contains(answer);
            assert!(right, "{:?}: {answer:?} is none of {:?}", writes[index], possible[index]);
        }
    }

    async fn reads(&mut self) {
        let subject = self.subject(Lane::Life);
        let after = self.random.between(0, self.model.last_seq(subject) + 2);
        let real = self.log.first_after(&subject.to_string(), after).await.unwrap();
        let modelled = self.model.after(subject, after).next();
        assert_eq!(real.as_ref().map(|read| read.seq), modelled.map(|stored| stored.seq));
        assert_eq!(
            real.map(|read| String::from_utf8_lossy(&read.payload).into_owned()),
            modelled.map(|stored| stored.payload.clone())
        );
        let last = self.log.last(&subject.to_string()).await.unwrap();
        assert_eq!(last.map_or(0, |last| last.seq), self.model.last_seq(subject));
    }

    async fn run(&mut self) {
        for _ in 0..operations() {
            match self.random.below(10) {
                0..5 => self.alone().await,
                5..8 => self.together().await,
                _ => self.reads().await,
            }
        }
        // That another is just being stored is an answer of its own where servers agree on it.
        let kinds = match self.model.replicas() {
            Replicas::One => 0..3,
            Replicas::Three => 0..5,
        };
        let silent: BTreeSet<usize> = kinds.filter(|kind| self.seen[*kind] == 0).collect();
        assert!(silent.is_empty(), "answers of kinds {silent:?} were never given: {:?}", self.seen);
    }
}

/// Only differences count, and none comes near the time for which ids are remembered.
fn at() -> Timestamp {
    Timestamp::from_millis(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_answers_as_one_server_does() {
    let server = NatsServer::start().await;
    let log = provisioned(server.url(), 1).await;
    Pair::new(1, log, Replicas::One).run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_answers_as_three_servers_do() {
    let cluster = NatsCluster::start().await;
    let log = provisioned(cluster.urls(), 3).await;
    Pair::new(2, log, Replicas::Three).run().await;
}
