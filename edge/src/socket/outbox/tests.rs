//! What waits, in which order it goes out, and when it is too much.

use super::*;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
};

/// As if all were written.
fn drain(outbox: &Outbox) -> Vec<Outgoing> {
    let mut queue = outbox.lock();
    queue.bytes = 0;
    queue.frames.drain(..).map(|waiting| waiting.frame).collect()
}

fn texts(frames: Vec<Outgoing>) -> Vec<String> {
    let text = |frame| match frame {
        Outgoing::Text { shared, own } => String::from_utf8([shared, own].concat()).unwrap(),
        other => panic!("{other:?}"),
    };
    frames.into_iter().map(text).collect()
}

fn new(bytes_max: usize) -> Outbox {
    Outbox::new(bytes_max, None)
}

async fn pair() -> (Outbox, TcpStream, tokio::net::tcp::OwnedReadHalf) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (incoming, outgoing) = listener.accept().await.unwrap().0.into_split();
    (Outbox::new(0, Some(outgoing)), client, incoming)
}

#[tokio::test]
async fn what_the_socket_does_not_take_is_kept_and_goes_out_whole_before_the_close() {
    let (outbox, mut client, incoming) = pair().await;
    let (mut scratch, mut wrote) = (Vec::new(), Wrote::default());
    let mut queued = 0_u64;
    while outbox.flush(&mut scratch, &mut wrote) == Flushed::Done {
        outbox.queue(Outgoing::text(vec![b'x'; 60_000]));
        queued += 1;
    }
    assert!(outbox.lock().stuck);
    outbox.close(CloseCode::Evicted);
    let writing = async {
        while outbox.flush(&mut scratch, &mut wrote) == Flushed::Stuck {
            incoming.as_ref().writable().await.unwrap();
        }
    };
    let mut read = Vec::new();
    let (_, count) = tokio::join!(writing, client.read_to_end(&mut read));
    let close = [&[0x88, 2 + 7][..], &3504_u16.to_be_bytes(), b"evicted"].concat();
    assert_eq!(count.unwrap() as u64, queued * 60_004 + close.len() as u64);
    assert!(read.ends_with(&close), "then the end, and nothing after it");
    assert_eq!((wrote.frames, wrote.bytes), (queued + 1, read.len() as u64));
    assert_eq!(outbox.flush(&mut scratch, &mut wrote), Flushed::Over);
}

#[tokio::test]
async fn a_queue_that_is_written_keeps_next_to_no_room() {
    let (outbox, _client, _incoming) = pair().await;
    for _ in 0..20 {
        outbox.push(Outgoing::text("x"));
    }
    assert_eq!(outbox.flush(&mut Vec::new(), &mut Wrote::default()), Flushed::Done);
    assert!(outbox.lock().frames.capacity() <= KEPT_FRAMES);
}

#[tokio::test]
async fn a_ping_goes_before_what_waits_takes_no_room_and_follows_no_close() {
    let (outbox, mut client, _incoming) = pair().await;
    let outbox = Outbox { bytes_max: 600, ..outbox };
    let (mut scratch, mut wrote) = (Vec::new(), Wrote::default());
    outbox.ping();
    assert_eq!(outbox.flush(&mut scratch, &mut wrote), Flushed::Done);
    assert_eq!((wrote.frames, wrote.bytes), (1, 2), "alone");
    outbox.push(Outgoing::text(vec![b'x'; 400]));
    outbox.ping();
    outbox.ping();
    assert_eq!(outbox.push(Outgoing::text("y")), Pushed::Queued { first: false }, "it fits as before");
    assert_eq!(outbox.flush(&mut scratch, &mut wrote), Flushed::Done);
    outbox.close(CloseCode::Evicted);
    outbox.ping();
    assert_eq!(outbox.flush(&mut scratch, &mut wrote), Flushed::Over);
    let mut read = Vec::new();
    client.read_to_end(&mut read).await.unwrap();
    let text = [&[0x81, 126, 1, 144][..], &[b'x'; 400], &[0x81, 1, b'y']].concat();
    let close = [&[0x88, 2 + 7][..], &3504_u16.to_be_bytes(), b"evicted"].concat();
    assert_eq!(read, [&frames::PING[..], &frames::PING, &text, &close].concat());
}

#[tokio::test]
async fn a_broken_socket_ends_the_queue() {
    let (outbox, client, _incoming) = pair().await;
    socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(client);
    let (mut scratch, mut wrote) = (Vec::new(), Wrote::default());
    let over = ops::testing::wait_for(std::time::Duration::from_secs(10), "the reset", async || {
        outbox.queue(Outgoing::text("x"));
        outbox.flush(&mut scratch, &mut wrote) == Flushed::Over
    });
    over.await;
    assert_eq!(outbox.queue(Outgoing::text("y")), Pushed::Closed);
}

