//! When a connection must have done something: logged in, said anything, ended a message, renewed its token.
//!
//! Invariant: one timer is enough: it wakes at the earliest of them, and looking again is harmless. What comes of a
//! frame is no sign of life before the frame is whole, and a message that has begun gets no more time by what else is
//! said. Nobody is judged by a timer alone: a process that stood still learns of its timers before its sockets.

use std::time::Duration;

use bus_schema::{
    Timestamp,
    close::CloseCode,
    limits::{Limits, TOKEN_EXPIRING_MS},
    protocol::TokenExpiring,
};
use tokio::time::Instant;

use crate::{
    clock,
    conn::Conn,
    socket::{Heard, Part},
};

/// How long a message may take, where silence may not take less.
const MESSAGE_WITHIN: Duration = Duration::from_secs(60);
/// After the time for the login, in which what lies in the socket is read.
const LAST_LOOK: Duration = Duration::from_millis(250);
const FAR: Duration = Duration::from_secs(24 * 3_600);

#[derive(Debug)]
pub struct Deadlines {
    login_by: Instant,
    /// The time for the login is over, and this is the last look.
    is_last_look: bool,
    /// Something whole was said.
    has_spoken: bool,
    /// How long silence may last; none: for ever.
    dead_after: Option<Duration>,
    heard_at: Instant,
    /// When the message must end that has begun.
    message_by: Option<Instant>,
    /// The end of the token that the timer knows of, and the one that was announced.
    known: Option<Timestamp>,
    announced: Option<Timestamp>,
    /// Something is due that the timer does not know of.
    is_new: bool,
}

impl Deadlines {
    pub fn new(login_by: Instant, limits: &Limits) -> Self {
        let dead_after = Some(limits.dead_after_ms).filter(|millis| *millis > 0).map(Duration::from_millis);
        Self {
            login_by,
            is_last_look: false,
            has_spoken: false,
            dead_after,
            heard_at: Instant::now(),
            message_by: None,
            known: None,
            announced: None,
            is_new: false,
        }
    }

    pub const fn first(&self) -> Instant {
        self.login_by
    }

    /// For who is not logged in: an error ends the connection. Whose silence may be the network's is told to come
    /// again; who speaks without logging in is not.
    pub fn check_login(&mut self) -> Result<(), CloseCode> {
        let now = Instant::now();
        if now < self.login_by {
            return Ok(());
        }
        if !std::mem::replace(&mut self.is_last_look, true) {
            self.login_by = now + LAST_LOOK;
            return Ok(());
        }
        Err(if self.has_spoken { CloseCode::LoginRequired } else { CloseCode::Timeout })
    }

    /// The client said something, or a part of it.
    pub fn heard(&mut self, heard: &Heard) {
        let now = Instant::now();
        if !heard.said.is_empty() {
            self.heard_at = now;
            self.has_spoken = true;
        }
        match heard.part {
            Part::Nothing => self.message_by = None,
            Part::New => {
                self.message_by =
                    Some(now + self.dead_after.map_or(MESSAGE_WITHIN, |dead| dead.min(MESSAGE_WITHIN)));
                self.is_new = true;
            }
            Part::Same => {}
        }
    }

    /// When to look because something is due that was not before.
    pub fn moved(&mut self, conn: &Conn) -> Option<Instant> {
        let end = conn.token_end();
        self.is_new |= end != self.known;
        self.known = end;
        std::mem::take(&mut self.is_new).then(Instant::now)
    }

    /// Says what is due; an error ends the connection.
    pub fn check(&mut self, conn: &Conn) -> Result<(), CloseCode> {
        let Some(end) = conn.token_end() else { return Ok(()) };
        if self.dead_at() <= Instant::now() {
            return Err(CloseCode::Timeout);
        }
        let left = end.since(clock::now());
        if left.is_zero() {
            return Err(CloseCode::TokenExpired);
        }
        if left <= Duration::from_millis(TOKEN_EXPIRING_MS) && self.announced != Some(end) {
            self.announced = Some(end);
            conn.push("token_expiring", TokenExpiring { expires_at: end });
        }
        Ok(())
    }

    /// When to look again.
    pub fn next(&self, conn: &Conn) -> Instant {
        let Some(end) = conn.token_end() else { return self.login_by };
        let left = end.since(clock::now());
        let notice = left.saturating_sub(Duration::from_millis(TOKEN_EXPIRING_MS));
        let token = if self.announced == Some(end) { left } else { notice };
        (Instant::now() + token).min(self.dead_at())
    }

    fn dead_at(&self) -> Instant {
        let silent = self.heard_at + self.dead_after.unwrap_or(FAR);
        self.message_by.map_or(silent, |by| by.min(silent))
    }
}
