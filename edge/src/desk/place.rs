//! Where a waiting thread stands in its queue, for snapshots.
//!
//! Invariant: a snapshot waits for the router a moment at most, and goes without where it does not answer.

use std::time::Duration;

use bus_schema::{
    command::{Actor, Answer, Command},
    protocol::QueueView,
    state::{LifeState, ThreadStatus},
    subject::ConversationSubjects,
};
use ops::{chat, log::Log};

const ANSWER_WAIT: Duration = Duration::from_millis(250);

pub async fn place(log: &Log, home: ConversationSubjects, state: &LifeState) -> Option<QueueView> {
    if state.status != ThreadStatus::Queued {
        return None;
    }
    let command = Command::GetConversation { conversation_id: home.conversation };
    let request = chat::command(Actor::SYSTEM, command);
    match chat::ask(log.bus(), home.shard, home.tenant, &request, ANSWER_WAIT).await {
        Ok(Answer::Conversations { conversations, .. }) => {
            let same = conversations.into_iter().find(|view| view.thread.id == state.thread_id);
            same.and_then(|view| view.thread.queue)
        }
        Ok(_) | Err(_) => None,
    }
}
