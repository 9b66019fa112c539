//! Reading the log.

use std::time::Duration;

use bus_schema::{Lane, subject};
use futures::{StreamExt as _, TryStreamExt as _};
use ops::{
    log::{DeliverFrom, Expect, Log, READ_BYTES_MAX, ReadError, Tail, Write, live},
    testing::{NatsServer, wait_for},
};
use tokio::time::timeout;

use crate::kit::{SHARD, SOON, lane, provisioned};

async fn fill(log: &Log, conversations: u128, each: usize) {
    let writes = (0..each).flat_map(|n| (0..conversations).map(move |c| (n, c)));
    let writes = writes.map(|(n, c)| log.publish(Write::new(lane(c, Lane::Msg), format!("{c}-{n}"))));
    let stored: Vec<_> = futures::stream::iter(writes).buffered(256).collect().await;
    assert!(stored.into_iter().all(|outcome| outcome.is_ok()));
}

#[tokio::test]
async fn batched_reads_are_ascending_whole_and_bounded() {
    let (_server, log) = provisioned().await;
    fill(&log, 2, 1500).await;
    let filter = lane(1, Lane::Msg);
    let all = log.read(&filter, 0, 5000).await.unwrap();
    assert_eq!(all.len(), 1500, "more than one page");
    assert!(all.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    assert!(all.iter().all(|message| message.subject == filter));
    let some = log.read(&filter, all[700].seq, 10).await.unwrap();
    assert_eq!(
        some.iter().map(|m| m.seq).collect::<Vec<_>>(),
        all[700..710].iter().map(|m| m.seq).collect::<Vec<_>>()
    );
    assert!(log.read(&filter, all[1499].seq + 1, 10).await.unwrap().is_empty());
    let leader = log.read_leader(&filter, all[700].seq, 10).await.unwrap();
    for (a, b) in some.iter().zip(&leader) {
        assert_eq!((a.seq, a.at, &a.payload, &a.subject), (b.seq, b.at, &b.payload, &b.subject));
    }
}

#[tokio::test]
async fn many_reads_at_once_get_their_own_answers() {
    let (_server, log) = provisioned().await;
    fill(&log, 50, 20).await;
    let reads = (0..200_u128).map(|n| {
        let log = log.clone();
        async move { (n % 50, log.read(&lane(n % 50, Lane::Msg), 0, 100).await.unwrap()) }
    });
    for (conversation, found) in futures::future::join_all(reads).await {
        assert_eq!(found.len(), 20);
        assert!(found.iter().all(|message| message.subject == lane(conversation, Lane::Msg)));
    }
}

#[tokio::test]
async fn a_read_is_bounded_in_bytes_and_many_large_ones_do_not_starve_each_other() {
    let (_server, log) = provisioned().await;
    let text = "x".repeat(16 * 1024);
    for _ in 0..120 {
        log.publish(Write::new(lane(1, Lane::Msg), text.clone())).await.unwrap();
    }
    let filter = lane(1, Lane::Msg);
    let piece = log.piece(&filter, 1, 120).await.unwrap();
    let bytes: usize = piece.messages.iter().map(|message| message.payload.len()).sum();
    assert!(bytes <= READ_BYTES_MAX, "{bytes} B in one answer");
    assert_eq!(piece.pending + piece.messages.len() as u64, 120);

    // 400 MB in all, on one connection.
    let reads = (0..200).map(|_| async { log.read(&filter, 1, 120).await.unwrap().len() });
    assert!(futures::future::join_all(reads).await.into_iter().all(|found| found == 120));
}

#[tokio::test]
async fn last_messages_come_from_the_leader_or_in_one_question() {
    let (_server, log) = provisioned().await;
    fill(&log, 3, 2).await;
    let filters: Vec<_> = (0..4).map(|c| lane(c, Lane::Msg)).collect();
    let last = log.last_of(&filters).await.unwrap();
    assert_eq!(last.iter().map(|m| m.seq).collect::<Vec<_>>(), [4, 5, 6]);
    assert_eq!(log.last(&filters[0]).await.unwrap().unwrap().seq, 4);
    assert!(log.last(&filters[3]).await.unwrap().is_none());
    assert!(log.first_after(&filters[0], 4).await.unwrap().is_none());
    assert_eq!(log.first_after(&filters[0], 1).await.unwrap().unwrap().seq, 4);
    assert!(log.last_of(&[lane(9, Lane::Msg)]).await.unwrap().is_empty());
    fill(&log, 1100, 1).await;
    let everything = vec![subject::stored_in_shard(SHARD)];
    assert_eq!(log.last_of(&everything).await.unwrap_err(), ReadError::TooMany);
}

#[tokio::test]
async fn live_copies_name_what_came_before_and_the_fence() {
    let (_server, log) = provisioned().await;
    let mut copies = log.bus().client.subscribe(subject::live_of_shard(SHARD)).await.unwrap();
    let (life, msg) = (lane(1, Lane::Life), lane(1, Lane::Msg));
    log.publish(Write::new(&life, "{}").expect(Expect::LastOnSubject(0))).await.unwrap();
    for _ in 0..2 {
        let expect = Expect::LastOn { subject: life.clone(), seq: 1 };
        log.publish(Write::new(&msg, "{}").msg_id(uuid::Uuid::now_v7().to_string()).expect(expect))
            .await
            .unwrap();
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(live(&copies.next().await.unwrap()).unwrap());
    }
    let shape: Vec<_> = seen.iter().map(|copy| (copy.stored.seq, copy.previous, copy.fence)).collect();
    assert_eq!(shape, [(1, 0, None), (2, 0, Some(1)), (3, 2, Some(1))]);
    let read = log.read(&msg, 0, 10).await.unwrap();
    assert_eq!(read[1].at, seen[2].stored.at, "every way of reading gives the same time");
    assert_eq!(read[1].fence(), Some(1));
    assert_eq!(read[1].subject, seen[2].stored.subject);
    assert_eq!(read[1].msg_id(), seen[2].stored.msg_id());
    let of = |message: &ops::log::StoredMsg| {
        let mut headers: Vec<_> =
            message.written_headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        headers.sort();
        headers
    };
    assert_eq!(
        of(&read[1]),
        of(&seen[2].stored),
        "what the writer gave is told apart from what the server adds"
    );
    assert_eq!(of(&read[1]).len(), 3);
}

#[tokio::test]
async fn a_batch_keeps_its_fences_in_its_live_copies() {
    let (_server, log) = provisioned().await;
    let mut copies = log.bus().client.subscribe(subject::live_of_shard(SHARD)).await.unwrap();
    let (life, msg) = (lane(1, Lane::Life), lane(1, Lane::Msg));
    log.publish(Write::new(&life, "{}").expect(Expect::LastOnSubject(0))).await.unwrap();
    let fenced = Write::new(&msg, "{}").expect(Expect::LastOn { subject: life.clone(), seq: 1 });
    log.publish_batch(vec![fenced, Write::new(lane(1, Lane::Mark), "{}")]).await.unwrap();
    let mut shape = Vec::new();
    for _ in 0..3 {
        let copy = live(&copies.next().await.unwrap()).unwrap();
        shape.push((copy.stored.seq, copy.previous, copy.fence));
    }
    assert_eq!(shape, [(1, 0, None), (2, 0, Some(1)), (3, 0, None)]);
}

#[tokio::test]
async fn following_goes_on_without_hole_or_repeat_over_kill_9_of_the_server() {
    let (server, log) = provisioned().await;
    fill(&log, 3, 500).await;
    let tail = log.tail(vec![lane(0, Lane::Msg), lane(2, Lane::Msg)], DeliverFrom::Start).await.unwrap();
    follow_over_kill_9(server, log, tail).await;
}

#[tokio::test]
async fn following_at_a_pace_goes_on_without_hole_or_repeat_over_kill_9_of_the_server() {
    let (server, log) = provisioned().await;
    fill(&log, 3, 500).await;
    let (filters, pace) = (vec![lane(0, Lane::Msg), lane(2, Lane::Msg)], Duration::from_millis(20));
    let tail = log.tail_paced(filters, DeliverFrom::Start, pace).await.unwrap();
    follow_over_kill_9(server, log, tail).await;
}

async fn follow_over_kill_9(mut server: NatsServer, log: Log, mut tail: Tail) {
    assert_eq!(tail.pending(), 1000);
    let mut seen = Vec::new();
    for _ in 0..600 {
        seen.push(tail.next().await.unwrap().seq);
    }
    server.kill();
    server.restart().await;
    wait_for(SOON, "the log to take writes again", async || {
        log.publish(Write::new(lane(0, Lane::Msg), "after")).await.ok()
    })
    .await;
    let end = log.last(&lane(0, Lane::Msg)).await.unwrap().unwrap().seq;
    while *seen.last().unwrap() < end {
        seen.push(tail.next().await.unwrap().seq);
    }
    let mut wanted = Vec::new();
    for conversation in [0, 2] {
        wanted.extend(
            log.read(&lane(conversation, Lane::Msg), 0, 5000).await.unwrap().into_iter().map(|m| m.seq),
        );
    }
    wanted.sort_unstable();
    assert!(seen == wanted, "{} seen, {} stored", seen.len(), wanted.len());
    assert_eq!(tail.pending(), 0);
}

#[tokio::test]
async fn after_a_quiet_time_the_first_message_comes_at_once_and_the_next_at_the_pace() {
    let (_server, log) = provisioned().await;
    let pace = Duration::from_secs(3600);
    let mut tail = log.tail_paced(Vec::new(), DeliverFrom::Start, pace).await.unwrap();
    let early = timeout(Duration::from_millis(200), tail.next()).await;
    assert!(early.is_err(), "nothing is stored: {early:?}");
    fill(&log, 1, 1).await;
    assert_eq!(tail.next().await.unwrap().seq, 1);
    fill(&log, 1, 1).await;
    let early = timeout(Duration::from_millis(200), tail.next()).await;
    assert!(early.is_err(), "{early:?}");
}

#[tokio::test]
async fn a_paced_reader_whose_consumer_is_gone_goes_on_behind_what_it_had() {
    let (server, log) = provisioned().await;
    fill(&log, 1, 3).await;
    let pace = Duration::from_millis(20);
    let mut tail = log.tail_paced(Vec::new(), DeliverFrom::Start, pace).await.unwrap();
    for seq in 1..=3 {
        assert_eq!(tail.next().await.unwrap().seq, seq);
    }
    let stream = async_nats::jetstream::new(server.client().await).get_stream(log.stream()).await.unwrap();
    for consumer in stream.consumer_names().try_collect::<Vec<_>>().await.unwrap() {
        stream.delete_consumer(&consumer).await.unwrap();
    }
    fill(&log, 1, 3).await;
    for seq in 4..=6 {
        assert_eq!(tail.next().await.unwrap().seq, seq);
    }
    assert_eq!(tail.begun(), 2);
}

#[tokio::test]
async fn following_may_begin_anywhere() {
    let (_server, log) = provisioned().await;
    fill(&log, 3, 2).await;
    let first = async |from| log.tail(Vec::new(), from).await.unwrap().next().await.unwrap().seq;
    assert_eq!(first(DeliverFrom::Start).await, 1);
    assert_eq!(first(DeliverFrom::Seq(5)).await, 5);
    assert_eq!(first(DeliverFrom::LastPerSubject).await, 4);
    let mut new = log.tail(Vec::new(), DeliverFrom::New).await.unwrap();
    assert_eq!((new.pending(), new.position()), (0, Some(6)));
    fill(&log, 1, 1).await;
    assert_eq!(new.next().await.unwrap().seq, 7);
}

#[tokio::test]
async fn an_epoch_is_drawn_when_a_log_is_made() {
    let (server, log) = provisioned().await;
    let epoch = log.epoch().await.unwrap();
    assert_eq!(log.epoch().await.unwrap(), epoch);
    let context = async_nats::jetstream::new(server.client().await);
    context.delete_stream(log.stream()).await.unwrap();
    ops::provision::apply(log.bus(), &crate::kit::plan()).await.unwrap();
    assert_ne!(log.epoch().await.unwrap(), epoch);
}
