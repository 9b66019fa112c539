//! The loop of one tenant's floor: asks, signals, answers, and what is due.
//!
//! Invariant: nothing here waits for the router or another edge; whatever signals may have been lost is asked for again
//! after a reconnect, and every 30 s.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bus_schema::{
    AgentId, Author, ErrorBody, ErrorCode, GroupId, Shard, TenantId,
    claims::Role,
    command::Actor,
    protocol::{
        ConfigChanged, ConversationView, GroupStatusPush, PersonPush, Presence as PresencePush,
        VisitorPresence,
    },
    signal::{TenantSignal, Who},
    subject::{TenantTopic, tenant_signals},
};
use futures::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{FuturesUnordered, SelectAll},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Ask, Which,
    io::{Asking, Done, Listed},
    local::Local,
    online::{Change, Online},
    presence::Presence,
    view::Subscription,
};
use crate::{app::App, conn::Conn, desk::who, hub::Sender, socket::Topic};

const ASK_EVERY: Duration = Duration::from_secs(30);
/// After a reconnect all edges ask: each at its own moment.
const ASK_WITHIN: Duration = Duration::from_secs(1);
/// Views that are being listed at once.
const LISTING_MAX: usize = 4;
/// Views that one connection follows.
const VIEWS_MAX: usize = 8;
/// Requests for the visitors that wait for the other edges' word.
const WAITING_MAX: usize = 256;

pub struct Floor {
    app: Arc<App>,
    shard: Shard,
    tenant: TenantId,
    staff: BTreeMap<u64, Staff>,
    local: Local,
    online: Online,
    presence: Presence,
    /// Groups that were heard of since all were asked for: the answer may be older.
    touched: BTreeSet<GroupId>,
    /// The other edges were heard since staff came.
    gathered: bool,
    waiting: Vec<(u64, oneshot::Sender<Vec<VisitorPresence>>)>,
    to_list: VecDeque<(u64, Which)>,
    listing: usize,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    ask_at: Instant,
    signals: Signals,
}

struct Staff {
    conn: Arc<Conn>,
    sender: Sender,
    agent: AgentId,
    role: Role,
    views: Vec<View>,
}

struct View {
    subscription: Subscription,
    /// Whoever waits for the first list.
    first: Option<oneshot::Sender<Result<(), ErrorBody>>>,
}

/// What is heard: only what somebody here needs.
#[derive(Default)]
struct Signals {
    live: SelectAll<async_nats::Subscriber>,
    heard: Option<Heard>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    Visitors,
    Staff,
}

impl Heard {
    const fn topics(self) -> &'static [TenantTopic] {
        match self {
            Heard::Visitors => &[TenantTopic::Groups],
            Heard::Staff => {
                &[TenantTopic::Threads, TenantTopic::Agents, TenantTopic::Groups, TenantTopic::Visitors]
            }
        }
    }
}

impl Floor {
    pub fn new(app: Arc<App>, shard: Shard, tenant: TenantId) -> Self {
        Self {
            app,
            shard,
            tenant,
            staff: BTreeMap::new(),
            local: Local::new(tenant),
            online: Online::default(),
            presence: Presence::default(),
            touched: BTreeSet::new(),
            gathered: false,
            waiting: Vec::new(),
            to_list: VecDeque::new(),
            listing: 0,
            work: FuturesUnordered::new(),
            ask_at: Instant::now(),
            signals: Signals::default(),
        }
    }

