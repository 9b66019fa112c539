//! From a visitor's start to the copy of `assigned` that the agent's edge hears: an open loop at a fixed rate.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::ensure;
use bus_schema::{
    ConversationId, Event, IncarnationId, Subject, VisitorId,
    command::{Actor, Command},
    event::{Body, Message},
    state::{CloseReason, StartSource},
    subject::ConversationSubjects,
};
use futures::StreamExt as _;
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use uuid::Uuid;

use super::{super::own_bus::SHARD, world::World};
use crate::{
    chat::{Initial, ProfileChange, Start, start},
    tools::bench::spread::{Quantiles, Spread},
};

/// How long the last one may take to be told.
const TOLD_WITHIN: Duration = Duration::from_secs(30);
/// Beyond this p99 a rate does not hold.
pub const HOLDS_BELOW: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Serialize)]
pub struct Rate {
    pub per_second: f64,
    pub starts: usize,
    /// Of those, the ones that an agent was told of.
    pub told: usize,
    pub latency: Quantiles,
}

impl Rate {
    pub fn holds(&self) -> bool {
        self.told == self.starts && u128::from(self.latency.p99_us) < HOLDS_BELOW.as_micros()
    }
}

fn hello() -> Message {
    Message { text: "Hello".to_owned(), quick_replies: Vec::new() }
}

/// Latency counts from the instant a start was due, so a system that falls behind shows it.
pub async fn measure(world: &Arc<World>, per_second: f64, seconds: f64) -> anyhow::Result<Rate> {
    let starts = (per_second * seconds).round() as usize;
    ensure!(starts > 0, "at least one start");
    let due: Arc<Mutex<HashMap<ConversationId, Instant>>> = Arc::default();
    let mut live = world.log().bus().client.subscribe(format!("live.v1.{SHARD}.>")).await?;
    let began = Instant::now() + Duration::from_millis(200);
    let mut starting = JoinSet::new();
    for n in 0..starts {
        let visitor = VisitorId::from_uuid(Uuid::now_v7());
        let conversation = ConversationId::of(world.tenant, visitor);
        let at = began + Duration::from_secs_f64(n as f64 / per_second);
        due.lock().expect("no holder panics").insert(conversation, at);
        let (world, group) = (world.clone(), world.groups[n % world.groups.len()]);
        starting.spawn(async move {
            sleep_until(at).await;
            let home = ConversationSubjects { shard: SHARD, tenant: world.tenant, conversation };
            let wanted = Start {
                home,
                visitor,
                widget_id: None,
                group_id: Some(group),
                profile: ProfileChange::default(),
                initial: Some(Initial { client_id: None, body: Body::Message(hello()) }),
                source: StartSource::Widget,
                epoch: world.epoch,
                writer: IncarnationId::from_uuid(Uuid::now_v7()),
            };
            start(world.log(), &wanted).await.map(drop)
        });
    }
    let (mut spread, mut told) = (Spread::new(), 0);
    let mut closing = JoinSet::new();
    let end = began + Duration::from_secs_f64(seconds) + TOLD_WITHIN;
    while told < starts {
        let left = end.saturating_duration_since(Instant::now());
        let Ok(Some(message)) = timeout(left, live.next()).await else { break };
        let Some(conversation) = assigned(&message) else { continue };
        let Some(at) = due.lock().expect("no holder panics").remove(&conversation) else { continue };
        spread.record_ns(u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX));
        told += 1;
        // Agents are done at once, so that there is always room.
        let world = world.clone();
        closing.spawn(async move {
            let (conversation_id, reason) = (conversation, CloseReason::Resolved);
            let close = Command::Close { conversation_id, thread_id: None, reason };
            world.ask(Actor::SYSTEM, close).await.map(drop)
        });
    }
    while let Some(ended) = starting.join_next().await {
        // Who was refused is not told of either, and counts as such.
        let _refused = ended?;
    }
    while let Some(ended) = closing.join_next().await {
        let _refused = ended?;
    }
    Ok(Rate { per_second, starts, told, latency: spread.quantiles() })
}

/// The conversation that a live copy gives to an agent.
fn assigned(message: &async_nats::Message) -> Option<ConversationId> {
    let stored = message.subject.strip_prefix("live.v1.")?;
    let subject = Subject::parse(&format!("chat.v1.{stored}")).ok()?;
    let (conversation, _) = subject.conversation()?;
    let event = Event::decode(&message.payload).ok()?;
    matches!(event.body, Body::Assigned(_)).then_some(conversation)
}
