//! Logging in: a token, a person, their conversations, and where the client left off.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bus_schema::{
    Audience, AuthorType, ConversationId, ErrorBody, ErrorCode, GroupId, SessionId, Timestamp,
    close::CloseCode,
    command::{Command, View},
    cursor::Cursor,
    limits::{COMMAND_WAIT_MS, LOGIN_CONVERSATIONS_MAX, NAME_CHARS_MAX, RESUME_MAX},
    protocol::{
        Conv, ConversationRemoved, Login, LoginAnswer, PROTOCOL, Person, Profile, ResetReason, Resume,
    },
    state::{AgentState, AgentStatus, RoutingStatus},
    subject::ConversationSubjects,
};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde_json::value::RawValue;
use tokio::{sync::Mutex, time::timeout};

use super::{
    request,
    who::{Denied, Known, Who, authenticate},
};
use crate::{
    admission::Overloaded,
    agents::Hold,
    app::App,
    conn::{Conn, Reply},
    connections::Owner,
    desk::floor::{self, Arrival, Floors},
    directory::Origin,
    hub::{Gate, Joined, Position},
    metrics::Limit,
    standing,
};

/// Conversations of one login that are read at once.
const JOINS_AT_ONCE: usize = 8;
/// A login that is not ready by then is sent away: clients wait ten seconds for the answer, its turn included, and who
/// gives up and comes back has cost as much as who was let in.
const OPEN_WITHIN: Duration = Duration::from_secs(5);
/// How long a login waits for the log to say what the agent holds.
const STATE_WAIT: Duration = Duration::from_secs(5);
/// How long a login waits for the router to say in what else the agent takes part; later it is announced.
const TAKES_PART_WAIT: Duration = Duration::from_millis(300);
/// How long a login waits for the router to know of the agent, before it sets the status.
const PRESENCE_WAIT: Duration = Duration::from_secs(3);

/// A connection that is logged in.
#[derive(Debug)]
pub struct Session {
    pub app: Arc<App>,
    pub conn: Arc<Conn>,
    pub origin: Origin,
    pub who: Who,
    /// One answer with a snapshot at a time, so that none overtakes another.
    pub snapshots: Mutex<()>,
    pub events: Option<DefaultDirectRateLimiter>,
    /// Staff.
    pub hold: Option<Hold>,
}

/// A login that a panic ended has not given back what it held, and its agent must not stay connected for ever.
impl Drop for Session {
    fn drop(&mut self) {
        if let Some(hold) = &self.hold {
            self.app.agents.leave(hold);
        }
    }
}

/// Answers a login. No session: it was refused, and may be tried again; an error closes the connection.
pub async fn login(
    app: &Arc<App>,
    conn: &Arc<Conn>,
    origin: &Origin,
    reply: Reply,
    payload: Option<&RawValue>,
) -> Result<Option<Arc<Session>>, CloseCode> {
    let login: Login = match request::payload(payload).and_then(checked) {
        Ok(login) => login,
        Err(error) => {
            reply.fail(error);
            return Ok(None);
        }
    };
    let Known { owner, ends } = match authenticate(app, &login.token, origin) {
        Ok(known) => known,
        Err(Denied { error, close }) => {
            reply.fail(error);
            return Err(close);
        }
    };
    let mut session = Session {
        app: app.clone(),
        conn: conn.clone(),
        origin: origin.clone(),
        who: owner.who,
        snapshots: Mutex::new(()),
        events: limiter(app),
        hold: None,
    };
    // Before it is asked whether the person may be here: what bars them later finds the connection.
    app.connections.claim(conn, owner);
    let turn = match app.core.catch_ups.turn(session.who.audience()).await {
        Ok(turn) => turn,
        Err(overloaded) => return Err(send_away(app, conn, reply, overloaded)),
    };
    let Ok(opened) = timeout(OPEN_WITHIN, session.open(&login, owner, ends)).await else {
        session.release().await;
        return Err(send_away(app, conn, reply, Overloaded::soon()));
    };
    match opened {
        Ok(opened) => {
            let session = Arc::new(session);
            session.count(1.0);
            app.evict(owner.who);
            conn.set_token_end(ends);
            reply.ok(&opened.answer);
            let group_id = opened.group();
            session.follow(opened).await;
            session.enter_floor(group_id).await;
            drop(turn);
            session.set_status(login.status);
            Ok(Some(session))
        }
        Err((error, close)) => {
            session.release().await;
            reply.fail(error);
            Err(close)
        }
    }
}

