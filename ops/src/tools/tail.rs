//! `ops tail`: the log as it grows.
//!
//! Reads what any persister would read, and shows every event exactly once and in the log's order.

use std::process::ExitCode;

use bus_schema::{
    Audience, ConversationId, Shard, Subject, TenantId,
    event::{Body, Event},
    splice::splice,
    subject::{ConversationSubjects, stored_in_shard},
};
use tokio::signal::unix::{SignalKind, signal};

use super::out;
use super::target::TargetArgs;
use crate::log::{DeliverFrom, Log, StoredMsg, Tail};

/// Characters of a text that are shown to people.
const TEXT_SHOWN: usize = 120;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    #[arg(long, default_value_t = 0)]
    shard: u16,
    /// Only this tenant
    #[arg(long)]
    tenant: Option<TenantId>,
    /// Only this conversation
    #[arg(long)]
    conversation: Option<ConversationId>,
    /// Begin at this sequence; without it, with what is stored from now on
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// End when everything that is stored now was shown
    #[arg(long)]
    once: bool,
    /// One event a line, as clients get it, with its subject
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let target = args.target.bus_at_least()?;
    let log = Log::new(target.bus().await?, Shard(args.shard));
    let until = if args.once { Some(log.end().await?.last) } else { None };
    let from = match (args.from, args.once) {
        (Some(seq), _) => DeliverFrom::Seq(seq.max(1)),
        (None, true) => DeliverFrom::Start,
        (None, false) => DeliverFrom::New,
    };
    let mut tail = log.tail(vec![filter(&args)], from).await?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    if until == Some(0) {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        let message = tokio::select! {
            message = next(&mut tail, until) => message?,
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        };
        let Some(message) = message else { return Ok(ExitCode::SUCCESS) };
        out::say(&if args.json { json_line(&message) } else { human_line(&message) });
    }
}

/// The next message up to and with sequence `until`.
async fn next(tail: &mut Tail, until: Option<u64>) -> anyhow::Result<Option<StoredMsg>> {
    let over = until.is_some() && tail.pending() == 0 && tail.position().is_some();
    if over {
        return Ok(None);
    }
    let next = match until {
        // A filter that nothing matches gives no message to tell the end by.
        Some(_) => match tokio::time::timeout(std::time::Duration::from_secs(2), tail.next()).await {
            Ok(next) => next?,
            Err(_) => return Ok(None),
        },
        None => tail.next().await?,
    };
    Ok(Some(next).filter(|message| until.is_none_or(|until| message.seq <= until)))
}

fn filter(args: &Args) -> String {
    let shard = Shard(args.shard);
    match (args.tenant, args.conversation) {
        (None, None) => stored_in_shard(shard),
        (Some(tenant), None) => format!("chat.v1.{shard}.{tenant}.>"),
        (Some(tenant), Some(conversation)) => {
            ConversationSubjects { shard, tenant, conversation }.stored(Audience::Staff)
        }
        (None, Some(conversation)) => format!("chat.v1.{shard}.*.conversation.{conversation}.>"),
    }
}

fn json_line(message: &StoredMsg) -> String {
    let event = splice(message.seq, message.at, &message.payload);
    format!(r#"{{"subject":"{}","event":{}}}"#, message.subject, String::from_utf8_lossy(&event))
}

fn human_line(message: &StoredMsg) -> String {
    let (at, seq) = (message.at, message.seq);
    let place = match Subject::parse(&message.subject) {
        Ok(Subject::Conversation { conversation, lane, .. }) => {
            format!("{conversation} {:<10}", lane.tokens())
        }
        Ok(Subject::Agent { agent, .. }) => format!("{agent} agent     "),
        Ok(Subject::Visitor { visitor, .. }) => format!("{visitor} visitor   "),
        Err(_) => message.subject.clone(),
    };
    let what = match Event::decode(&message.payload) {
        Ok(event) => {
            let text = match &event.body {
                Body::Message(message) => format!(" {:?}", shortened(&message.text)),
                Body::Assigned(data) => format!(" to {}", data.agent_id),
                Body::Closed(data) => format!(" {:?}", data.reason),
                _ => String::new(),
            };
            format!("{} by {}{text}", event.body.name(), event.author.kind.name())
        }
        Err(error) => format!("unreadable: {error}"),
    };
    format!("{at} {seq:>8} {place} {what}")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"ü".repeat(200)).chars().count(), 121);
    }
}
