//! The writing side of a socket: frames are appended, and written at once as far as the kernel takes them.
//!
//! Invariant: at most [`OUT_MAX`] bytes wait; who would add more is told to wait.

use std::{io, sync::Arc};

use fastwebsockets::OpCode;
use tokio::net::tcp::OwnedWriteHalf;

use super::wire;

/// Bytes that may wait for the socket.
const OUT_MAX: usize = 1024 * 1024;
/// Memory that an idle link keeps.
const KEPT: usize = 4 * 1024;

#[derive(Debug)]
pub struct Link {
    socket: Arc<OwnedWriteHalf>,
    out: Vec<u8>,
    written: usize,
    scratch: Vec<u8>,
}

impl Link {
    pub const fn new(socket: Arc<OwnedWriteHalf>) -> Self {
        Self { socket, out: Vec::new(), written: 0, scratch: Vec::new() }
    }

    pub const fn has_room(&self) -> bool {
        self.out.len() - self.written < OUT_MAX
    }

    pub const fn is_blocked(&self) -> bool {
        self.written < self.out.len()
    }

    pub fn request(&mut self, request: u64, action: &str, payload: &[u8]) {
        wire::push_request(&mut self.out, &mut self.scratch, request, action, payload);
    }

    pub fn frame(&mut self, opcode: OpCode, payload: &[u8]) {
        wire::push_frame(&mut self.out, opcode, payload);
    }

    /// Writes what the kernel takes now.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.socket.try_write(&self.out[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.written = 0;
        self.out.clear();
        self.out.shrink_to(KEPT);
        self.scratch.shrink_to(KEPT);
        Ok(())
    }
}