/// Too many others log in now.
fn send_away(app: &App, conn: &Conn, reply: Reply, overloaded: Overloaded) -> CloseCode {
    app.core.measures.limited(Limit::LoginQueue);
    let error = ErrorBody::new(ErrorCode::Unavailable, "too many others log in now");
    reply.fail(error.after(overloaded.after));
    overloaded.send_away(conn);
    CloseCode::Overloaded
}

fn checked(login: Login) -> Result<Login, ErrorBody> {
    if login.protocol != PROTOCOL {
        return Err(ErrorBody::field("/payload/protocol", format!("this edge speaks {PROTOCOL}")));
    }
    if login.resume.len() > RESUME_MAX {
        return Err(ErrorBody::field("/payload/resume", format!("at most {RESUME_MAX}")));
    }
    let Login { client, .. } = &login;
    for (name, value) in [("name", &client.name), ("version", &client.version)] {
        if value.chars().count() > NAME_CHARS_MAX {
            let most = format!("at most {NAME_CHARS_MAX} characters");
            return Err(ErrorBody::field(format!("/payload/client/{name}"), most));
        }
    }
    Ok(login)
}

fn limiter(app: &App) -> Option<DefaultDirectRateLimiter> {
    let limits = &app.core.limits;
    let per_second = u32::try_from(limits.events_per_second).ok().and_then(std::num::NonZeroU32::new)?;
    let burst = u32::try_from(limits.events_burst).ok().and_then(std::num::NonZeroU32::new);
    Some(RateLimiter::direct(Quota::per_second(per_second).allow_burst(burst.unwrap_or(per_second))))
}

impl Opened {
    /// Of a visitor's open thread.
    fn group(&self) -> Option<GroupId> {
        let thread = self.answer.conversations.first()?.thread.as_ref()?;
        thread.group_id.filter(|_| thread.status.is_open())
    }
}

/// Each once, in the order in which they come first.
fn distinct(ids: impl Iterator<Item = ConversationId>) -> Vec<ConversationId> {
    let mut seen = HashSet::new();
    ids.filter(|id| seen.insert(*id)).collect()
}

/// An answer, and what follows once it is on its way.
struct Opened {
    answer: LoginAnswer,
    /// With the terms, where it is staff.
    joined: Vec<(ConversationSubjects, Option<Gate>)>,
    removed: Vec<ConversationId>,
}

