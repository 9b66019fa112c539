//! The connection to the bus, made in the background and made again.
//!
//! Invariant: nothing that needs Postgres alone ever waits for the bus.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bus_schema::{
    ConversationId, ErrorBody, ErrorCode, Shard, TenantId,
    command::{Actor, Answer, Command},
    protocol::ThreadView,
};
use ops::{
    auth::{Audience, follow_into},
    chat,
    log::Log,
    nats::{Bus, ConnectError, Options, connect_with},
    service::Context,
    settings::names,
};
use tokio::sync::watch;

use super::who::Edges;
use crate::{
    access::Caller,
    auth::{self, Tokens},
    http::Problem,
    metrics,
};

/// A command waits this long for a router: one that is away is told to the caller soon.
const COMMAND_WAIT: Duration = Duration::from_secs(4);
/// A thread that is shown waits this long for its place in the queue.
const PLACE_WAIT: Duration = Duration::from_millis(200);
const CONNECT_WAIT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(1);

/// The connection, once there is one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Link {
    bus: watch::Receiver<Option<Bus>>,
    /// One for each shard that a tenant of ours is in.
    logs: Arc<Mutex<BTreeMap<Shard, Log>>>,
    pub(super) edges: Edges,
}

impl Link {
    /// Connects in the background until it has succeeded; the client itself reconnects from then on.
    pub fn start(context: &Context, tokens: Tokens) -> Self {
        let (sender, receiver) = watch::channel(None);
        let shutdown = context.shutdown.clone();
        let key_file = context.settings.path(names::STAFF_KEY_FILE).to_owned();
        let options =
            Options { wait: CONNECT_WAIT, ..Options::from_settings(&context.settings, "admin-api") };
        context.spawn("connect to the bus", async move {
            let connected = shutdown.run_until_cancelled(connect(options)).await;
            let Some(connected) = connected else { return Ok(()) };
            let bus = connected?;
            sender.send_replace(Some(bus.clone()));
            shutdown.run_until_cancelled(Box::pin(share_keys(&bus, &tokens, key_file))).await;
            // The link lives as long as the process.
            drop(sender);
            Ok(())
        });
        Self { bus: receiver, logs: Arc::default(), edges: Edges::default() }
    }

    /// The bus, if it was ever reached; it may be disconnected now.
    pub fn get(&self) -> Result<Bus, Problem> {
        let bus = self.bus.borrow().clone();
        bus.filter(Bus::is_connected).ok_or_else(|| Problem::unavailable("the bus is away", RETRY))
    }

    /// The bus, as soon as it is reached; none: the process ends.
    pub async fn wait(&mut self) -> Option<Bus> {
        let bus = self.bus.wait_for(Option::is_some).await.ok()?;
        bus.clone()
    }

    /// The log of the caller's shard.
    pub fn log(&self, shard: Shard) -> Result<Log, Problem> {
        let bus = self.get()?;
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(logs.entry(shard).or_insert_with(|| Log::new(bus, shard)).clone())
    }

    /// Asks a tenant's router for what the system itself wants.
    pub async fn command_of_system(
        &self,
        shard: Shard,
        tenant: TenantId,
        command: Command,
    ) -> Result<Answer, ErrorBody> {
        let name = command.name();
        let bus = self.get().map_err(|_| ErrorBody::from(ErrorCode::Unavailable))?;
        let request = chat::command(Actor::SYSTEM, command);
        let answer = chat::ask(&bus, shard, tenant, &request, COMMAND_WAIT).await;
        metrics::commanded(name, answer.as_ref().map_or_else(|error| error.code.name(), |_| "accepted"));
        answer
    }

    /// The open thread of a conversation as its router has it now, if that says so in time.
    pub async fn thread_now(&self, caller: &Caller, conversation_id: ConversationId) -> Option<ThreadView> {
        let bus = self.get().ok()?;
        let request = chat::command(caller.actor(), Command::GetConversation { conversation_id });
        match chat::ask(&bus, caller.shard, caller.tenant, &request, PLACE_WAIT).await {
            Ok(Answer::Conversations { mut conversations, .. }) => conversations.pop().map(|it| it.thread),
            Ok(_) | Err(_) => None,
        }
    }

    /// Asks the caller's router.
    pub async fn command(&self, caller: &Caller, command: Command) -> Result<Answer, Problem> {
        let name = command.name();
        let bus = self.get()?;
        let request = chat::command(caller.actor(), command);
        let answer = chat::ask(&bus, caller.shard, caller.tenant, &request, COMMAND_WAIT).await;
        metrics::commanded(name, answer.as_ref().map_or_else(|error| error.code.name(), |_| "accepted"));
        answer.map_err(|error| match error.code {
            ErrorCode::Unavailable => Problem::unavailable("routing is away", RETRY),
            _ => error.into(),
        })
    }
}

async fn connect(options: Options) -> Result<Bus, ConnectError> {
    loop {
        match connect_with(options.clone()).await {
            Err(ConnectError::Unavailable(error)) => {
                tracing::warn!(%error, "running without the bus");
                tokio::time::sleep(RETRY).await;
            }
            done => return done,
        }
    }
}

/// Makes our public key known, and learns those of other instances.
async fn share_keys(bus: &Bus, tokens: &Tokens, path: PathBuf) {
    tokio::join!(auth::keep(bus, tokens, path), learn_keys(bus, tokens));
}

async fn learn_keys(bus: &Bus, tokens: &Tokens) {
    let own = |kid: &str| tokens.signing_key().public().kid() == kid;
    loop {
        let ended = follow_into(tokens.keys(), bus, Audience::Staff, own).await;
        if let Err(error) = ended {
            tracing::warn!(%error, "other instances' keys cannot be read");
        }
        tokio::time::sleep(RETRY).await;
    }
}
