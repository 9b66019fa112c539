//! The task behind a client: connects, logs in, reads, keeps alive, and starts over.
//!
//! Invariant: a read that has begun is driven to its end (reads are not cancel-safe), and each connection ends in
//! exactly one verdict: again, again with a new token, or never.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use bus_schema::{
    close::CloseCode,
    limits,
    protocol::{ClientInfo, Login, PROTOCOL},
};
use fastwebsockets::OpCode;
use tokio::{
    sync::{Notify, oneshot},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Backoff,
    clock::{Clock, Fired},
    core::{Core, Verdict},
    link::Link,
    options::{Options, Stopped},
    socket::{self, ConnectError, Message, Socket},
    tokens::Tokens,
};

pub(super) struct Shared {
    pub core: Mutex<Core>,
    /// Something changed that the driver's timers do not know of.
    pub kick: Notify,
    /// Breaks the current connection, as a network would.
    pub cut: Notify,
    pub stop: CancellationToken,
}

impl Shared {
    pub fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().expect("no holder of this lock panics")
    }
}

pub(super) async fn run(shared: Arc<Shared>, options: Options) {
    let why = tokio::select! {
        why = keep_connected(&shared, &options) => why,
        () = shared.stop.cancelled() => Stopped::Asked,
    };
    let mut core = shared.core();
    if let Some(link) = &mut core.link {
        link.frame(OpCode::Close, &1000_u16.to_be_bytes());
        let _ = link.flush();
    }
    core.stopped(&why);
}

async fn keep_connected(shared: &Arc<Shared>, options: &Options) -> Stopped {
    let mut backoff = Backoff::new(options.backoff);
    let mut edge = options.first_edge;
    let (mut fresh, mut token_refused) = (false, false);
    loop {
        let logins = shared.core().state.borrow().logins;
        let verdict = once(shared, options, edge, fresh, &mut backoff).await;
        // A token that was good until now has only become old.
        token_refused &= shared.core().state.borrow().logins == logins;
        shared.core().disconnected();
        let after = match verdict {
            Verdict::Stop(why) => return why,
            Verdict::FreshToken(why) if token_refused => return Stopped::Refused(why),
            Verdict::FreshToken(_) => {
                (fresh, token_refused) = (true, true);
                // What refused it may be this edge alone.
                edge = edge.wrapping_add(1);
                continue;
            }
            Verdict::Reconnect(after) => after,
        };
        (fresh, token_refused) = (false, false);
        edge = edge.wrapping_add(1);
        tokio::time::sleep(backoff.lost(Instant::now(), rand::random(), after)).await;
    }
}

/// One connection, from the token to the end.
async fn once(
    shared: &Arc<Shared>,
    options: &Options,
    edge: usize,
    fresh: bool,
    backoff: &mut Backoff,
) -> Verdict {
    let failed = |core: &mut Core| core.counts.connects_failed += 1;
    let token = match options.tokens.get(fresh).await {
        Ok(token) => token,
        Err(error) if error.is_transient() => {
            failed(&mut shared.core());
            return Verdict::Reconnect(None);
        }
        Err(error) => return Verdict::Stop(Stopped::Refused(error.to_string())),
    };
    let Some(url) = options.edges.get(edge % options.edges.len().max(1)) else {
        return Verdict::Stop(Stopped::Refused("no edge is named".into()));
    };
    let socket = match socket::connect(url, options.origin.as_deref()).await {
        Ok(socket) => socket,
        Err(error) if error.is_final() => return Verdict::Stop(Stopped::Refused(error.to_string())),
        Err(error) => {
            tracing::debug!(%error, "no connection");
            failed(&mut shared.core());
            let after = if let ConnectError::Refused { after, .. } = error { after } else { None };
            return Verdict::Reconnect(after);
        }
    };
    shared.core().link = Some(Link::new(socket.writer.clone()));
    let verdict = converse(shared, options, socket, token, backoff).await;
    shared.core().counts.disconnects += 1;
    verdict
}

enum Step {
    Hello,
    Login,
    Live,
}

