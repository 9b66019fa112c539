//! The connection for hot paths, against a real server that is killed, paused and restarted.

use std::time::Duration;

use bus_schema::Lane;
use ops::{
    log::{Expect, LiveCopy, Log, Write, WriteError},
    testing::wait_for,
    wire::{Driver, FIRST_SID, HeaderBlock, Incoming, Lost, Wire},
};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use crate::kit::{SHARD, SOON, connect, lane, provisioned};

/// More than any of these tests leaves untaken.
const GOT_MAX: usize = 65_536;

/// What an owner was given, by value.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Connected,
    Copy { sid: u64, payload: Vec<u8>, live: Option<LiveCopy> },
    Answer { key: u64, result: Result<Vec<u8>, Lost> },
}

/// An owner that subscribes to `subject` on each new connection, and passes on what it gets.
fn own(mut driver: Driver, subject: String) -> (Wire, mpsc::Receiver<Got>, JoinHandle<()>) {
    let wire = driver.wire();
    let (tell, told) = mpsc::channel(GOT_MAX);
    let task = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                () = driver.ready() => {}
                now = tick.tick() => driver.tick(now),
            }
            while let Some(incoming) = driver.take() {
                let got = match incoming {
                    Incoming::Connected => {
                        driver.subscribe(FIRST_SID, &subject);
                        Got::Connected
                    }
                    Incoming::Message(message) => Got::Copy {
                        sid: message.sid,
                        payload: message.payload.to_vec(),
                        live: LiveCopy::of(message.headers),
                    },
                    Incoming::Answer { key, result } => {
                        Got::Answer { key, result: result.map(<[u8]>::to_vec) }
                    }
                };
                if tell.try_send(got).is_err() {
                    return;
                }
            }
        }
    });
    (wire, told, task)
}

async fn next(told: &mut mpsc::Receiver<Got>) -> Got {
    tokio::time::timeout(SOON, told.recv()).await.unwrap().unwrap()
}

fn live(stored: &str) -> String {
    stored.replacen("chat.", "live.", 1)
}

