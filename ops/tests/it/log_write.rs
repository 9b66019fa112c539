//! Writing to the log.

use std::{collections::HashSet, pin::pin, time::Duration};

use async_nats::header::NATS_BATCH_ID;
use bus_schema::Lane;
use futures::{FutureExt as _, future::join_all, poll};
use ops::{
    log::{Expect, Log, Write, WriteError},
    provision::{self, Plan},
    testing::{Fault, FaultProxy, wait_for},
};

use crate::kit::{SHARD, SOON, connect, lane, plan, provisioned};

#[tokio::test]
async fn a_write_answers_its_sequence_and_a_repeat_the_first_one() {
    let (_server, log) = provisioned().await;
    let msg = lane(1, Lane::Msg);
    let first = log.publish(Write::new(&msg, "a").msg_id("one")).await.unwrap();
    assert!(!first.duplicate);
    let again = log.publish(Write::new(&msg, "a").msg_id("one")).await.unwrap();
    assert!(again.duplicate && again.seq == first.seq);
    assert_eq!(log.publish(Write::new(&msg, "b").msg_id("two")).await.unwrap().seq, first.seq + 1);
    assert_eq!(log.in_flight(), 0);
}

#[tokio::test]
async fn an_expectation_that_does_not_hold_is_a_mismatch() {
    let (_server, log) = provisioned().await;
    let (life, msg) = (lane(1, Lane::Life), lane(1, Lane::Msg));
    let first = log.publish(Write::new(&life, "started").expect(Expect::LastOnSubject(0))).await.unwrap().seq;
    let racing = log.publish(Write::new(&life, "other").expect(Expect::LastOnSubject(0))).await;
    assert_eq!(racing, Err(WriteError::Mismatch));
    let fenced = |seq| Write::new(&msg, "hi").expect(Expect::LastOn { subject: life.clone(), seq });
    log.publish(fenced(first)).await.unwrap();
    let closed =
        log.publish(Write::new(&life, "closed").expect(Expect::LastOnSubject(first))).await.unwrap().seq;
    assert_eq!(log.publish(fenced(first)).await, Err(WriteError::Mismatch));
    log.publish(fenced(closed)).await.unwrap();
}

#[tokio::test]
async fn a_batch_is_stored_whole_or_not_at_all() {
    let (_server, log) = provisioned().await;
    let (life, desk, msg) = (lane(1, Lane::Life), lane(1, Lane::Desk), lane(1, Lane::Msg));
    let batch = |expected: u64| {
        vec![
            Write::new(&life, "a").expect(Expect::LastOnSubject(expected)),
            Write::new(&desk, "b").expect(Expect::LastOnSubject(0)),
            Write::new(&msg, "c").msg_id("c"),
        ]
    };
    assert_eq!(log.publish_batch(batch(7)).await, Err(WriteError::Mismatch));
    assert_eq!(log.end().await.unwrap().last, 0);
    assert_eq!(log.publish_batch(batch(0)).await.unwrap(), [1, 2, 3]);
    let single = vec![Write::new(&life, "d").expect(Expect::LastOnSubject(1))];
    assert_eq!(log.publish_batch(single).await.unwrap(), [4]);
    let last = log.last(&msg).await.unwrap().unwrap();
    assert_eq!((last.seq, last.payload.as_ref()), (3, b"c".as_slice()));
    assert_eq!(log.publish_batch(Vec::new()).await, Err(WriteError::Invalid));
}

#[tokio::test]
async fn a_second_expectation_on_a_subject_of_the_batch_is_refused_as_in_flight() {
    let (_server, log) = provisioned().await;
    let life = lane(1, Lane::Life);
    let batch = vec![
        Write::new(&life, "a").expect(Expect::LastOnSubject(0)),
        Write::new(&life, "b").expect(Expect::LastOnSubject(1)),
    ];
    assert_eq!(log.publish_batch(batch).await, Err(WriteError::InFlight));
    assert_eq!(log.end().await.unwrap().last, 0);
}

/// What started, and what is held, of as many conversations.
fn openings(expected: impl Fn(u128) -> u64, count: u128) -> Vec<Vec<Write>> {
    let opening = |n| {
        vec![
            Write::new(lane(n, Lane::Life), format!("life {n}")).expect(Expect::LastOnSubject(expected(n))),
            Write::new(lane(n, Lane::Desk), format!("desk {n}")).expect(Expect::LastOnSubject(0)),
        ]
    };
    (0..count).map(opening).collect()
}

#[tokio::test]
async fn batches_that_wait_for_one_another_are_stored_together_each_in_one_piece() {
    let (_server, log) = provisioned().await;
    let count = 30;
    let outcomes = join_all(openings(|_| 0, count).into_iter().map(|writes| log.publish_batch(writes))).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let seqs = outcome.unwrap();
        assert_eq!(seqs[1], seqs[0] + 1);
        let life = log.last(&lane(n as u128, Lane::Life)).await.unwrap().unwrap();
        assert_eq!((life.seq, life.payload.as_ref()), (seqs[0], format!("life {n}").as_bytes()));
    }
    let stored = log.read("chat.>", 1, 2 * count as usize).await.unwrap();
    let batches: HashSet<_> =
        stored.iter().map(|message| message.headers.get(NATS_BATCH_ID).unwrap().to_string()).collect();
    assert_eq!(stored.len(), 2 * count as usize);
    assert!(batches.len() < 5, "{} batches for what came at once", batches.len());
}