impl Session {
    async fn open(
        &mut self,
        login: &Login,
        owner: Owner,
        ends: Timestamp,
    ) -> Result<Opened, (ErrorBody, CloseCode)> {
        let unverified = |error: ErrorBody| (error, CloseCode::Unverified);
        let (profile, own, session_id) = match self.who {
            Who::Visitor { tenant, visitor, .. } => {
                let profile = self.visitor_profile(owner).await?;
                (profile, vec![ConversationId::of(tenant, visitor)], SessionId::from_uuid(visitor.uuid()))
            }
            Who::Staff { tenant, agent, session, .. } => {
                let hold = self.app.agents.enter(tenant, agent);
                self.hold = hold;
                let Some(hold) = &mut self.hold else {
                    return Err(unverified(ErrorCode::Unavailable.into()));
                };
                let known = timeout(STATE_WAIT, hold.state()).await;
                let state = known.map_err(|_| unverified(ErrorCode::Unavailable.into()))?;
                let takes_part = hold.takes_part(TAKES_PART_WAIT).await;
                let held = state.iter().flat_map(|state| &state.conversations);
                let own = held.map(|held| held.conversation_id).chain(takes_part.iter().copied());
                let own = own.take(LOGIN_CONVERSATIONS_MAX);
                // What else the client names it may watch, or take part in: the conversation itself says.
                let named = login.resume.iter().map(|resume| resume.conversation_id);
                let own = distinct(own.chain(named));
                (self.agent_profile(state.as_deref()), own, session)
            }
        };
        let resume_of = |id| login.resume.iter().find(|resume| resume.conversation_id == id);
        let joins: Vec<_> = own.iter().map(|id| self.join(*id, resume_of(*id)).boxed()).collect();
        let joins = futures::stream::iter(joins).buffered(JOINS_AT_ONCE);
        let (mut conversations, mut people, mut joined): (Vec<Conv>, Vec<Person>, _) =
            (Vec::new(), Vec::new(), Vec::new());
        for (home, gate, found) in joins.try_collect::<Vec<_>>().await.map_err(unverified)? {
            // A visitor waits for a first thread; staff were turned away.
            if gate.is_none() || found.conv.is_some() {
                joined.push((home, gate));
            }
            conversations.extend(found.conv);
            people.extend(found.people);
        }
        let open: Vec<_> = conversations.iter().map(|conv| conv.id).collect();
        let named = login.resume.iter().map(|resume| resume.conversation_id);
        let removed = named.filter(|id| !open.contains(id)).collect();
        let answer = LoginAnswer { profile, session_id, token_expires_at: ends, conversations, people };
        Ok(Opened { answer, joined, removed })
    }

    async fn join(
        &self,
        id: ConversationId,
        resume: Option<&Resume>,
    ) -> Result<(ConversationSubjects, Option<Gate>, Joined), ErrorBody> {
        let home = self.who.home(&self.app, id)?;
        let audience = self.who.audience();
        let resume = resume.map(|resume| self.position(home, audience, &resume.cursor));
        let (watches, resume) = resume.map_or((false, None), |(watches, at)| (watches, Some(at)));
        let gate = self.hold.as_ref().map(|hold| hold.gate(self.who.sender(), watches));
        let (viewer, terms) = (self.who.author(), gate.clone());
        let joined = self.app.hub.join(home, audience, &self.conn, viewer, terms, resume).await?;
        Ok((home, gate, joined))
    }

    /// What a cursor says, if it is this person's, of this conversation and this log; and whether it was a watcher's.
    fn position(&self, home: ConversationSubjects, audience: Audience, text: &str) -> (bool, Position) {
        let Ok(cursor) = self.app.core.seal.open(text) else {
            return (false, Position::Lost(ResetReason::Mangled));
        };
        let author = self.who.author();
        let watches = audience == Audience::Staff && cursor.principal == Cursor::watcher(author);
        let mine = watches || cursor.principal == Cursor::principal(author);
        let same = cursor.conversation == home.conversation && cursor.audience == audience;
        if self.app.core.epoch(home.shard) != Some(cursor.epoch) {
            return (watches, Position::Lost(ResetReason::Epoch));
        }
        let at = if same && mine {
            Position::At(cursor.last, cursor.tally.map(Box::new))
        } else {
            Position::Lost(ResetReason::Principal)
        };
        (watches && same, at)
    }

    /// After the answer: what waited for it, and from then on what happens.
    async fn follow(&self, opened: Opened) {
        let audience = self.who.audience();
        for conversation_id in opened.removed {
            self.conn.push("conversation_removed", ConversationRemoved { view: View::Mine, conversation_id });
        }
        for (home, _) in &opened.joined {
            self.app.hub.go(*home, audience, self.conn.id).await;
        }
        if let Some(hold) = &self.hold {
            let follows =
                opened.joined.into_iter().filter_map(|(home, gate)| Some((home.conversation, gate?)));
            hold.attach(self.conn.clone(), self.who.sender(), follows.collect()).await;
        }
    }

    /// From now on the connection counts as there, and hears what its tenant's people hear.
    async fn enter_floor(&self, group_id: Option<GroupId>) {
        let conn = self.conn.clone();
        let ask = match self.who {
            Who::Visitor { tenant, visitor, widget } => {
                let default_group = self.app.core.directory.now().default_group(tenant, widget);
                floor::Ask::Visitor(Arrival { conn, visitor, group_id, default_group })
            }
            Who::Staff { .. } => floor::Ask::Staff { conn, sender: self.who.sender() },
        };
        // Only an edge that stops has none; what is told there is of no use.
        let _ = Floors::ask(&self.app, self.who.tenant(), ask).await;
    }

