//! The task that reads one client: frames in, requests out, until it ends.
//!
//! Invariant: a read is never given up and begun again: it ends with the connection. A client that says nothing in
//! time, or nothing sensible, is closed with the code of the table.

use std::{sync::Arc, time::Duration};

use bus_schema::{
    ErrorBody, ErrorCode,
    close::CloseCode,
    limits::{LOGIN_WITHIN_MS, PING_INTERVAL_MS},
    protocol::{Action, Done, Hello, Nothing, PROTOCOL},
};
use fastwebsockets::{Frame, OpCode, Role, WebSocketError, WebSocketRead, after_handshake_split};
use ops::peer::Peer;
use tokio::time::{Instant, timeout_at};

use super::{
    Who, actions,
    bad_frames::BadFrames,
    login::{self, Session},
    request,
};
use crate::{
    admission::{Door, Pass},
    app::App,
    clock,
    conn::Conn,
    directory::Origin,
    limits::or_unbounded,
    metrics::{Limit, Refused},
    socket::{self, Assembler, FrameGuard, Guarded, Halves, Message, Outgoing, Violation},
};

/// Largest message where the limit is off.
const MESSAGE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long the fragments of one message may take, where silence may not take less.
const MESSAGE_WITHIN: Duration = Duration::from_secs(60);
/// How long a client has to leave after a close.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// When to ask again for whoever has too many unanswered requests.
const IN_FLIGHT_AFTER: Duration = Duration::from_millis(100);
const FAR: Duration = Duration::from_secs(24 * 3_600);

/// An upgraded connection.
pub struct Opening {
    pub halves: Halves,
    pub origin: Origin,
    pub door: Door,
}

/// Serves one connection from `hello` to its end.
pub async fn serve(app: Arc<App>, opening: Opening) {
    let Opening { halves, origin, door } = opening;
    let conn = app.open_connection();
    let began = Instant::now();
    app.tasks.spawn(socket::write(conn.clone(), halves.write, app.core.measures.clone()));
    let largest = match app.core.limits.message_bytes {
        0 => MESSAGE_BYTES_MAX,
        limit => limit.min(MESSAGE_BYTES_MAX),
    };
    let (guarded, violation) = Guarded::new(halves.read, halves.early, FrameGuard::new(largest));
    let (mut frames, _) = after_handshake_split(guarded, tokio::io::sink(), Role::Server);
    // The guard refuses first, with the right code; this only bounds what is reserved.
    frames.set_max_message_size(usize::try_from(largest).unwrap_or(usize::MAX).saturating_add(1));
    // Else a ping is answered inside the read, and a client that only pings is taken for dead.
    frames.set_auto_pong(false);
    hello(&app, &conn);
    // The drain closes those that are listed when it begins; one that is listed later sees that here.
    if app.shutdown.is_cancelled() {
        conn.outbox.close(CloseCode::Shutdown);
    }
    let waits = app.admission.waits(door.peer).map_err(|overloaded| overloaded.send_away(&conn)).ok();
    let mut reader = Reader {
        app: app.clone(),
        conn: conn.clone(),
        origin,
        peer: door.peer,
        waits,
        session: None,
        bad: BadFrames::default(),
        login_by: Instant::now() + Duration::from_millis(LOGIN_WITHIN_MS),
    };
    let code = reader.run(&mut frames).await.or_else(|| violation.get().map(|v: &Violation| v.close_code()));
    if let Some(code) = code {
        conn.outbox.close(code);
    }
    conn.leave();
    if let Some(session) = reader.session.take() {
        session.end().await;
    } else if code.is_some() {
        app.core.measures.refused(Refused::Protocol);
    }
    app.connections.release(&conn);
    app.core.measures.closed(conn.outbox.closed());
    app.core.measures.lifetime.record(began.elapsed());
    // With a close frame on its way, the client has a moment to take it.
    if conn.outbox.is_ended() {
        drain(&mut frames, &conn).await;
    }
    conn.gone.cancel();
}