#[tokio::test]
async fn a_write_is_answered_and_its_copy_comes_with_what_was_before_it() {
    let (_server, log) = provisioned().await;
    let (life, msg) = (lane(1, Lane::Life), lane(1, Lane::Msg));
    let (wire, mut told, _task) = own(Driver::new(log.bus()), live(&msg));
    assert_eq!(next(&mut told).await, Got::Connected);
    let over = log.over(wire.clone());
    let first = over.publish(Write::new(&life, "a").expect(Expect::LastOnSubject(0))).await.unwrap();
    for n in 0..3_u64 {
        let write = Write::new(&msg, format!("m{n}")).msg_id(format!("id {n}"));
        let write = write.expect(Expect::LastOn { subject: life.clone(), seq: first.seq });
        assert_eq!(over.begin(&wire, n, &write), Ok(()));
    }
    let (mut copies, mut answers) = (Vec::new(), Vec::new());
    while copies.len() + answers.len() < 6 {
        match next(&mut told).await {
            Got::Copy { sid, payload, live } => copies.push((sid, payload, live.unwrap())),
            Got::Answer { key, result } => {
                let answer = over.outcome(Instant::now(), result.as_deref().map_err(|lost| *lost));
                answers.push((key, answer.unwrap().seq));
            }
            Got::Connected => panic!("the connection broke"),
        }
    }
    assert_eq!(answers, [(0, 2), (1, 3), (2, 4)]);
    let seen: Vec<_> =
        copies.iter().map(|(sid, payload, c)| (*sid, payload.clone(), c.seq, c.previous, c.fence)).collect();
    let copy = |n: u64, previous| (FIRST_SID, format!("m{n}").into_bytes(), n + 2, previous, Some(1));
    assert_eq!(seen, [copy(0, 0), copy(1, 2), copy(2, 3)]);
    let late = Write::new(&msg, "x").expect(Expect::LastOn { subject: life, seq: 99 });
    assert_eq!(over.publish(late).await, Err(WriteError::Mismatch));
    assert_eq!(over.last(&msg).await.unwrap().unwrap().seq, 4, "the leader answers over it as well");
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_at_once_and_nobody_there_as_well() {
    let (_server, log) = provisioned().await;
    let (wire, mut told, _task) = own(Driver::new(log.bus()), "bench.a".into());
    assert_eq!(next(&mut told).await, Got::Connected);
    let none = HeaderBlock::default();
    let wait = Duration::from_secs(5);
    assert_eq!(wire.request("a b", &none, b"", wait).await, Err(Lost::Invalid));
    assert_eq!(wire.request("a", &none, &vec![0; 2 << 20], wait).await, Err(Lost::Invalid));
    assert_eq!(wire.request("bench.nobody", &none, b"", wait).await, Err(Lost::NoResponders));
    let large = vec![b'x'; 900 * 1024];
    log.bus().client.publish("bench.a", large.clone().into()).await.unwrap();
    assert_eq!(next(&mut told).await, Got::Copy { sid: FIRST_SID, payload: large, live: None });
}

#[tokio::test]
async fn a_connection_that_breaks_loses_what_was_sent_keeps_what_waits_and_says_that_it_stands_again() {
    let (mut server, log) = provisioned().await;
    let msg = lane(1, Lane::Msg);
    let (wire, mut told, _task) = own(Driver::new(log.bus()), live(&msg));
    assert_eq!(next(&mut told).await, Got::Connected);
    let over = log.over(wire.clone());
    server.pause();
    over.begin(&wire, 7, &Write::new(&msg, "sent")).unwrap();
    // In the server's hands, which never gets to it.
    wait_for(SOON, "the write to be sent", async || wire.is_open()).await;
    server.kill();
    assert_eq!(next(&mut told).await, Got::Answer { key: 7, result: Err(Lost::Disconnected) });
    let waiting = tokio::spawn({
        let (over, msg) = (over.clone(), msg.clone());
        async move { over.publish(Write::new(&msg, "waits")).await }
    });
    server.restart().await;
    assert_eq!(next(&mut told).await, Got::Connected);
    let stored = waiting.await.unwrap().unwrap();
    // Subscribed again before what waited was sent, so its copy comes.
    match next(&mut told).await {
        Got::Copy { payload, live, .. } => {
            assert_eq!((payload, live.unwrap().seq), (b"waits".to_vec(), stored.seq));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_is_silent_is_given_up_and_every_request_ends() {
    let (mut server, log) = provisioned().await;
    let (wire, mut told, _task) = own(Driver::new(log.bus()), "bench.a".into());
    assert_eq!(next(&mut told).await, Got::Connected);
    server.pause();
    let none = HeaderBlock::default();
    let asked = wire.request("bench.nobody", &none, b"", Duration::from_millis(300)).await;
    assert_eq!(asked, Err(Lost::TimedOut));
    wait_for(SOON, "the connection to be given up", async || !wire.is_open()).await;
    let asked = wire.request("bench.nobody", &none, b"", Duration::from_millis(300)).await;
    assert_eq!(asked, Err(Lost::TimedOut), "what waits for the connection ends in time");
    server.resume();
    assert_eq!(next(&mut told).await, Got::Connected);
}

#[tokio::test]
async fn a_read_of_the_leader_after_a_subscription_leaves_no_hole() {
    let (server, log) = provisioned().await;
    let (bus, writer) = (connect(server.url()).await, log.clone());
    let (wire, mut told, _task) = own(Driver::new(&bus), "bench.a".into());
    assert_eq!(next(&mut told).await, Got::Connected);
    let over = Log::new(bus, SHARD).over(wire.clone());
    let msg = lane(1, Lane::Msg);
    let writing = tokio::spawn({
        let msg = msg.clone();
        async move {
            for n in 0..2_000 {
                writer.publish(Write::new(&msg, n.to_string())).await.unwrap();
            }
        }
    });
    let mut first = 0;
    for sid in 10..60 {
        wire.subscribe(sid, &live(&msg));
        let at = over.last(&msg).await.unwrap().map_or(0, |last| last.seq);
        let copy = loop {
            match next(&mut told).await {
                Got::Copy { sid: of, live, .. } if of == sid && live.unwrap().seq > at => {
                    break live.unwrap();
                }
                _ => {}
            }
        };
        assert_eq!(copy.seq, at + 1, "the first copy beyond what the leader had is the next one");
        wire.unsubscribe(sid);
        first = copy.seq;
    }
    assert!(first < 2_000);
    writing.abort();
}
