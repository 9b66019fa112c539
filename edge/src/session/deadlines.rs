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

use super::silence::{Due, Silence};
use crate::{
    clock,
    conn::Conn,
    socket::{Heard, Part},
};

/// How long a message may take, where silence may not take less.
const MESSAGE_WITHIN: Duration = Duration::from_secs(60);
/// After the time for the login, in which what lies in the socket is read.
const LAST_LOOK: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub struct Deadlines {
    login_by: Instant,
    /// The time for the login is over, and this is the last look.
    is_last_look: bool,
    /// Something whole was said.
    has_spoken: bool,
    silence: Silence,
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
            silence: Silence::new(Instant::now(), dead_after),
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
            self.silence.heard(now);
            self.has_spoken = true;
        }
        match heard.part {
            Part::Nothing => self.message_by = None,
            Part::New => {
                let within =
                    self.silence.dead_after().map_or(MESSAGE_WITHIN, |dead| dead.min(MESSAGE_WITHIN));
                self.message_by = Some(now + within);
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
        let now = Instant::now();
        if self.message_by.is_some_and(|by| by <= now) {
            return Err(CloseCode::Timeout);
        }
        match self.silence.look(now) {
            Due::Nothing => {}
            Due::Ping => conn.outbox.ping(),
            Due::Dead => return Err(CloseCode::Timeout),
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
        let others = self.silence.next().into_iter().chain(self.message_by);
        others.fold(Instant::now() + token, Instant::min)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{metrics::Measures, socket::Outbox};

    const SECOND: Duration = Duration::from_secs(1);

    fn conn() -> Arc<Conn> {
        Conn::new(1, Outbox::new(0, None), Arc::new(Measures::new()))
    }

    fn log_in(conn: &Conn) {
        conn.set_token_end(Timestamp::from_millis(clock::now().millis() + 600_000));
    }

    fn deadlines(dead_after_ms: u64) -> Deadlines {
        Deadlines::new(Instant::now() + 5 * SECOND, &Limits { dead_after_ms, ..Limits::default() })
    }

    fn heard(part: Part) -> Heard {
        Heard { said: Vec::new(), part, bytes: 1, violation: None }
    }

    /// Whole seconds until the timer looks.
    fn seconds(deadlines: &Deadlines, conn: &Conn) -> u64 {
        (deadlines.next(conn) - Instant::now()).as_millis().div_ceil(1_000) as u64
    }

    #[test]
    fn silence_is_looked_at_after_the_login_and_first_for_the_ping() {
        let (conn, mut deadlines) = (conn(), deadlines(60_000));
        deadlines.silence = Silence::new(Instant::now() - 39 * SECOND, Some(60 * SECOND));
        assert_eq!(seconds(&deadlines, &conn), 5, "the login's own time");
        deadlines.check(&conn).unwrap();
        log_in(&conn);
        assert!(deadlines.moved(&conn).is_some());
        assert_eq!(seconds(&deadlines, &conn), 1);
        deadlines.silence = Silence::new(Instant::now() - 40 * SECOND, Some(60 * SECOND));
        deadlines.check(&conn).unwrap();
        assert_eq!(seconds(&deadlines, &conn), 20);
    }

    #[test]
    fn a_ping_gives_a_message_that_has_begun_no_more_time() {
        let (conn, mut deadlines) = (conn(), deadlines(60_000));
        log_in(&conn);
        deadlines.heard(&heard(Part::New));
        assert_eq!(seconds(&deadlines, &conn), 40);
        deadlines.message_by = Some(Instant::now() + 10 * SECOND);
        assert_eq!(seconds(&deadlines, &conn), 10);
        deadlines.message_by = Some(Instant::now());
        assert_eq!(deadlines.check(&conn), Err(CloseCode::Timeout));
    }

    #[test]
    fn without_a_limit_only_the_token_ends_a_silence() {
        let (conn, mut deadlines) = (conn(), deadlines(0));
        log_in(&conn);
        assert_eq!(seconds(&deadlines, &conn), 540, "the word that the token ends");
        deadlines.check(&conn).unwrap();
    }
}