#[tokio::test]
async fn who_shares_a_batch_with_a_mismatch_is_stored_all_the_same() {
    let (_server, log) = provisioned().await;
    let wrong = |n| if n % 7 == 3 { 999 } else { 0 };
    let outcomes = join_all(openings(wrong, 20).into_iter().map(|writes| log.publish_batch(writes))).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let desk = log.last(&lane(n as u128, Lane::Desk)).await.unwrap();
        match wrong(n as u128) {
            0 => assert_eq!(desk.unwrap().seq, outcome.unwrap()[1]),
            _ => assert_eq!((outcome, desk.is_none()), (Err(WriteError::Mismatch), true)),
        }
    }
    assert_eq!(log.in_flight(), 0);
}

#[tokio::test]
async fn who_writes_the_same_subject_shares_no_batch() {
    let (_server, log) = provisioned().await;
    // The first one makes the others wait, and they would go together.
    let all = (0..3).flat_map(|_| openings(|_| 0, 4));
    let outcomes = join_all(all.map(|writes| log.publish_batch(writes))).await;
    let stored = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let mismatches = outcomes.iter().filter(|outcome| **outcome == Err(WriteError::Mismatch)).count();
    assert_eq!((stored, mismatches), (4, 8));
}

#[tokio::test]
async fn a_batch_whose_answer_is_late_does_not_hold_up_the_next() {
    let (server, near) = provisioned().await;
    let network = FaultProxy::start(server.address(), 1).await.unwrap();
    let log = Log::new(connect(format!("nats://{}", network.address())).await, SHARD);
    network.inject(Fault::Delay { least: Duration::from_secs(2), jitter: Duration::ZERO });
    let (life, desk) = (lane(1, Lane::Life), lane(1, Lane::Desk));
    // Of the same subjects, so that they cannot go together.
    let batch = |life_before, desk_before| {
        log.publish_batch(vec![
            Write::new(&life, "life").expect(Expect::LastOnSubject(life_before)),
            Write::new(&desk, "desk").expect(Expect::LastOnSubject(desk_before)),
        ])
    };
    let (mut first, mut second) = (pin!(batch(0, 0)), pin!(batch(1, 2)));
    assert!(poll!(first.as_mut()).is_pending() && poll!(second.as_mut()).is_pending());
    wait_for(SOON, "the second one", async || (near.end().await.ok()?.last == 4).then_some(())).await;
    assert!(poll!(first.as_mut()).is_pending(), "its answer is still on its way");
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (vec![1, 2], vec![3, 4]));
}

#[tokio::test]
async fn a_batch_whose_caller_went_away_is_stored() {
    let (_server, log) = provisioned().await;
    for writes in openings(|_| 0, 5) {
        // Asked once, which sends it on its way, and dropped.
        assert!(log.publish_batch(writes).now_or_never().is_none());
    }
    wait_for(SOON, "all of them", async || (log.end().await.ok()?.last == 10).then_some(())).await;
}

#[tokio::test]
async fn a_full_log_refuses_and_loses_nothing() {
    let server = ops::testing::NatsServer::start().await;
    let bus = crate::kit::connect(server.url()).await;
    provision::apply(&bus, &Plan { log_bytes_max: 1 << 20, ..plan() }).await.unwrap();
    let log = ops::log::Log::new(bus, crate::kit::SHARD);
    let mut stored = 0;
    let refused = loop {
        match log.publish(Write::new(lane(1, Lane::Msg), vec![b'x'; 64 * 1024])).await {
            Ok(_) => stored += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, WriteError::Full);
    let end = log.end().await.unwrap();
    assert_eq!((end.first, end.last, end.bytes_max), (1, stored, Some(1 << 20)));
}

#[tokio::test]
async fn without_an_answer_the_outcome_is_unknown_and_the_leader_tells() {
    let (mut server, log) = provisioned().await;
    let msg = lane(1, Lane::Msg);
    server.pause();
    let writing = log.publish(Write::new(&msg, "late").msg_id("late"));
    assert_eq!(writing.await, Err(WriteError::Unknown));
    server.resume();
    let found =
        wait_for(SOON, "the write to show", async || log.first_after(&msg, 0).await.ok().flatten()).await;
    assert_eq!(found.payload.as_ref(), b"late");
    assert!(log.publish(Write::new(&msg, "late").msg_id("late")).await.unwrap().duplicate);
}

#[tokio::test]
async fn what_is_no_subject_or_too_large_is_invalid() {
    let (_server, log) = provisioned().await;
    assert_eq!(log.publish(Write::new("a b", "x")).await, Err(WriteError::Invalid));
    let huge = Write::new(lane(1, Lane::Msg), vec![0; 2 << 20]);
    assert_eq!(log.publish(huge).await, Err(WriteError::Invalid));
    let large = Write::new(lane(1, Lane::Msg), vec![0; 512 * 1024]);
    assert!(matches!(log.publish(large).await, Err(WriteError::Refused { .. })));
}
