//! After a close: the client takes what is on its way, and leaves.
//!
//! Invariant: it takes a bounded time. What still comes is thrown away, because a socket that is closed with unread
//! bytes is reset, and the close frame lost with it.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::tcp::OwnedReadHalf,
    time::timeout,
};

use crate::{conn::Conn, socket::Flushed};

/// How long a closed client has to take what is on its way.
const STALLED_MAX: Duration = Duration::from_secs(5);
/// How long it has to leave then.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

pub async fn part(conn: &Conn, incoming: &mut OwnedReadHalf) {
    let written = async {
        loop {
            match conn.flush() {
                Flushed::Over | Flushed::Done => return,
                Flushed::Stuck => {
                    if incoming.as_ref().writable().await.is_err() {
                        return;
                    }
                }
            }
        }
    };
    if timeout(STALLED_MAX, written).await.is_ok() {
        conn.outbox.end();
        let _ = timeout(LEAVE_WITHIN, poll_fn(|cx| poll_discard(cx, incoming))).await;
    }
}

/// Reads until the client is gone.
fn poll_discard(cx: &mut std::task::Context<'_>, incoming: &mut OwnedReadHalf) -> Poll<()> {
    let mut scratch = [0; 1024];
    loop {
        let mut buffer = ReadBuf::new(&mut scratch);
        match Pin::new(&mut *incoming).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
            Poll::Ready(_) => return Poll::Ready(()),
            Poll::Pending => return Poll::Pending,
        }
    }
}
