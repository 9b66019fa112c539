//! The people of a benchmark: agents of its own, and visitors whose conversations they hold.
//!
//! Invariant: nothing of it stays but closed conversations: agents and group are deleted at the end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use bus_schema::{
    ConversationId, GroupId, TenantId, limits,
    protocol::WidgetSession,
    state::{RoutingStatus, ThreadStatus},
};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{
    ledger::{Board, Ear},
    schedule::Due,
};
use crate::{
    client::{Client, Http, Options, OutboxLimits, Tokens, Visitor, new_client_id, new_visitor_key},
    tools::{http::Http as Admin, out, target::Target},
};

/// Conversations that are opened at once.
const OPENING: usize = 16;
const STEP_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);
/// Bounds of a client under a load that the system may refuse.
const OUTBOX: OutboxLimits = OutboxLimits {
    items: 100_000,
    bytes: 64 * 1024 * 1024,
    window: 64,
    answer_within: Duration::from_secs(10),
    give_up_after: Duration::from_secs(60),
};

/// One conversation and who is in it.
pub struct Pair {
    pub conversation: ConversationId,
    pub visitor: Client,
    /// Index into the cast's agents.
    pub agent: usize,
}

pub struct Cast {
    pub tenant: TenantId,
    pub agents: Vec<Client>,
    pub pairs: Vec<Pair>,
    /// Pairs whose two sides are on different edges.
    pub across: usize,
    pub edges: Vec<String>,
    admin: Admin,
    login: Value,
    group: GroupId,
    agent_ids: Vec<String>,
}

/// What is wanted.
pub struct Plan {
    pub run: u32,
    pub conversations: usize,
    pub agents: usize,
    /// Whether to wait until agents hold the conversations; otherwise they may wait in the queue.
    pub assigned: bool,
    pub edges: Vec<String>,
}

impl Cast {
    pub async fn assemble(target: &Target, plan: &Plan, board: &Board) -> anyhow::Result<Self> {
        ensure!(!plan.edges.is_empty(), "no edge is named");
        let http = Http::new()?;
        let mut admin = Admin::new(target.admin()?)?;
        let login =
            json!({ "email": target.text("ADMIN_EMAIL")?, "password": target.text("ADMIN_PASSWORD")? });
        let answer = admin.post("/v1/auth/login", &login).await?.ok("logging in as admin")?;
        let tenant: TenantId = answer.text_at("/tenant/id")?.parse()?;
        admin.authorize(&answer.text_at("/access_token")?);
        let body = json!({ "name": format!("bench {:08x}", plan.run), "strategy": "least_loaded" });
        let group = admin.post("/v1/groups", &body).await?.ok("making a group")?.text_at("/id")?;
        let mut cast = Self {
            tenant,
            agents: Vec::new(),
            pairs: Vec::new(),
            across: 0,
            edges: plan.edges.clone(),
            admin,
            login,
            group: group.parse()?,
            agent_ids: Vec::new(),
        };
        // What was made so far is removed also when the rest fails.
        if let Err(error) = cast.fill(target, &http, plan, board).await {
            cast.dismiss().await;
            return Err(error);
        }
        Ok(cast)
    }

