//! The task that writes to a client: everything that waits goes out in one write.
//!
//! Invariant: frames go out whole and in the order of the outbox; after a close frame nothing does. A client that
//! takes nothing for `STALLED_MAX` after it was closed is cut off.

use std::{sync::Arc, time::Duration};

use bus_schema::{Timestamp, close::CloseCode, limits::TOKEN_EXPIRING_MS, protocol::TokenExpiring};
use bytes::BufMut as _;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    time::{Instant, sleep_until, timeout},
};

use super::Outgoing;
use crate::{clock, conn::Conn, metrics::Measures};

/// How long a closed client has to take what is on its way.
const STALLED_MAX: Duration = Duration::from_secs(5);
/// How long the other side has to answer a close.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// Larger buffers are given back after use.
const KEPT_BYTES: usize = 8 * 1024;
const FAR: Duration = Duration::from_secs(24 * 3_600);

/// Writes until the connection ends.
pub async fn write(conn: Arc<Conn>, mut io: impl AsyncWrite + Unpin, measures: Arc<Measures>) {
    let (mut frames, mut buffer) = (Vec::new(), Vec::new());
    let mut clock = TokenClock::default();
    loop {
        conn.outbox.take(&mut frames);
        if frames.is_empty() {
            let next = clock.due(&conn);
            tokio::select! {
                () = conn.outbox.ready() => {}
                () = conn.gone.cancelled() => break,
                () = sleep_until(next) => {}
            }
            continue;
        }
        measures.frames_out.increment(frames.len() as u64);
        let ends = frames.iter().any(|frame| matches!(frame, Outgoing::Close(_) | Outgoing::CloseEcho(_)));
        for frame in frames.drain(..) {
            encode(&mut buffer, &frame);
        }
        measures.bytes_out.increment(buffer.len() as u64);
        measures.writes.increment(1);
        if !write_all(&conn, &mut io, &buffer).await || ends {
            break;
        }
        buffer.clear();
        if buffer.capacity() > KEPT_BYTES {
            buffer = Vec::new();
        }
        frames.shrink_to(8);
    }
    conn.outbox.end();
    let _ = timeout(CLOSE_WAIT, io.shutdown()).await;
    let _ = timeout(CLOSE_WAIT, conn.gone.cancelled()).await;
    conn.gone.cancel();
}

/// Whether all was written: no once the socket is broken, or closed and not read any more.
async fn write_all(conn: &Conn, io: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> bool {
    let mut writing = std::pin::pin!(io.write_all(bytes));
    let mut deadline = Instant::now() + FAR;
    let mut closed = false;
    loop {
        if !closed && conn.outbox.closed().is_some() {
            closed = true;
            deadline = Instant::now() + STALLED_MAX;
        }
        tokio::select! {
            written = &mut writing => return written.is_ok(),
            () = conn.outbox.ready(), if !closed => {}
            () = conn.gone.cancelled() => return false,
            () = sleep_until(deadline) => return false,
        }
    }
}

/// When the token's end must be announced and enforced.
#[derive(Default)]
struct TokenClock {
    /// The end that was announced.
    announced: Option<Timestamp>,
}

impl TokenClock {
    /// Says what is due, and when to look again.
    fn due(&mut self, conn: &Conn) -> Instant {
        let Some(end) = conn.token_end() else { return Instant::now() + FAR };
        let left = end.since(clock::now());
        if left.is_zero() {
            conn.outbox.close(CloseCode::TokenExpired);
            return Instant::now() + FAR;
        }
        let notice = Duration::from_millis(TOKEN_EXPIRING_MS);
        if left > notice {
            return Instant::now() + (left - notice);
        }
        if self.announced != Some(end) {
            self.announced = Some(end);
            conn.push("token_expiring", TokenExpiring { expires_at: end });
        }
        Instant::now() + left
    }
}

fn encode(out: &mut Vec<u8>, frame: &Outgoing) {
    const TEXT: u8 = 0x81;
    const CLOSE: u8 = 0x88;
    const PONG: u8 = 0x8a;
    match frame {
        Outgoing::Text { shared, own } => {
            head(out, TEXT, shared.len() + own.len());
            out.extend_from_slice(shared);
            out.extend_from_slice(own);
        }
        Outgoing::Pong(payload) => {
            head(out, PONG, payload.len());
            out.extend_from_slice(payload);
        }
        Outgoing::CloseEcho(payload) => {
            head(out, CLOSE, payload.len());
            out.extend_from_slice(payload);
        }
        Outgoing::Close(code) => {
            head(out, CLOSE, 2 + code.name().len());
            out.put_u16(code.number());
            out.extend_from_slice(code.name().as_bytes());
        }
    }
}

/// An unmasked frame's header.
fn head(out: &mut Vec<u8>, first: u8, length: usize) {
    out.push(first);
    match length {
        0..126 => out.push(length as u8),
        126..65_536 => {
            out.push(126);
            out.put_u16(length as u16);
        }
        _ => {
            out.push(127);
            out.put_u64(length as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastwebsockets::{Frame, OpCode, Payload, Role, after_handshake_split};

    #[tokio::test]
    async fn frames_of_every_size_are_read_back_by_another_reader() {
        let mut bytes = Vec::new();
        let texts: Vec<String> = [0, 125, 126, 65_535, 65_536].iter().map(|n| "x".repeat(*n)).collect();
        for text in &texts {
            let (shared, own) = text.split_at(text.len() / 2);
            encode(
                &mut bytes,
                &Outgoing::Text { shared: shared.to_owned().into(), own: own.to_owned().into() },
            );
        }
        encode(&mut bytes, &Outgoing::Close(CloseCode::SlowConsumer));
        let (mut reader, _) = after_handshake_split(&bytes[..], tokio::io::sink(), Role::Client);
        reader.set_auto_close(false);
        let mut ignore = |_: Frame<'_>| std::future::ready(Ok::<(), std::io::Error>(()));
        for text in &texts {
            let frame = reader.read_frame(&mut ignore).await.unwrap();
            assert_eq!((frame.opcode, &frame.payload[..]), (OpCode::Text, text.as_bytes()));
        }
        let close = reader.read_frame(&mut ignore).await.unwrap();
        let Payload::Bytes(payload) = close.payload else { panic!("a read payload is bytes") };
        assert_eq!(&payload[..], [&3001_u16.to_be_bytes()[..], b"slow_consumer"].concat());
    }
}
