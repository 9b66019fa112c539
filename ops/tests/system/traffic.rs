//! Visitors and agents who keep talking, whatever happens to the system.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bus_schema::{
    ConversationId, EventId, Visibility,
    protocol::{Action, SendBody, StartThread, WidgetSession},
    state::ThreadStatus,
};
use ops::client::{Client, Http, Observer, Options, RequestError, Visitor};
use ops::testing::wait_for;
use rand::{RngExt as _, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

use crate::{staff::Admin, world::World};

/// How long a client may take to be logged in and caught up on a healthy system.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// A send ends within this time, faults included.
fn sent_within() -> Duration {
    Duration::from_secs(if crate::long() { 300 } else { 120 })
}

const GOES_ON_WITHIN: Duration = Duration::from_secs(90);

/// Sends that were acknowledged: by the answer, or by the sender's own push.
pub type Acked = Arc<Mutex<Vec<(EventId, u64)>>>;

/// A running load.
pub struct Traffic {
    pub visitors: Vec<Arc<Visitor>>,
    pub agents: Vec<Arc<Client>>,
    pub acked: Acked,
    /// Threads opened after the first of each visitor.
    pub threads: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    closes: bool,
    talkers: JoinSet<()>,
}

/// What kind of load.
pub struct Plan {
    pub edges: Vec<String>,
    pub conversations: usize,
    pub agents: usize,
    /// Conversations that all agents together have room for.
    pub room: usize,
    /// Visitors close their threads and come back.
    pub closes: bool,
    pub observer: Option<Arc<dyn Observer>>,
    pub seed: u64,
}

impl Plan {
    /// Visitors on all edges who come and go, and agents with room for four of five, so that some always wait.
    pub fn busy(world: &World, conversations: usize, seed: u64) -> Self {
        Self {
            edges: world.edge_urls(),
            conversations,
            agents: conversations.div_ceil(10),
            room: conversations * 4 / 5,
            closes: true,
            observer: None,
            seed,
        }
    }

    /// Everybody has an agent and keeps them: no send is refused for a good reason.
    pub fn steady(world: &World, conversations: usize, seed: u64) -> Self {
        let agents = conversations.div_ceil(10);
        Self {
            room: conversations.next_multiple_of(agents),
            closes: false,
            ..Self::busy(world, conversations, seed)
        }
    }

    fn adjust(&self, options: &mut Options) {
        options.pushes = 0;
        options.observer = self.observer.clone();
        options.edges.clone_from(&self.edges);
    }
}

impl Traffic {
    pub async fn start(world: &World, plan: Plan) -> Self {
        let admin = Admin::login(world).await;
        let capacity = u32::try_from(plan.room / plan.agents).unwrap().max(1);
        let mut clients = Vec::new();
        for n in 0..plan.agents {
            let adjust = |options: &mut Options| plan.adjust(options);
            clients.push(Arc::new(admin.agent_with(world, &format!("agent-{n}"), capacity, adjust).await));
        }
        for client in &clients {
            client.ready(READY_WITHIN).await.unwrap();
        }
        let mut traffic = Self {
            visitors: Vec::new(),
            agents: clients,
            acked: Acked::default(),
            threads: Arc::default(),
            stop: Arc::default(),
            closes: plan.closes,
            talkers: JoinSet::new(),
        };
        for n in 0..plan.conversations {
            traffic.visitors.push(Arc::new(visitor(world, &plan, n).await));
        }
        traffic.talk(plan.seed);
        traffic
    }

    fn talk(&mut self, seed: u64) {
        for (n, visitor) in self.visitors.iter().enumerate() {
            let conversation = visitor.conversation.expect("a session with a message has a conversation");
            let talker = self.talker(random(seed, n));
            self.talkers.spawn(talker.visitor(visitor.clone(), conversation));
        }
        for (n, agent) in self.agents.iter().enumerate() {
            let talker = self.talker(random(seed, 1_000_000 + n));
            self.talkers.spawn(talker.agent(agent.clone()));
        }
    }

    fn talker(&self, random: StdRng) -> Talker {
        Talker {
            acked: self.acked.clone(),
            threads: self.threads.clone(),
            stop: self.stop.clone(),
            closes: self.closes,
            random,
        }
    }

    pub fn acked(&self) -> usize {
        self.acked.lock().unwrap().len()
    }

    /// Waits until so many more sends were acknowledged.
    pub async fn goes_on(&self, wanted: usize) {
        let before = self.acked();
        wait_for(GOES_ON_WITHIN, "traffic to go on", async || {
            let new = self.acked() - before;
            if new > wanted { Ok(()) } else { Err(format!("{new} of {wanted} new sends")) }
        })
        .await;
    }

    /// Lets everyone finish their sentence, and waits until all clients have caught up.
    pub async fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.talkers.join_next().await {
            ended.unwrap();
        }
        for client in self.clients() {
            client.ready(READY_WITHIN).await.unwrap();
            assert_eq!(client.unsent(), 0);
        }
    }

    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.visitors.iter().map(|visitor| &visitor.client).chain(self.agents.iter().map(Arc::as_ref))
    }
}