/// After a close: reads on until the client is gone, for a moment.
async fn drain<R: tokio::io::AsyncRead + Unpin>(frames: &mut WebSocketRead<R>, conn: &Conn) {
    frames.set_auto_close(false);
    let deadline = Instant::now() + LEAVE_WITHIN;
    let mut ignore = |_: Frame<'_>| std::future::ready(Ok::<(), std::io::Error>(()));
    loop {
        let read = frames.read_frame(&mut ignore);
        match timeout_at(deadline, conn.gone.run_until_cancelled(read)).await {
            Err(_) | Ok(None) => return,
            Ok(Some(Err(WebSocketError::UnexpectedEOF | WebSocketError::IoError(_)))) => return,
            // Whatever it still says, it has said already what ended it.
            Ok(Some(Ok(_) | Err(_))) => {}
        }
    }
}

fn hello(app: &App, conn: &Conn) {
    conn.push(
        "hello",
        Hello {
            protocol: PROTOCOL,
            edge_id: app.core.incarnation.to_string(),
            server_time: clock::now(),
            ping_interval_ms: PING_INTERVAL_MS,
            limits: app.core.limits,
        },
    );
}

struct Reader {
    app: Arc<App>,
    conn: Arc<Conn>,
    origin: Origin,
    peer: Option<Peer>,
    /// Until it is logged in.
    waits: Option<Pass<Peer>>,
    session: Option<Arc<Session>>,
    bad: BadFrames,
    login_by: Instant,
}

