//! The task of one client: frames in, requests out, and what waits for it written, until it ends.
//!
//! Invariant: nothing is held for a client that says nothing and is told nothing but the task itself. A client that
//! says nothing in time, or nothing sensible, is closed with the code of the table.

use std::{future::poll_fn, ops::ControlFlow, pin::pin, sync::Arc, time::Duration};

use bus_schema::{
    ErrorBody, ErrorCode,
    close::CloseCode,
    limits::{LOGIN_WITHIN_MS, PING_INTERVAL_MS},
    protocol::{Action, Done, Hello, Nothing, PROTOCOL},
};
use bytes::Bytes;
use ops::peer::Peer;
use tokio::{
    net::{TcpStream, tcp::OwnedReadHalf},
    time::{Instant, sleep_until},
};

use super::{
    Who, actions,
    bad_frames::BadFrames,
    deadlines::Deadlines,
    login::{self, Session},
    parting::part,
    place::Place,
    request,
    write::write_while,
};
use crate::{
    admission::{Door, Pass},
    app::App,
    clock,
    conn::Conn,
    directory::Origin,
    limits::or_unbounded,
    metrics::{Limit, Refused},
    socket::{Flushed, Heard, Inbound, Message, Outgoing, Said},
};

/// Largest message where the limit is off.
const MESSAGE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// When to ask again for whoever has too many unanswered requests.
const IN_FLIGHT_AFTER: Duration = Duration::from_millis(100);

/// An upgraded connection.
pub struct Opening {
    pub socket: TcpStream,
    /// What was read with the request already.
    pub early: Bytes,
    pub origin: Origin,
    pub door: Door,
}

/// Serves one connection from `hello` to its end. What it begins with is boxed: the task would keep room for it for as
/// long as it lasts.
pub async fn serve(app: Arc<App>, opening: Box<Opening>) {
    let Opening { socket, early, origin, door } = *opening;
    let (mut incoming, outgoing) = socket.into_split();
    let conn = app.open_connection(outgoing);
    let place = Place::of(&conn, &app.connections);
    let began = Instant::now();
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
        deadlines: Deadlines::new(began + Duration::from_millis(LOGIN_WITHIN_MS), &app.core.limits),
    };
    let code = reader.talk(&mut incoming, early).await;
    if let Some(code) = code {
        conn.outbox.close(code);
    }
    conn.leave();
    if let Some(session) = reader.session.take() {
        // Whoever is closed hears of it now, however long the bus takes for the rest.
        write_while(&conn, &incoming, Box::pin(session.end())).await;
    } else if code.is_some() {
        app.core.measures.refused(Refused::Protocol);
    }
    place.release();
    app.core.measures.closed(conn.outbox.closed());
    app.core.measures.lifetime.record(began.elapsed());
    // With a close frame on its way, the client has a moment to take it.
    if conn.outbox.is_ended() {
        Box::pin(part(&conn, &mut incoming)).await;
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
    deadlines: Deadlines,
}

/// What a client's task woke up for.
enum Woken {
    Heard(std::io::Result<Option<Heard>>),
    ToWrite,
    Due,
}

/// The end of the conversation: with a code of the server's, or because the client ended it.
type Ended = ControlFlow<Option<CloseCode>>;

impl Reader {
    /// Reads and writes until the end; gives the code with which the server ends it, if it does.
    async fn talk(&mut self, incoming: &mut OwnedReadHalf, early: Bytes) -> Option<CloseCode> {
        let largest = match self.app.core.limits.message_bytes {
            0 => MESSAGE_BYTES_MAX,
            limit => limit.min(MESSAGE_BYTES_MAX),
        };
        let mut inbound = Inbound::new(largest);
        let mut heard = (!early.is_empty()).then(|| inbound.early(&early));
        drop(early);
        let conn = self.conn.clone();
        let mut timer = pin!(sleep_until(self.deadlines.first()));
        loop {
            if let Some(heard) = heard.take() {
                let hearing = pin!(self.on_heard(heard));
                if let ControlFlow::Break(code) = write_while(&conn, incoming, hearing).await {
                    return code;
                }
            }
            let flushed = conn.flush();
            if flushed == Flushed::Over || conn.outbox.is_ended() {
                return None;
            }
            if let Some(sooner) = self.deadlines.moved(&conn) {
                timer.as_mut().reset(sooner);
            }
            let io = poll_fn(|cx| {
                if flushed == Flushed::Stuck && incoming.as_ref().poll_write_ready(cx).is_ready() {
                    return std::task::Poll::Ready(Woken::ToWrite);
                }
                inbound.poll_hear(cx, incoming).map(Woken::Heard)
            });
            let woken = tokio::select! {
                biased;
                // First, so that who never stops talking does not escape it.
                () = timer.as_mut() => Woken::Due,
                woken = io => woken,
                () = conn.outbox.ready() => Woken::ToWrite,
            };
            match woken {
                Woken::Heard(Ok(Some(came))) => heard = Some(came),
                Woken::Heard(Ok(None) | Err(_)) => return None,
                Woken::ToWrite => {}
                Woken::Due => {
                    if let Err(code) = self.on_due(&conn) {
                        return Some(code);
                    }
                    timer.as_mut().reset(self.deadlines.next(&conn));
                }
            }
        }
    }

    fn on_due(&mut self, conn: &Conn) -> Result<(), CloseCode> {
        if self.session.is_some() {
            return self.deadlines.check(conn);
        }
        self.deadlines.check_login().inspect_err(|_| self.app.core.measures.refused(Refused::Timeout))
    }

    async fn on_heard(&mut self, heard: Heard) -> Ended {
        self.deadlines.heard(&heard);
        let Heard { said, bytes, violation, part: _ } = heard;
        let app = self.app.clone();
        app.core.measures.frames_in.increment(said.len() as u64);
        app.core.measures.bytes_in.increment(bytes);
        for said in said {
            // Whatever it says after it was closed is not heard.
            if self.conn.outbox.is_ended() {
                return ControlFlow::Break(None);
            }
            let ended = match said {
                Said::Message(Message::Text(text)) => self.on_text(&text).await,
                Said::Message(Message::Binary) => self.on_bad(ErrorBody::field("", "frames must be text")),
                Said::Ping(payload) => {
                    self.conn.outbox.queue(Outgoing::Pong(payload));
                    None
                }
                Said::Close(payload) => {
                    self.conn.outbox.queue(Outgoing::CloseEcho(payload));
                    return ControlFlow::Break(None);
                }
                Said::Nothing => None,
            };
            if ended.is_some() {
                return ControlFlow::Break(ended);
            }
        }
        match violation {
            Some(code) => ControlFlow::Break(Some(code)),
            None => ControlFlow::Continue(()),
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
        // Boxed, so that the task is as small as a connection at rest needs.
        match Box::pin(login::login(&self.app, &self.conn, &self.origin, reply, payload)).await {
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

/// A panic ends the task here: its session has to end all the same, or its agent would stay connected for ever.
impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.app.tasks.spawn(async move { session.end().await });
        }
    }
}

/// What a session is to the parts that need only its person.
impl From<&Session> for Who {
    fn from(session: &Session) -> Self {
        session.who
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of what a call gives.
    fn size<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_task_of_a_connection_has_no_room_for_what_it_does_now_and_then() {
        let bytes = size(serve);
        assert!(bytes < 2 * 1024, "{bytes} bytes for each connection, as long as it lasts");
    }
}