async fn visitor(world: &World, plan: &Plan, n: usize) -> Visitor {
    let session = WidgetSession {
        name: Some(format!("Visitor {n}")),
        initial_message: Some(format!("Hello, this is visitor {n}.")),
        ..world.session()
    };
    let http = Http::new().unwrap();
    let visitor =
        Visitor::open(&http, &plan.edges, n, &session, |options| plan.adjust(options)).await.unwrap();
    visitor.client.ready(READY_WITHIN).await.unwrap();
    visitor
}

fn random(seed: u64, stream: usize) -> StdRng {
    StdRng::seed_from_u64(seed ^ (stream as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

struct Talker {
    acked: Acked,
    threads: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    closes: bool,
    random: StdRng,
}

impl Talker {
    async fn visitor(mut self, visitor: Arc<Visitor>, conversation: ConversationId) {
        let mut said = 0;
        while !self.stop.load(Ordering::Relaxed) {
            said += 1;
            self.say(&visitor.client, conversation, &format!("visitor says {said}"), Visibility::All).await;
            self.read(&visitor.client, conversation).await;
            if self.closes && self.random.random_ratio(1, 12) {
                self.close_and_come_back(&visitor.client, conversation).await;
            }
        }
    }

    /// Ends the thread and opens the next, as often as it takes.
    async fn close_and_come_back(&mut self, client: &Client, conversation: ConversationId) {
        // Without an answer it may be closed or not; opening finds out.
        let _closed = client.close_thread(conversation).await;
        let client_id = ops::client::new_client_id();
        let data = serde_json::value::to_raw_value(&serde_json::json!({"text": "me again"})).unwrap();
        let initial = SendBody { kind: "message".to_owned(), client_id, visibility: Visibility::All, data };
        let ask = StartThread { initial_event: Some(initial), ..StartThread::default() };
        let end = Instant::now() + sent_within();
        while let Err(error) = client.start_thread(&ask).await {
            assert!(Instant::now() < end, "start_thread in {conversation}: {error}");
            self.pause().await;
        }
        self.threads.fetch_add(1, Ordering::Relaxed);
    }

    async fn agent(mut self, agent: Arc<Client>) {
        let mut said = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let mine: Vec<ConversationId> = agent
                .conversations()
                .into_iter()
                .filter(|id| agent.view(*id).is_some_and(|view| view.mine && active(&view)))
                .collect();
            if mine.is_empty() {
                self.pause().await;
                continue;
            }
            said += 1;
            let conversation = mine[self.random.random_range(0..mine.len())];
            let visibility =
                if self.random.random_ratio(1, 8) { Visibility::Agents } else { Visibility::All };
            self.say(&agent, conversation, &format!("agent says {said}"), visibility).await;
            self.read(&agent, conversation).await;
        }
    }

    /// Marks what is shown as read, now and then; whether it arrives is nobody's promise.
    async fn read(&mut self, client: &Client, conversation: ConversationId) {
        if self.random.random_ratio(1, 4)
            && let Some(last) = client.entries(conversation).last()
        {
            let mark = serde_json::json!({"conversation_id": conversation, "up_to_seq": last.seq});
            let _told: Result<serde_json::Value, _> = client.request(Action::MarkRead, &mark).await;
        }
    }

    async fn say(
        &mut self,
        client: &Client,
        conversation: ConversationId,
        text: &str,
        visibility: Visibility,
    ) {
        let sending =
            client.send_text_as(conversation, ops::client::new_client_id(), text, visibility).unwrap();
        let Ok(sent) = tokio::time::timeout(sent_within(), sending.done()).await else {
            let (counts, unsent) = (client.counts(), client.unsent());
            panic!("{text:?} in {conversation} is not sent: {unsent} unsent, {counts:?}");
        };
        match sent {
            Ok(sent) => self.acked.lock().unwrap().push((sent.event_id, sent.seq)),
            // The thread may be closed, or an agent's gone to somebody else, between looking and sending.
            Err(RequestError::Refused(error)) if !error.retryable => {}
            Err(error) => panic!("{text} in {conversation}: {error}"),
        }
        self.pause().await;
    }

    /// People think before they speak.
    async fn pause(&mut self) {
        let thought = Duration::from_millis(self.random.random_range(100..600));
        tokio::time::sleep(thought).await;
    }
}

fn active(view: &ops::client::View) -> bool {
    view.thread.as_ref().is_some_and(|thread| thread.status == ThreadStatus::Active)
}
