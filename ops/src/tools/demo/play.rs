//! Playing the conversation: two clients on two edges, each line timed from sent to stored to seen.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use bus_schema::protocol::WidgetSession;
use bus_schema::{
    ClientId, ConversationId, Timestamp, Visibility,
    state::{RoutingStatus, ThreadStatus},
};
use tokio::sync::Notify;

use super::script::{Script, Speaker};
use crate::client::{
    Client, EventHead, Http, Observer, Options, Tokens, Visitor, new_client_id, new_visitor_key,
};
use crate::tools::{out, target::Target};

/// Each step of the play must happen within this time.
const STEP_WITHIN: Duration = Duration::from_secs(20);
/// A router that was just started waits for the lease of the one before it.
const ASSIGNED_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);

/// A line that was said.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Line {
    pub speaker: Speaker,
    pub text: String,
    pub seq: u64,
    pub at: Timestamp,
    /// From sending to the answer that says it is stored.
    pub stored_ms: f64,
    /// From sending until the other side had it.
    pub seen_ms: f64,
}

/// When each send was seen by one side, by its name.
#[derive(Default)]
struct Sightings {
    seen: Mutex<HashMap<String, (u64, Timestamp, Instant)>>,
    news: Notify,
}

impl Observer for Sightings {
    fn event(&self, _: ConversationId, event: &EventHead<'_>) {
        let (Some(client_id), Ok(at)) = (event.client_id(), Timestamp::parse(&event.at)) else { return };
        let mut seen = self.seen.lock().expect("no holder of this lock panics");
        seen.entry(client_id.to_owned()).or_insert_with(|| (event.seq, at, Instant::now()));
        self.news.notify_waiters();
    }
}

impl Sightings {
    async fn of(&self, client_id: &str) -> anyhow::Result<(u64, Timestamp, Instant)> {
        let wait = async {
            loop {
                let news = self.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                if let Some(found) = self.seen.lock().expect("no holder of this lock panics").get(client_id) {
                    return *found;
                }
                news.await;
            }
        };
        tokio::time::timeout(STEP_WITHIN, wait)
            .await
            .with_context(|| format!("{client_id} was not seen in time"))
    }
}

/// The two people of the play.
pub struct Stage {
    pub conversation: ConversationId,
    visitor: Visitor,
    agent: Client,
    by_visitor: Arc<Sightings>,
    by_agent: Arc<Sightings>,
    opening: (ClientId, Instant, Instant),
}

impl Stage {
    /// Logs the agent in, opens the visitor's session with the first line, and waits until they have met.
    pub async fn set(target: &Target, script: &Script) -> anyhow::Result<Self> {
        let http = Http::new()?;
        let edges = target.edges()?;
        ensure!(!edges.is_empty(), "no edge is named");
        let (by_visitor, by_agent) = (Arc::new(Sightings::default()), Arc::new(Sightings::default()));
        let (email, password) = (target.text("AGENT_EMAIL")?, target.text("AGENT_PASSWORD")?);
        let agent = Client::start(Options {
            first_edge: 1,
            status: Some(RoutingStatus::Accepting),
            observer: Some(by_agent.clone()),
            ..Options::new(edges.clone(), Tokens::staff(http.clone(), target.admin()?, email, password))
        });
        agent.ready(STEP_WITHIN).await.context("the agent cannot log in")?;
        out::note(&format!("agent {email} accepts chats on {}", edge_of(&agent)));

        let opening = new_client_id();
        let session = WidgetSession {
            widget_key: target.text("WIDGET_KEY")?.to_owned(),
            visitor_key: new_visitor_key(),
            name: Some(script.visitor.clone()),
            email: Some(script.email.clone()),
            initial_message: script.lines.first().map(|(_, text)| text.clone()),
            initial_client_id: Some(opening.clone()),
            ..WidgetSession::default()
        };
        let sent = Instant::now();
        let watch = |options: &mut Options| options.observer = Some(by_visitor.clone());
        let visitor = Visitor::open(&http, &edges, 0, &session, watch).await.context("no widget session")?;
        let answered = Instant::now();
        let conversation = visitor.conversation.context("the session has no conversation")?;
        visitor.client.ready(STEP_WITHIN).await.context("the visitor cannot log in")?;
        out::note(&format!("visitor {} wrote on {}", script.visitor, edge_of(&visitor.client)));

        let stage =
            Self { conversation, visitor, agent, by_visitor, by_agent, opening: (opening, sent, answered) };
        stage
            .wait_for_status(ThreadStatus::Active, ASSIGNED_WITHIN)
            .await
            .context("no agent was assigned")?;
        let assignee = stage.visitor.client.thread(conversation).and_then(|thread| thread.assignee_id);
        let ours = stage.agent.profile().map(|profile| profile.id);
        if assignee.map(|agent| agent.uuid()) != ours {
            bail!("the conversation was assigned to another agent than {email}: {assignee:?}");
        }
        out::note(&format!("assigned after {} ms", sent.elapsed().as_millis()));
        Ok(stage)
    }