impl Reader {
    /// Reads until the end; gives the code with which the server ends it, if it does.
    async fn run<R: tokio::io::AsyncRead + Unpin>(
        &mut self,
        frames: &mut WebSocketRead<R>,
    ) -> Option<CloseCode> {
        let mut assembler = Assembler::default();
        let mut message_by: Option<Instant> = None;
        let (app, conn) = (self.app.clone(), self.conn.clone());
        let measures = &app.core.measures;
        let outbox = &conn.outbox;
        let mut answer = |frame: Frame<'_>| {
            outbox.push(Outgoing::CloseEcho(bytes::Bytes::copy_from_slice(&frame.payload)));
            std::future::ready(Ok::<(), std::io::Error>(()))
        };
        loop {
            // A message that is begun must end, whatever else is said meanwhile.
            let deadline = message_by.unwrap_or_else(|| self.deadline());
            let read = frames.read_frame(&mut answer);
            let frame = match timeout_at(deadline, conn.gone.run_until_cancelled(read)).await {
                Err(_) if self.session.is_none() => {
                    measures.refused(Refused::Timeout);
                    return Some(CloseCode::LoginRequired);
                }
                Err(_) => return Some(CloseCode::Timeout),
                Ok(None) => return None,
                Ok(Some(Err(error))) => return code_of(&error),
                Ok(Some(Ok(frame))) => frame,
            };
            // Whatever it says after it was closed is not heard.
            if outbox.is_ended() {
                return None;
            }
            measures.frames_in.increment(1);
            measures.bytes_in.increment(frame.payload.len() as u64);
            match frame.opcode {
                OpCode::Close => return None,
                OpCode::Ping => {
                    outbox.push(Outgoing::Pong(bytes::Bytes::copy_from_slice(&frame.payload)));
                }
                OpCode::Text | OpCode::Binary | OpCode::Continuation | OpCode::Pong => {}
            }
            let message = assembler.push(frame);
            if !assembler.is_open() {
                message_by = None;
            } else if message_by.is_none() {
                message_by = Some(self.deadline().min(Instant::now() + MESSAGE_WITHIN));
            }
            let ended = match message {
                None => None,
                Some(Message::Text(text)) => self.on_text(&text).await,
                Some(Message::Binary) => self.on_bad(ErrorBody::field("", "frames must be text")),
            };
            if ended.is_some() {
                return ended;
            }
            if outbox.is_ended() {
                return None;
            }
        }
    }

    fn deadline(&self) -> Instant {
        match (&self.session, self.app.core.limits.dead_after_ms) {
            (None, _) => self.login_by,
            (Some(_), 0) => Instant::now() + FAR,
            (Some(_), dead_after) => Instant::now() + Duration::from_millis(dead_after),
        }
    }

    async fn on_text(&mut self, text: &[u8]) -> Option<CloseCode> {
        let asked = match request::read(text) {
            Ok(asked) => asked,
            Err(error) => return self.on_bad(error),
        };
        let Some(action) = asked.action else {
            let error = ErrorBody::field("/action", "there is no such action");
            let frame = bus_schema::protocol::Response::failed(&asked.request_id, &asked.name, error);
            let frame = serde_json::to_vec(&frame).expect("strings and numbers serialize");
            self.conn.outbox.push(Outgoing::text(frame));
            return None;
        };
        let most = or_unbounded(self.app.core.limits.requests_in_flight);
        let (reply, within) = self.conn.begin(&asked.request_id, action, most);
        if !within {
            self.app.core.measures.limited(Limit::RequestsInFlight);
            let says = format!("more than {most} requests are not answered yet");
            reply.fail(ErrorBody::new(ErrorCode::RateLimited, says).after(IN_FLIGHT_AFTER));
            return None;
        }
        match (&self.session, action) {
            (_, Action::Ping) => reply.with(request::payload::<Nothing>(asked.payload).map(|_| Done {})),
            (None, Action::Login) => return self.on_login(reply, asked.payload).await,
            (None, _) => reply.fail(ErrorBody::new(ErrorCode::Unauthenticated, "log in first")),
            (Some(_), Action::Login) => {
                reply.fail(ErrorBody::new(ErrorCode::Conflict, "already logged in"));
            }
            (Some(session), _) => actions::begin(session, action, reply, asked.payload).await,
        }
        None
    }

    async fn on_login(
        &mut self,
        reply: crate::conn::Reply,
        payload: Option<&serde_json::value::RawValue>,
    ) -> Option<CloseCode> {
        if let Err(overloaded) = self.app.admission.login(self.peer) {
            reply.fail(ErrorBody::from(ErrorCode::RateLimited).after(overloaded.after));
            overloaded.send_away(&self.conn);
            return None;
        }
        match login::login(&self.app, &self.conn, &self.origin, reply, payload).await {
            Ok(session) => {
                if session.is_some() {
                    self.waits = None;
                }
                self.session = session;
                None
            }
            Err(code) => {
                self.app.core.measures.refused(match code {
                    CloseCode::OriginNotAllowed => Refused::Origin,
                    CloseCode::Overloaded => Refused::Capacity,
                    _ => Refused::Auth,
                });
                Some(code)
            }
        }
    }

    fn on_bad(&mut self, error: ErrorBody) -> Option<CloseCode> {
        self.conn.push_error(error);
        self.bad.one_more(Instant::now()).then_some(CloseCode::ProtocolError)
    }
}

fn code_of(error: &WebSocketError) -> Option<CloseCode> {
    match error {
        WebSocketError::InvalidUTF8 => Some(CloseCode::InvalidText),
        WebSocketError::FrameTooLarge => Some(CloseCode::MessageTooLarge),
        WebSocketError::InvalidFragment
        | WebSocketError::InvalidContinuationFrame
        | WebSocketError::InvalidCloseFrame
        | WebSocketError::InvalidCloseCode
        | WebSocketError::ReservedBitsNotZero
        | WebSocketError::ControlFrameFragmented
        | WebSocketError::PingFrameTooLarge
        | WebSocketError::InvalidValue => Some(CloseCode::Protocol),
        // The client is gone, or the guard has said why.
        _ => None,
    }
}

/// What a session is to the parts that need only its person.
impl From<&Session> for Who {
    fn from(session: &Session) -> Self {
        session.who
    }
}
