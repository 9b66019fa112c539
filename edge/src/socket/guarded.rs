//! An `AsyncRead` that lets a [`FrameGuard`] see everything first.
//!
//! Invariant: what came before a violation reaches the reader, and after it nothing more; what it was stays in
//! `violation`. What still comes is thrown away, because a socket that is closed with unread bytes is reset, and the
//! close frame lost with it.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use super::guard::{FrameGuard, Refused, Violation};

/// The guarded half of a socket.
#[derive(Debug)]
pub struct Guarded<R> {
    inner: R,
    /// What came with the upgrade request and was read with it.
    early: Bytes,
    guard: FrameGuard,
    /// Found behind bytes that the reader got first.
    next: Option<Violation>,
    violation: Arc<OnceLock<Violation>>,
}

impl<R> Guarded<R> {
    /// The guarded stream, and the place where a violation will be found.
    pub fn new(inner: R, early: Bytes, guard: FrameGuard) -> (Self, Arc<OnceLock<Violation>>) {
        let violation = Arc::new(OnceLock::new());
        (Self { inner, early, guard, next: None, violation: violation.clone() }, violation)
    }

    /// Reads to the end, and shows the end alone.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
    {
        let mut scratch = [0; 1024];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn refuse(&self, violation: Violation) -> io::Error {
        let _ = self.violation.set(violation);
        io::Error::new(io::ErrorKind::InvalidData, violation)
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Guarded<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.violation.get().is_some() {
            return this.poll_discard(cx);
        }
        if let Some(violation) = this.next.take() {
            return Poll::Ready(Err(this.refuse(violation)));
        }
        let before = buf.filled().len();
        if this.early.is_empty() {
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        } else {
            let count = this.early.len().min(buf.remaining());
            buf.put_slice(&this.early[..count]);
            this.early.advance(count);
            if this.early.is_empty() {
                this.early = Bytes::new();
            }
        }
        let after = buf.filled().len();
        if let Err(Refused { violation, good }) = this.guard.inspect(&buf.filled()[before..after]) {
            buf.set_filled(before + good);
            if good == 0 {
                return Poll::Ready(Err(this.refuse(violation)));
            }
            this.next = Some(violation);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn early_bytes_come_first_and_a_violation_ends_it() {
        let masked = [0x81, 0x81, 0, 0, 0, 0, b'a'];
        let unmasked = [0x81, 0x01, b'b', b'c', b'd'];
        let (mut stream, violation) =
            Guarded::new(&unmasked[..], Bytes::copy_from_slice(&masked), FrameGuard::new(10));
        let mut seen = [0; 7];
        stream.read_exact(&mut seen).await.unwrap();
        assert_eq!(seen, masked);
        assert!(stream.read(&mut seen).await.is_err());
        assert_eq!(violation.get(), Some(&Violation::Unmasked));
        assert_eq!(stream.read(&mut seen).await.unwrap(), 0, "the rest is thrown away");
    }

    #[tokio::test]
    async fn what_came_with_a_violation_and_before_it_is_read() {
        let good = [0x81, 0x81, 0, 0, 0, 0, b'a'];
        let both = [&good[..], &[0x83, 0x80, 0, 0, 0, 0]].concat();
        let (mut stream, violation) = Guarded::new(&both[..], Bytes::new(), FrameGuard::new(10));
        let mut seen = [0; 64];
        assert_eq!(stream.read(&mut seen).await.unwrap(), good.len());
        assert_eq!(violation.get(), None);
        assert!(stream.read(&mut seen).await.is_err());
        assert_eq!(violation.get(), Some(&Violation::Opcode));
        assert_eq!(stream.read(&mut seen).await.unwrap(), 0);
    }
}