    async fn visitor_profile(&self, owner: Owner) -> Result<Profile, (ErrorBody, CloseCode)> {
        let found = standing::visitor_record(&self.app, owner).await;
        let name = found.map_err(|denied| (denied.error, denied.close))?.and_then(|found| found.record.name);
        Ok(Profile {
            kind: AuthorType::Visitor,
            id: owner.who.author().id,
            name,
            role: None,
            status: None,
            capacity: None,
            group_ids: None,
        })
    }

    fn agent_profile(&self, state: Option<&AgentState>) -> Profile {
        let index = self.app.core.directory.now();
        let author = self.who.author();
        let agent = bus_schema::AgentId::from_uuid(author.id);
        let record = index.agent(self.who.tenant(), agent);
        // This connection makes the agent reachable, whatever the router has heard so far.
        let status = match state.map(|state| state.status) {
            Some(RoutingStatus::Accepting) => AgentStatus::Accepting,
            Some(RoutingStatus::NotAccepting) | None => AgentStatus::NotAccepting,
        };
        Profile {
            kind: AuthorType::Agent,
            id: author.id,
            name: record.map(|record| record.name.clone()),
            role: self.who.role(),
            status: Some(status),
            capacity: state.map(|state| state.capacity).or_else(|| record.map(|record| record.capacity)),
            group_ids: Some(index.groups_of_agent(self.who.tenant(), agent)),
        }
    }

    /// Sets the status that the login asked for, once the router knows of the connection.
    fn set_status(self: &Arc<Self>, status: Option<RoutingStatus>) {
        let (Some(status), Who::Staff { .. }) = (status, self.who) else { return };
        let session = self.clone();
        self.app.tasks.spawn(async move {
            if let Err(error) = session.ask_status(status).await {
                session.conn.push_error(error);
            }
        });
    }

    /// Asks the router for another status of this agent.
    pub async fn ask_status(&self, status: RoutingStatus) -> Result<(), ErrorBody> {
        let Who::Staff { tenant, agent, .. } = self.who else { return Err(ErrorCode::Forbidden.into()) };
        let home = self.app.core.home(tenant, ConversationId::NIL).ok_or(ErrorCode::Unavailable)?;
        self.app.agents.presence.settled(home.shard, tenant, agent, PRESENCE_WAIT).await;
        let command = Command::SetStatus { agent_id: agent, status };
        self.command(command).await.map(|_| ())
    }

    /// Asks the router.
    pub async fn command(&self, command: Command) -> Result<bus_schema::command::Answer, ErrorBody> {
        let tenant = self.who.tenant();
        let home = self.app.core.home(tenant, ConversationId::NIL).ok_or(ErrorCode::Unavailable)?;
        let request = ops::chat::command(self.who.actor(), command);
        let wait = Duration::from_millis(COMMAND_WAIT_MS);
        ops::chat::ask(&self.app.core.bus, home.shard, tenant, &request, wait).await
    }

    fn count(&self, change: f64) {
        let measures = &self.app.core.measures;
        let (gauge, opened) = match self.who {
            Who::Visitor { .. } => (&measures.visitors, &measures.visitors_opened),
            Who::Staff { .. } => (&measures.agents, &measures.agents_opened),
        };
        gauge.increment(change);
        if change > 0.0 {
            opened.increment(1);
        }
    }

    /// The connection is gone: nothing of it stays.
    pub async fn end(&self) {
        self.count(-1.0);
        let _ = Floors::ask(&self.app, self.who.tenant(), floor::Ask::Leave { conn: self.conn.id }).await;
        self.release().await;
    }

    async fn release(&self) {
        if let Some(hold) = &self.hold {
            hold.detach(self.conn.id).await;
            self.app.agents.leave(hold);
        }
        self.app.hub.forget(self.conn.id).await;
    }
}