    pub async fn run(mut self, mut asks: mpsc::Receiver<Ask>, stop: CancellationToken) {
        let mut bus = self.app.core.bus.state.clone();
        let mut generation = bus.borrow().generation;
        loop {
            self.listen().await;
            let now = Instant::now();
            let due = self.due(now);
            tokio::select! {
                () = stop.cancelled() => return self.tell_edges().await,
                ask = asks.recv() => match ask {
                    Some(ask) => self.on_ask(ask).await,
                    None => return,
                },
                Some(message) = self.signals.live.next() => self.on_signal(&message.payload),
                Some(done) = self.work.next() => self.on_done(done),
                changed = bus.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = bus.borrow_and_update().generation;
                    if std::mem::replace(&mut generation, now) != now {
                        self.ask_soon();
                    }
                }
                () = sleep_until(due.unwrap_or(now)), if due.is_some() => self.on_due().await,
            }
        }
    }

    /// Hears what those who are here need.
    async fn listen(&mut self) {
        let wanted = match (self.staff.is_empty(), self.local.is_empty()) {
            (false, _) => Some(Heard::Staff),
            (true, false) => Some(Heard::Visitors),
            (true, true) => None,
        };
        if self.signals.heard == wanted {
            return;
        }
        let mut live = SelectAll::new();
        for topic in wanted.map_or(&[][..], Heard::topics) {
            let subject = tenant_signals(self.shard, self.tenant, *topic);
            match self.app.core.bus.client.subscribe(subject).await {
                Ok(subscribed) => live.push(subscribed),
                // The client is gone, and the process with it.
                Err(error) => tracing::warn!(%error, "cannot hear a tenant's signals"),
            }
        }
        self.signals = Signals { live, heard: wanted };
        self.app.core.floors.groups.follow(self.tenant, wanted.is_some());
        if wanted != Some(Heard::Staff) {
            self.online = Online::default();
            self.presence = Presence::default();
            self.gathered = false;
            self.app.core.floors.forget(self.tenant);
        }
        self.ask_at = Instant::now();
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        self.signals.heard?;
        let views = self.staff.values().flat_map(|staff| &staff.views);
        let told = views.filter_map(|view| view.subscription.due(now));
        let soonest = told.chain(self.local.due(now)).chain(self.presence.due(now)).min();
        Some(soonest.map_or(self.ask_at, |soonest| soonest.min(self.ask_at)))
    }

    async fn on_due(&mut self) {
        let now = Instant::now();
        self.tell_edges().await;
        self.tell_staff(now);
        if now < self.ask_at {
            return;
        }
        self.ask_at = now + ASK_EVERY.mul_f64(rand::random_range(0.8..1.2));
        self.touched.clear();
        self.work.push(self.asking().groups().boxed());
        if self.staff.is_empty() {
            return;
        }
        let gone = self.online.expire(now);
        self.seen(gone);
        self.presence.asked();
        self.work.push(self.asking().agents().boxed());
        self.work.push(self.asking().who().boxed());
        let views = |(id, staff): (&u64, &Staff)| {
            staff.views.iter().map(|view| (*id, view.subscription.which)).collect::<Vec<_>>()
        };
        self.to_list = self.staff.iter().flat_map(views).collect();
        self.list_on();
    }

    fn ask_soon(&mut self) {
        let soon = Instant::now() + ASK_WITHIN.mul_f64(rand::random_range(0.0..1.0));
        self.ask_at = self.ask_at.min(soon);
    }

    fn asking(&self) -> Asking {
        Asking { bus: self.app.core.bus.clone(), shard: self.shard, tenant: self.tenant }
    }

    /// Says what changed of the visitors here.
    async fn tell_edges(&mut self) {
        let now = Instant::now();
        let visitors = self.local.take(now);
        if visitors.is_empty() {
            return;
        }
        self.hear(self.app.core.incarnation, &visitors, now);
        let subject = tenant_signals(self.shard, self.tenant, TenantTopic::Visitors);
        // Of its own: what it waits for must not hold the work.
        let core = self.app.core.clone();
        who::say(&core, subject, visitors).await;
    }

    fn tell_staff(&mut self, now: Instant) {
        if let Some((agents, visitors)) = self.presence.take(now) {
            for staff in self.staff.values() {
                let visible: Vec<_> =
                    visitors.iter().filter_map(|change| self.visible(staff, change)).collect();
                let push = PresencePush {
                    agents: Some(agents.clone()).filter(|agents| !agents.is_empty()),
                    visitors: Some(visible).filter(|visitors| !visitors.is_empty()),
                };
                if push != PresencePush::default() {
                    staff.conn.push("presence", push);
                }
            }
        }
        for staff in self.staff.values_mut() {
            for view in &mut staff.views {
                let which = view.subscription.which;
                for told in view.subscription.take(now) {
                    super::push::told(&staff.conn, which, told);
                }
            }
        }
    }

    /// Agents see whom their groups talk to, and who talks to nobody.
    fn shows(&self, staff: &Staff, visitor: &VisitorPresence) -> bool {
        visitor.group_id.is_none()
            || staff.sender.sees_group(&self.app.core.directory.now(), visitor.group_id)
    }

    /// A change as it looks from there: who is out of sight is gone.
    fn visible(&self, staff: &Staff, change: &Change) -> Option<VisitorPresence> {
        let Change { was, is } = change;
        if self.shows(staff, is) {
            return Some(is.clone());
        }
        was.as_ref().filter(|was| self.shows(staff, was))?;
        Some(VisitorPresence { online: false, page: None, group_id: None, ..is.clone() })
    }

    async fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Who { about, reply } => self.answer_who(&about, reply).await,
            Ask::Staff { conn, sender } => {
                let Sender::Staff { agent, role, .. } = sender else { return };
                self.staff.insert(conn.id, Staff { conn, sender, agent, role, views: Vec::new() });
            }
            Ask::Visitor(arrival) => {
                let (visitor, conn) = (arrival.visitor, arrival.conn.clone());
                self.local.enter(arrival);
                if let Some(group_id) = self.local.interest(visitor)
                    && let Some(status) = self.app.core.floors.group_status(self.tenant, group_id)
                {
                    tell_status(&conn, GroupStatusPush { group_id, status });
                }
            }
            Ask::Leave { conn } => {
                self.staff.remove(&conn);
                self.local.leave(conn);
            }
            Ask::Page { visitor, page } => self.local.turn_page(visitor, page),
            Ask::Thread { visitor, group_id } => {
                if let Some(group_id) = self.local.thread(visitor, group_id)
                    && let Some(status) = self.app.core.floors.group_status(self.tenant, group_id)
                {
                    for conn in self.local.conns_of(visitor) {
                        tell_status(conn, GroupStatusPush { group_id, status });
                    }
                }
            }
            Ask::Config(changed) => self.on_config(&changed),
            Ask::Person(agent) => {
                let index = self.app.core.directory.now();
                let person = index.person(self.tenant, Author::agent(agent), None);
                let staff = self.staff.values().map(|staff| &staff.conn);
                for conn in staff.chain(self.local.conns()).filter(|conn| conn.has_met(person.id)) {
                    let topic = Topic::Person(person.id);
                    conn.push_latest(topic, "person", PersonPush { person: person.clone() });
                }
            }
            Ask::Subscribe { conn, which, done } => self.subscribe(conn, which, done),
            Ask::Visitors { conn, done } => {
                if !self.gathered && self.waiting.len() < WAITING_MAX {
                    self.waiting.push((conn, done));
                } else {
                    self.answer_visitors(conn, done);
                }
            }
        }
    }

    fn on_config(&mut self, changed: &ConfigChanged) {
        for staff in self.staff.values() {
            staff.conn.push("config_changed", changed.clone());
        }
        // Groups decide what is in a view.
        if changed.entity == "group" {
            self.ask_soon();
        }
    }

    fn subscribe(&mut self, conn: u64, which: Which, done: oneshot::Sender<Result<(), ErrorBody>>) {
        let Some(staff) = self.staff.get_mut(&conn) else { return };
        staff.views.retain(|view| view.subscription.which != which);
        if staff.views.len() >= VIEWS_MAX {
            let most = format!("a connection follows at most {VIEWS_MAX} views");
            let _ = done.send(Err(ErrorBody::new(ErrorCode::Conflict, most)));
            return;
        }
        staff.views.push(View { subscription: Subscription::new(which), first: Some(done) });
        self.to_list.push_back((conn, which));
        self.list_on();
    }

    /// Lists the next views.
    fn list_on(&mut self) {
        while self.listing < LISTING_MAX
            && let Some((conn, which)) = self.to_list.pop_front()
        {
            let asking = self.asking();
            let Some(staff) = self.staff.get_mut(&conn) else { continue };
            let view = staff.views.iter_mut().find(|view| view.subscription.which == which);
            let Some(view) = view else { continue };
            view.subscription.asked();
            self.listing += 1;
            self.work.push(asking.view(conn, Actor::agent(staff.agent, staff.role), which).boxed());
        }
    }

    fn on_listed(&mut self, conn: u64, which: Which, result: Result<Listed, ErrorBody>) {
        self.listing -= 1;
        self.list_on();
        let Some(staff) = self.staff.get_mut(&conn) else { return };
        let Some(at) = staff.views.iter().position(|view| view.subscription.which == which) else { return };
        let first = staff.views[at].first.take();
        match result {
            Ok(Listed { conversations, whole }) => {
                staff.views[at].subscription.listed(conversations, whole, first.is_some());
                if let Some(first) = first {
                    let _ = first.send(Ok(()));
                }
            }
            Err(error) => {
                if let Some(first) = first {
                    staff.views.remove(at);
                    let _ = first.send(Err(error));
                }
            }
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Agents(Ok(agents)) => self.presence.agents_are(agents),
            Done::Groups(Ok(groups)) => {
                let news = self.app.core.floors.groups.replace(self.tenant, groups, &self.touched);
                for (group_id, status) in news {
                    self.tell_group(GroupStatusPush { group_id, status });
                }
            }
            Done::Agents(Err(error)) | Done::Groups(Err(error)) => {
                tracing::debug!(%error, "the router did not answer; it is asked again");
            }
            Done::Gathered(words) => {
                let now = Instant::now();
                for (edge, visitors) in words {
                    self.hear(edge, &visitors, now);
                }
                let here = self.local.answer(&Who::default());
                self.hear(self.app.core.incarnation, &here, now);
                self.gathered = true;
                for (conn, done) in std::mem::take(&mut self.waiting) {
                    self.answer_visitors(conn, done);
                }
            }
            Done::Listed { conn, which, result } => self.on_listed(conn, which, result),
        }
    }

    fn answer_visitors(&self, conn: u64, done: oneshot::Sender<Vec<VisitorPresence>>) {
        let Some(staff) = self.staff.get(&conn) else { return };
        let visible = self.online.all().filter(|visitor| self.shows(staff, visitor));
        let _ = done.send(visible.cloned().collect());
    }

    async fn answer_who(&mut self, about: &Who, reply: async_nats::Subject) {
        let visitors = self.local.answer(about);
        if !visitors.is_empty() || about.awaits_each() {
            let core = self.app.core.clone();
            who::say(&core, reply, visitors).await;
        }
    }

    fn on_signal(&mut self, payload: &[u8]) {
        match serde_json::from_slice(payload) {
            Ok(TenantSignal::Thread { conversation, seq, open }) => self.on_thread(&conversation, seq, open),
            Ok(TenantSignal::Agents { agents }) => self.presence.agents_changed(agents),
            Ok(TenantSignal::Group { group_id, status }) => {
                self.touched.insert(group_id);
                if self.app.core.floors.groups.set(self.tenant, group_id, status) {
                    self.tell_group(GroupStatusPush { group_id, status });
                }
            }
            Ok(TenantSignal::Visitors { edge, visitors }) if edge != self.app.core.incarnation => {
                self.hear(edge, &visitors, Instant::now());
            }
            Ok(TenantSignal::Visitors { .. } | TenantSignal::Unknown) => {}
            Err(error) => tracing::debug!(%error, "a signal cannot be read"),
        }
    }

    fn on_thread(&mut self, conversation: &ConversationView, seq: u64, open: bool) {
        if open {
            let agents = &conversation.participants;
            self.app.agents.takes_part(self.tenant, agents, conversation.id);
        }
        let index = self.app.core.directory.now();
        for staff in self.staff.values_mut().filter(|staff| !staff.views.is_empty()) {
            let sees = staff.sender.sees_group(&index, conversation.thread.group_id);
            for view in &mut staff.views {
                let inside = open && view.subscription.which.holds(staff.agent, sees, conversation);
                view.subscription.heard(conversation, seq, inside);
            }
        }
    }

    fn hear(&mut self, edge: bus_schema::IncarnationId, words: &[VisitorPresence], now: Instant) {
        if self.staff.is_empty() {
            return;
        }
        let news: Vec<_> =
            words.iter().filter_map(|word| self.online.hear(edge, word.clone(), now)).collect();
        self.seen(news);
    }

    fn seen(&mut self, news: Vec<Change>) {
        self.app.core.floors.show(self.tenant, &news);
        // What there was before anybody looked is no change.
        if self.gathered {
            self.presence.visitors_changed(news);
        }
    }

    fn tell_group(&self, push: GroupStatusPush) {
        for conn in self.local.interested(push.group_id) {
            tell_status(conn, push);
        }
    }
}

fn tell_status(conn: &Conn, push: GroupStatusPush) {
    conn.push_latest(Topic::Group(push.group_id), "group_status", push);
}