#[test]
fn a_full_queue_closes_with_slow_consumer_and_nothing_else_follows() {
    let outbox = new(1_000);
    let text = || Outgoing::text(vec![b'x'; 400]);
    assert_eq!(outbox.push(text()), Pushed::Queued { first: true });
    assert_eq!(outbox.push(text()), Pushed::Queued { first: false });
    assert_eq!(outbox.push(text()), Pushed::Overflow);
    assert_eq!(outbox.push(text()), Pushed::Closed);
    outbox.close(CloseCode::Shutdown);
    assert!(matches!(drain(&outbox)[..], [Outgoing::Close(CloseCode::SlowConsumer)]));
    assert_eq!(outbox.closed(), Some(CloseCode::SlowConsumer));
}

#[test]
fn of_a_topic_the_last_word_alone_waits_and_takes_no_more_room() {
    let outbox = new(2_000);
    let (one, other) = (Topic::Person(uuid::Uuid::from_u128(1)), Topic::Person(uuid::Uuid::from_u128(2)));
    outbox.push(Outgoing::text("first"));
    for n in 0..1_000 {
        assert_eq!(
            outbox.push_latest(one, Outgoing::text(format!("one {n}"))),
            Pushed::Queued { first: false }
        );
        outbox.push_latest(other, Outgoing::text(format!("other {n}")));
    }
    outbox.push(Outgoing::text("last"));
    let texts = texts(drain(&outbox));
    assert_eq!(texts, ["first", "one 999", "other 999", "last"]);
    assert_eq!(
        outbox.push_latest(one, Outgoing::text("again")),
        Pushed::Queued { first: true },
        "what went out is out"
    );
}

#[test]
fn what_may_be_lost_is_renewed_where_it_waits() {
    let outbox = new(1_000);
    let topic = Topic::Position(bus_schema::ConversationId::NIL);
    outbox.offer(Some(topic), Outgoing::text("third"));
    outbox.push(Outgoing::text(vec![b'x'; 600]));
    assert_eq!(outbox.offer(None, Outgoing::text("typing")), Pushed::Overflow);
    assert_eq!(outbox.offer(Some(topic), Outgoing::text("second")), Pushed::Queued { first: false });
    let texts = texts(drain(&outbox));
    assert_eq!(texts.last().map(String::as_str), Some("second"));
    assert_eq!(texts.len(), 2);
}

#[test]
fn a_close_waits_for_what_is_queued() {
    let outbox = new(1_000);
    outbox.push(Outgoing::text("a"));
    outbox.close(CloseCode::Evicted);
    assert_eq!(outbox.push(Outgoing::text("b")), Pushed::Closed);
    assert!(matches!(drain(&outbox)[..], [Outgoing::Text { .. }, Outgoing::Close(CloseCode::Evicted)]));
    assert!(drain(&outbox).is_empty());
}

#[test]
fn taking_makes_room() {
    let outbox = new(500);
    for _ in 0..10 {
        assert_eq!(outbox.push(Outgoing::text(vec![b'x'; 400])), Pushed::Queued { first: true });
        assert_eq!(drain(&outbox).len(), 1);
        assert!(drain(&outbox).is_empty());
    }
}

#[test]
fn what_the_socket_did_not_take_counts_and_a_long_answer_fits_an_idle_queue() {
    let outbox = new(500);
    assert_eq!(outbox.push(Outgoing::text(vec![b'x'; 2_000])), Pushed::Queued { first: true });
    assert_eq!(drain(&outbox).len(), 1);
    outbox.lock().rest = Bytes::from(vec![b'x'; 500]);
    assert_eq!(outbox.push(Outgoing::text("y")), Pushed::Overflow);
}

#[test]
fn a_replay_does_not_make_a_client_slow() {
    let outbox = new(500);
    outbox.replay((0..10).map(|_| Outgoing::text(vec![b'x'; 400])));
    assert_eq!(outbox.push(Outgoing::text("live")), Pushed::Queued { first: false });
    assert_eq!(drain(&outbox).len(), 11);
}

#[test]
fn signals_are_the_first_to_go_and_close_nothing() {
    let outbox = new(1_000);
    let text = || Outgoing::text(vec![b'x'; 300]);
    assert_eq!(outbox.offer(None, text()), Pushed::Queued { first: true });
    assert_eq!(outbox.offer(None, text()), Pushed::Overflow);
    assert_eq!(outbox.push(text()), Pushed::Queued { first: false });
    assert_eq!(outbox.closed(), None);
    assert_eq!(drain(&outbox).len(), 2);
}

#[tokio::test]
async fn a_push_wakes_the_writer() {
    let outbox = new(0);
    outbox.push(Outgoing::text("a"));
    outbox.ready().await;
    assert_eq!(drain(&outbox).len(), 1);
}