    /// Says every line, each when the one before was seen.
    pub async fn play(&self, script: &Script, pace: Duration) -> anyhow::Result<Vec<Line>> {
        let mut lines = Vec::with_capacity(script.lines.len());
        for (at, (speaker, text)) in script.lines.iter().enumerate() {
            let (client_id, sent, stored) = if at == 0 {
                self.opening.clone()
            } else {
                tokio::time::sleep(pace).await;
                self.say(*speaker, text).await.with_context(|| format!("line {} was not sent", at + 1))?
            };
            let audience = match speaker {
                Speaker::Visitor => &self.by_agent,
                Speaker::Agent => &self.by_visitor,
            };
            let (seq, at, seen) = audience.of(client_id.as_str()).await?;
            let since = |then: Instant| then.saturating_duration_since(sent).as_secs_f64() * 1e3;
            let (stored_ms, seen_ms) = (since(stored), since(seen));
            lines.push(Line { speaker: *speaker, text: text.clone(), seq, at, stored_ms, seen_ms });
        }
        Ok(lines)
    }

    async fn say(&self, speaker: Speaker, text: &str) -> anyhow::Result<(ClientId, Instant, Instant)> {
        let client = match speaker {
            Speaker::Visitor => &self.visitor.client,
            Speaker::Agent => &self.agent,
        };
        let sent = Instant::now();
        let sending = client.send_text_as(self.conversation, new_client_id(), text, Visibility::All)?;
        let client_id = sending.client_id.clone();
        tokio::time::timeout(STEP_WITHIN, sending.done()).await.context("no answer in time")??;
        Ok((client_id, sent, Instant::now()))
    }

    /// The agent closes; both see it. Answers with the last sequence.
    pub async fn close(&self) -> anyhow::Result<u64> {
        self.agent.close_thread(self.conversation).await.context("the thread was not closed")?;
        self.wait_for_status(ThreadStatus::Closed, STEP_WITHIN)
            .await
            .context("the visitor did not see the close")?;
        Ok(self.visitor.client.view(self.conversation).map_or(0, |view| view.last_seq))
    }

    /// Where the visitor's own list differs from what was said.
    pub fn differences(&self, lines: &[Line]) -> Vec<String> {
        let seqs: Vec<u64> =
            self.visitor.client.entries(self.conversation).iter().map(|entry| entry.seq).collect();
        let missing = lines.iter().filter(|line| !seqs.contains(&line.seq));
        let mut found: Vec<_> =
            missing.map(|line| format!("the visitor's list lacks the message at {}", line.seq)).collect();
        for (who, client) in [("visitor", &self.visitor.client), ("agent", &self.agent)] {
            let counts = client.counts();
            let wrong = counts.disordered + counts.repeated + counts.bad_frames;
            if wrong > 0 {
                found.push(format!("the {who} was shown what no correct server shows: {counts:?}"));
            }
        }
        found
    }

    /// The edges of visitor and agent.
    pub fn edges(&self) -> (String, String) {
        (edge_of(&self.visitor.client), edge_of(&self.agent))
    }

    pub async fn leave(&self) {
        // Whether or not the status could be set, the connection's end takes the agent off.
        let _ = self.agent.set_status(RoutingStatus::NotAccepting).await;
        self.visitor.client.close().await;
        self.agent.close().await;
    }

    async fn wait_for_status(&self, status: ThreadStatus, within: Duration) -> anyhow::Result<()> {
        let wait = async {
            while self.visitor.client.thread(self.conversation).is_none_or(|thread| thread.status != status) {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(within, wait).await.with_context(|| format!("not {} in time", status.name()))
    }
}

fn edge_of(client: &Client) -> String {
    client.hello().map(|hello| hello.edge_id).unwrap_or_default()
}