    async fn fill(&mut self, target: &Target, http: &Http, plan: &Plan, board: &Board) -> anyhow::Result<()> {
        for index in 0..plan.agents {
            self.hire(target, http, plan, index, board).await?;
        }
        for agent in &self.agents {
            agent.ready(STEP_WITHIN).await.context("an agent cannot log in")?;
        }
        out::note(&format!(
            "{} agents are in; opening {} conversations",
            self.agents.len(),
            plan.conversations
        ));
        let this = &*self;
        let opened: Vec<anyhow::Result<Pair>> = stream::iter(0..plan.conversations)
            .map(|index| this.open(target, http, plan, index, board))
            .buffer_unordered(OPENING)
            .collect()
            .await;
        // What was opened is closed at the end, also when some could not be.
        let mut failed = None;
        for pair in opened {
            match pair {
                Ok(pair) => self.pairs.push(pair),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let edge = |client: &Client| client.hello().map(|hello| hello.edge_id);
        let across = |pair: &&Pair| edge(&pair.visitor) != edge(&self.agents[pair.agent]);
        self.across = self.pairs.iter().filter(across).count();
        Ok(())
    }

    async fn hire(
        &mut self,
        target: &Target,
        http: &Http,
        plan: &Plan,
        index: usize,
        board: &Board,
    ) -> anyhow::Result<()> {
        let email = format!("bench-{:08x}-{index}@bench.example", plan.run);
        let password = new_visitor_key();
        let body = json!({
            "email": email, "name": format!("Bench {index}"), "role": "agent", "password": password,
            "capacity": limits::CAPACITY_MAX, "group_ids": [self.group],
        });
        let answer = self.admin.post("/v1/agents", &body).await?.ok("making an agent")?;
        self.agent_ids.push(answer.text_at("/id")?);
        let tokens = Tokens::staff(http.clone(), target.admin()?, &email, &password);
        self.agents.push(Client::start(Options {
            first_edge: index,
            status: Some(RoutingStatus::Accepting),
            ..client_options(plan, tokens, board, false)
        }));
        Ok(())
    }

    async fn open(
        &self,
        target: &Target,
        http: &Http,
        plan: &Plan,
        index: usize,
        board: &Board,
    ) -> anyhow::Result<Pair> {
        let session = WidgetSession {
            widget_key: target.text("WIDGET_KEY")?.to_owned(),
            visitor_key: new_visitor_key(),
            initial_message: Some("hello".to_owned()),
            initial_client_id: Some(new_client_id()),
            group_id: Some(self.group),
            ..WidgetSession::default()
        };
        // Alternating by the agents' stride puts about half of the pairs on two edges, whoever is assigned.
        let first = index % plan.edges.len();
        let opened = Visitor::open(http, &plan.edges, first, &session, |options| {
            let tokens = options.tokens.clone();
            *options = Options { first_edge: first, ..client_options(plan, tokens, board, true) };
        });
        let visitor = opened.await.context("no widget session")?;
        let conversation = visitor.conversation.context("the session has no conversation")?;
        visitor.client.ready(STEP_WITHIN).await.context("a visitor cannot log in")?;
        let agent = if plan.assigned { self.holder(&visitor.client, conversation).await? } else { 0 };
        Ok(Pair { conversation, visitor: visitor.client, agent })
    }

    /// Waits until one of this cast's agents holds the conversation.
    async fn holder(&self, visitor: &Client, conversation: ConversationId) -> anyhow::Result<usize> {
        let deadline = Instant::now() + STEP_WITHIN;
        while Instant::now() < deadline {
            let thread = visitor.thread(conversation);
            if let Some(thread) = thread.filter(|thread| thread.status == ThreadStatus::Active) {
                let assignee = thread.assignee_id.map(bus_schema::AgentId::uuid);
                let ours = |agent: &Client| agent.profile().map(|profile| profile.id) == assignee;
                let Some(index) = self.agents.iter().position(ours) else {
                    bail!("a conversation was assigned to somebody else: {assignee:?}");
                };
                if self.agents[index].thread(conversation).is_some() {
                    return Ok(index);
                }
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("a conversation was not assigned within {} s", STEP_WITHIN.as_secs())
    }

    /// Who writes an event, and where.
    pub fn writer(&self, due: Due) -> (&Client, ConversationId) {
        let pair = &self.pairs[due.pair as usize];
        let client = if due.by_visitor { &pair.visitor } else { &self.agents[pair.agent] };
        (client, pair.conversation)
    }

    fn clients(&self) -> impl Iterator<Item = &Client> {
        self.agents.iter().chain(self.pairs.iter().map(|pair| &pair.visitor))
    }

    /// Pushes out of order, late or doubled that any client saw so far.
    pub fn disorder(&self) -> u64 {
        let of = |client: &Client| {
            let counts = client.counts();
            counts.disordered + counts.late
        };
        self.clients().map(of).sum()
    }

    /// Sends of earlier runs that their clients still try.
    pub fn unsent(&self) -> usize {
        self.clients().map(Client::unsent).sum()
    }

    /// Connections that were lost so far.
    pub fn disconnects(&self) -> u64 {
        self.clients().map(|client| client.counts().disconnects).sum()
    }

    /// Limits of the edges that would measure themselves instead of the system.
    pub fn limits_in_the_way(&self) -> Vec<String> {
        let Some(hello) = self.agents.first().and_then(Client::hello) else { return Vec::new() };
        let named = [
            ("CHATBUS_LIMIT_EVENTS_PER_SECOND", hello.limits.events_per_second),
            ("CHATBUS_LIMIT_REQUESTS_IN_FLIGHT", hello.limits.requests_in_flight),
        ];
        named
            .into_iter()
            .filter(|(_, limit)| *limit > 0)
            .map(|(name, limit)| format!("{name}={limit}"))
            .collect()
    }

    /// Closes what is open (it would go to others once its agents are gone) and removes what was made; what fails is said, not repeated.
    pub async fn dismiss(mut self) {
        let closing = stream::iter(&self.pairs).for_each_concurrent(OPENING, |pair| async {
            if let Err(error) = pair.visitor.close_thread(pair.conversation).await {
                out::note(&format!("left open: conversation {} ({error})", pair.conversation));
            }
        });
        closing.await;
        for client in self.agents.iter().chain(self.pairs.iter().map(|pair| &pair.visitor)) {
            client.close().await;
        }
        // The token of the beginning may have expired.
        let again = self.admin.post("/v1/auth/login", &self.login).await;
        if let Ok(token) = again.and_then(|answer| answer.text_at("/access_token")) {
            self.admin.authorize(&token);
        }
        let agents = self.agent_ids.iter().map(|id| format!("/v1/agents/{id}"));
        for path in agents.chain([format!("/v1/groups/{}", self.group)]) {
            if let Err(error) = self.admin.delete(&path).await.and_then(|answer| answer.ok("removing")) {
                out::note(&format!("left behind: {path} ({error})"));
            }
        }
    }
}

fn client_options(plan: &Plan, tokens: Tokens, board: &Board, visitor: bool) -> Options {
    Options {
        keep_events: 0,
        pushes: 0,
        outbox: OUTBOX,
        observer: Some(Arc::new(Ear { board: board.clone(), visitor })),
        ..Options::new(plan.edges.clone(), tokens)
    }
}
