//! The log on three servers.

use bus_schema::Lane;
use ops::{
    log::{DeliverFrom, Expect, Log, Write, WriteError},
    nats::{self, Options},
    provision::{self, Plan},
    testing::{NatsCluster, wait_for},
};

use crate::kit::{SHARD, SOON, lane, plan};

async fn provisioned() -> (NatsCluster, Log) {
    let cluster = NatsCluster::start().await;
    let mut options = Options::new(cluster.urls(), "router");
    options.wait = SOON;
    let bus = nats::connect_with(options).await.unwrap();
    let plan = Plan { replicas: 3, ..plan() };
    wait_for(SOON, "the streams", async || provision::apply(&bus, &plan).await.ok()).await;
    (cluster, Log::new(bus, SHARD))
}

/// Writes until stored; only contention and unknown outcomes are tried again.
async fn insist(log: &Log, write: Write) -> Result<u64, WriteError> {
    wait_for(SOON, "the write to be stored or refused", async || match log.publish(write.clone()).await {
        Ok(stored) => Some(Ok(stored.seq)),
        Err(error) if error.is_contention() || error == WriteError::Unknown => None,
        Err(error) => Some(Err(error)),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_writes_with_one_expectation_exactly_one_is_stored() {
    let (_cluster, log) = provisioned().await;
    for round in 0..20 {
        let life = lane(round, Lane::Life);
        let racers = (0..8).map(|racer| {
            let write = Write::new(&life, format!("{racer}")).expect(Expect::LastOnSubject(0));
            let log = log.clone();
            async move { insist(&log, write).await }
        });
        let outcomes = futures::future::join_all(racers).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert!(
            outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(WriteError::Mismatch))),
            "{outcomes:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_fenced_with_a_subject_that_it_does_not_write_as_well() {
    let (_cluster, log) = provisioned().await;
    let (known, life) = (lane(1, Lane::Note), lane(1, Lane::Life));
    let begun = insist(&log, Write::new(&life, "begun")).await.unwrap();
    let seen = insist(&log, Write::new(&known, "seen")).await.unwrap();
    let batch = async |seen: u64, begun: u64| {
        let first = Write::new(&known, "emptied").expect(Expect::LastOnSubject(seen));
        let unless = Expect::LastOn { subject: life.clone(), seq: begun };
        let writes = vec![first, Write::new(&known, "erased").expect(unless)];
        wait_for(SOON, "the batch to be stored or refused", async || {
            match log.publish_batch(writes.clone()).await {
                Err(error) if error.is_contention() || error == WriteError::Unknown => None,
                done => Some(done),
            }
        })
        .await
    };
    for (seen, begun) in [(seen - 1, begun), (seen, begun - 1), (seen, 0)] {
        assert_eq!(batch(seen, begun).await, Err(WriteError::Mismatch));
    }
    let stored = batch(seen, begun).await.unwrap();
    assert_eq!(log.last(&known).await.unwrap().unwrap().seq, stored[1]);
    assert_eq!(batch(stored[1], begun + 1).await, Err(WriteError::Mismatch));
    batch(stored[1], begun).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_are_read_by_everyone_over_the_loss_of_a_leader() {
    let (mut cluster, log) = provisioned().await;
    let msg = lane(1, Lane::Msg);
    let mut tail = log.tail(vec![msg.clone()], DeliverFrom::Start).await.unwrap();
    let client = cluster.client().await;
    let mut acked = Vec::new();
    for number in 0..300 {
        if number == 100 {
            let leader = cluster.leader(&client, log.stream()).await.unwrap();
            cluster.kill(leader);
        }
        let write = Write::new(&msg, format!("{number}")).msg_id(format!("m-{number}"));
        acked.push(insist(&log, write).await.unwrap());
    }
    let mut followed = Vec::new();
    while followed.last() != acked.last() {
        followed.push(tail.next().await.unwrap().seq);
    }
    assert_eq!(followed, acked);
    assert_eq!(log.last(&msg).await.unwrap().unwrap().seq, *acked.last().unwrap());
    let read = wait_for(SOON, "a replica to catch up", async || {
        let read = log.read(&msg, 0, 1000).await.ok()?;
        (read.len() >= acked.len()).then_some(read)
    })
    .await;
    assert_eq!(read.iter().map(|message| message.seq).collect::<Vec<_>>(), acked);
}