async fn converse(
    shared: &Arc<Shared>,
    options: &Options,
    socket: Socket,
    token: String,
    backoff: &mut Backoff,
) -> Verdict {
    let Socket { mut reader, writer } = socket;
    let mut clock = Clock::new(Instant::now());
    let (mut step, mut token) = (Step::Hello, Some(token));
    let mut timer = pin!(sleep_until(clock.due().into()));
    loop {
        let message = {
            let mut read = pin!(reader.next());
            loop {
                let (blocked, within) = shared.core().wants();
                let due =
                    within.map_or_else(|| clock.due(), |within| clock.due().min(Instant::now() + within));
                // Only ever brought forward here: re-arming a timer for each frame would cost more than the frame.
                if due < timer.deadline().into_std() {
                    timer.as_mut().reset(due.into());
                }
                tokio::select! {
                    biased;
                    () = shared.cut.notified() => return Verdict::Reconnect(None),
                    message = &mut read => break message,
                    _ = writer.writable(), if blocked => shared.core().pump(Instant::now()),
                    () = shared.kick.notified() => {}
                    () = &mut timer => {
                        let now = Instant::now();
                        match clock.fired(now) {
                            Fired::Nothing => {}
                            Fired::Ping => shared.core().ping(),
                            Fired::Dead => return Verdict::Reconnect(None),
                        }
                        shared.core().tick(now);
                        timer.as_mut().reset(clock.due().into());
                    }
                }
                if let Some(verdict) = shared.core().verdict.take() {
                    return verdict;
                }
            }
        };
        let now = Instant::now();
        clock.heard(now);
        let mut core = shared.core();
        match message {
            Ok(Message::Text(text)) => core.on_bytes(&text, now),
            Ok(Message::Ping(payload)) => core.pong(&payload),
            Ok(Message::Close { code, reason }) => return closed(&mut core, &step, code, reason),
            Ok(Message::Other) => {}
            Err(error) => {
                tracing::debug!(%error, "the connection broke");
                return core.closing.take().unwrap_or(Verdict::Reconnect(None));
            }
        }
        match step {
            Step::Hello if core.hello.is_some() => {
                step = Step::Login;
                clock.greeted(now);
                log_in(&mut core, options, token.take().unwrap_or_default());
            }
            Step::Login if core.is_live() => {
                step = Step::Live;
                clock.live(core.ping_interval());
                backoff.connected(now);
            }
            Step::Hello | Step::Login | Step::Live => {}
        }
        if std::mem::take(&mut core.token_expiring) {
            tokio::spawn(refresh_token(shared.clone(), options.tokens.clone()));
        }
        if let Some(verdict) = core.verdict.take() {
            return verdict;
        }
    }
}

fn log_in(core: &mut Core, options: &Options, token: String) {
    let resume = core.resume(limits::RESUME_MAX);
    let login = Login {
        token,
        protocol: PROTOCOL,
        client: ClientInfo { name: "ops".into(), version: env!("CARGO_PKG_VERSION").into() },
        resume: resume.clone(),
        status: options.status,
    };
    let payload = serde_json::to_string(&login).expect("a login holds only strings and numbers");
    core.login(&payload, &resume);
}

/// Ends when the server has the new token, or the connection it was for is gone.
async fn refresh_token(shared: Arc<Shared>, tokens: Tokens) {
    let Ok(token) = tokens.get(true).await else { return };
    let payload = serde_json::json!({ "token": token }).to_string();
    let (waiter, answer) = oneshot::channel();
    if shared.core().request("refresh_token", &payload, waiter).is_ok() {
        // Refused or lost, the server closes with `token_expired`, and the next login brings a fresh one.
        let _ = answer.await;
    }
}

fn closed(core: &mut Core, step: &Step, code: u16, reason: String) -> Verdict {
    let token_is_old = code == CloseCode::TokenExpired.number();
    // The login and this crossed each other.
    let login_was_late = code == CloseCode::LoginRequired.number() && matches!(step, Step::Login);
    match core.closing.take() {
        Some(verdict) => verdict,
        None if token_is_old => Verdict::FreshToken(reason),
        None if login_was_late => Verdict::Reconnect(None),
        None if bus_schema::close::reconnect(code) => Verdict::Reconnect(None),
        None => Verdict::Stop(Stopped::Closed { code, reason }),
    }
}
