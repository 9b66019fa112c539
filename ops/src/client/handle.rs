//! What callers hold of a client.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bus_schema::{
    ClientId, ConversationId, ThreadId, Visibility,
    protocol::{
        Action, CloseThread, Conv, ConversationRef, EventPage, Hello, ListEvents, MarkView, Profile,
        SetStatus, StartThread,
    },
    state::RoutingStatus,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    conversation::ThreadNow,
    core::Core,
    driver::{self, Shared},
    list::{Entry, ListCounts},
    options::{Counts, Options, Phase, Push, RequestError, Sent, State},
};

/// A running client. Dropping it ends its connection.
pub struct Client {
    shared: Arc<Shared>,
    state: watch::Receiver<State>,
    pushes: Mutex<Option<mpsc::Receiver<Push>>>,
    task: Mutex<Option<JoinHandle<()>>>,
    request_timeout: Duration,
}

/// A conversation as this client shows it now.
#[derive(Debug, Clone)]
pub struct View {
    pub entries: Vec<Entry>,
    pub has_more: bool,
    pub cursor: Option<String>,
    pub caught_up: bool,
    /// Still the caller's own.
    pub mine: bool,
    pub thread: Option<ThreadNow>,
    /// As the last snapshot gave them; those made since are entries.
    pub marks: Vec<MarkView>,
    pub last_seq: u64,
    pub counts: ListCounts,
}

/// A send that is on its way.
#[derive(Debug)]
pub struct Sending {
    pub client_id: ClientId,
    done: oneshot::Receiver<Result<Sent, RequestError>>,
}

impl Sending {
    /// Waits until it is stored or failed for good, across reconnects.
    pub async fn done(self) -> Result<Sent, RequestError> {
        self.done.await.unwrap_or(Err(RequestError::Unknown))
    }
}

impl Client {
    /// Starts connecting. See [`Client::ready`].
    pub fn start(options: Options) -> Self {
        let (sender, pushes) = match options.pushes {
            0 => (None, None),
            room => {
                let (sender, pushes) = mpsc::channel(room);
                (Some(sender), Some(pushes))
            }
        };
        let core = Core::new(&options, sender);
        let state = core.state.subscribe();
        let shared = Arc::new(Shared {
            core: Mutex::new(core),
            kick: Notify::new(),
            cut: Notify::new(),
            stop: CancellationToken::new(),
        });
        let request_timeout = options.request_timeout;
        let task = tokio::spawn(driver::run(shared.clone(), options));
        Self { shared, state, pushes: Mutex::new(pushes), task: Mutex::new(Some(task)), request_timeout }
    }

    /// Waits until it is logged in and has caught up; the error says how it stands instead.
    pub async fn ready(&self, within: Duration) -> Result<(), RequestError> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| state.is_ready() || matches!(state.phase, Phase::Stopped(_)));
        match timeout(within, settled).await {
            Ok(Ok(state)) => match &state.phase {
                Phase::Stopped(why) => Err(why.clone().into()),
                Phase::Connecting | Phase::Live => Ok(()),
            },
            Ok(Err(_)) | Err(_) => Err(RequestError::NotConnected),
        }
    }

    /// Where the connection stands, and a way to wait for it to change.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// The stream of pushes; the first caller has it.
    pub fn take_pushes(&self) -> Option<mpsc::Receiver<Push>> {
        self.pushes.lock().expect("no holder of this lock panics").take()
    }

    pub fn profile(&self) -> Option<Profile> {
        self.shared.core().profile.clone()
    }

    /// What the edge said first on the present connection.
    pub fn hello(&self) -> Option<Hello> {
        self.shared.core().hello.clone()
    }

    pub fn counts(&self) -> Counts {
        self.shared.core().counts
    }

    /// Sends that are not done.
    pub fn unsent(&self) -> usize {
        self.shared.core().outbox.len()
    }

    pub fn conversations(&self) -> Vec<ConversationId> {
        self.shared.core().conversations.keys().copied().collect()
    }

    pub fn view(&self, conversation: ConversationId) -> Option<View> {
        let core = self.shared.core();
        let held = core.conversations.get(&conversation)?;
        Some(View {
            entries: held.list.entries().cloned().collect(),
            has_more: held.list.has_more,
            cursor: held.cursor.clone(),
            caught_up: held.caught_up,
            mine: held.mine,
            thread: held.thread.clone(),
            marks: held.marks.clone(),
            last_seq: held.list.last_seq(),
            counts: held.list.counts,
        })
    }

    /// The events of a conversation as a widget shows them.
    pub fn entries(&self, conversation: ConversationId) -> Vec<Entry> {
        self.view(conversation).map(|view| view.entries).unwrap_or_default()
    }

    pub fn thread(&self, conversation: ConversationId) -> Option<ThreadNow> {
        self.shared.core().conversations.get(&conversation)?.thread.clone()
    }

    // ---- sending ----

    /// Puts an event into the outbox. `event` is the JSON of [`bus_schema::protocol::SendBody`].
    pub fn send_json(
        &self,
        conversation: ConversationId,
        thread: Option<ThreadId>,
        client_id: ClientId,
        event: Box<str>,
    ) -> Result<Sending, RequestError> {
        let (waiter, done) = oneshot::channel();
        let sending = Sending { client_id: client_id.clone(), done };
        self.push(conversation, thread, client_id, event, Some(waiter))?;
        Ok(sending)
    }

    /// As [`Client::send_json`], with only the observer told.
    pub fn send_unwatched(
        &self,
        conversation: ConversationId,
        client_id: ClientId,
        event: Box<str>,
    ) -> Result<(), RequestError> {
        self.push(conversation, None, client_id, event, None)
    }

    pub fn send_text(&self, conversation: ConversationId, text: &str) -> Result<Sending, RequestError> {
        self.send_text_as(conversation, new_client_id(), text, Visibility::All)
    }

    pub fn send_note(&self, conversation: ConversationId, text: &str) -> Result<Sending, RequestError> {
        self.send_text_as(conversation, new_client_id(), text, Visibility::Agents)
    }

    /// A message under a name of the caller's choosing.
    pub fn send_text_as(
        &self,
        conversation: ConversationId,
        client_id: ClientId,
        text: &str,
        visibility: Visibility,
    ) -> Result<Sending, RequestError> {
        let event = message_json(&client_id, text, visibility);
        self.send_json(conversation, None, client_id, event)
    }

    fn push(
        &self,
        conversation: ConversationId,
        thread: Option<ThreadId>,
        client_id: ClientId,
        event: Box<str>,
        waiter: super::core::Waiter,
    ) -> Result<(), RequestError> {
        let mut core = self.shared.core();
        if let Phase::Stopped(why) = &self.state.borrow().phase {
            return Err(why.clone().into());
        }
        let was_idle = core.outbox.is_empty();
        core.send(conversation, thread, client_id, event, waiter, Instant::now())
            .map_err(|_| RequestError::Busy)?;
        let blocked = core.wants().0;
        drop(core);
        // The driver's timer does not know of the outbox until it looks again.
        if was_idle || blocked {
            self.shared.kick.notify_one();
        }
        Ok(())
    }

    // ---- asking ----

    /// A request and its answer.
    pub async fn request<T: DeserializeOwned>(
        &self,
        action: Action,
        payload: &(impl Serialize + Sync),
    ) -> Result<T, RequestError> {
        let payload =
            serde_json::to_string(payload).map_err(|error| RequestError::Answer(error.to_string()))?;
        let answer = self.request_raw(action.name(), &payload).await?;
        serde_json::from_str(answer.get()).map_err(|error| RequestError::Answer(error.to_string()))
    }

    /// Any request, well-formed or not. `payload` must be JSON.
    pub async fn request_raw(&self, action: &str, payload: &str) -> Result<Box<RawValue>, RequestError> {
        let (waiter, answer) = oneshot::channel();
        let request = self.shared.core().request(action, payload, waiter)?;
        if self.shared.core().wants().0 {
            self.shared.kick.notify_one();
        }
        match timeout(self.request_timeout, answer).await {
            Ok(answer) => answer.unwrap_or(Err(RequestError::Unknown)),
            Err(_) => {
                self.shared.core().forget(request);
                Err(RequestError::Unknown)
            }
        }
    }

    /// A visitor's: opens a thread, or answers with the open one.
    pub async fn start_thread(&self, start: &StartThread) -> Result<Conv, RequestError> {
        let conv: Conv = self.request(Action::StartThread, start).await?;
        let mut core = self.shared.core();
        // Pushes may have brought more than the answer holds: what is known already is not replaced.
        let taken = match (&conv.events, core.conversations.get(&conv.id)) {
            (Some(events), Some(known)) if known.cursor.is_some() => core.merge(conv.id, events),
            (Some(_) | None, _) => core.snapshot(conv.clone()),
        };
        taken.map_err(|error| RequestError::Answer(error.to_string()))?;
        Ok(conv)
    }

    /// A page of history, which the list takes in as well.
    pub async fn list_events(&self, ask: &ListEvents) -> Result<EventPage, RequestError> {
        let page: EventPage = self.request(Action::ListEvents, ask).await?;
        let merged = self.shared.core().merge(ask.conversation_id, &page.events);
        merged.map_err(|error| RequestError::Answer(error.to_string()))?;
        Ok(page)
    }

    pub async fn set_status(&self, status: RoutingStatus) -> Result<(), RequestError> {
        self.request::<serde::de::IgnoredAny>(Action::SetStatus, &SetStatus { status }).await.map(drop)
    }

    pub async fn take(&self, conversation_id: ConversationId) -> Result<(), RequestError> {
        let payload = ConversationRef { conversation_id, thread_id: None };
        self.request::<serde::de::IgnoredAny>(Action::Take, &payload).await.map(drop)
    }

    pub async fn close_thread(&self, conversation_id: ConversationId) -> Result<(), RequestError> {
        let payload = CloseThread { conversation_id, thread_id: None };
        self.request::<serde::de::IgnoredAny>(Action::CloseThread, &payload).await.map(drop)
    }

    // ---- ending ----

    /// Breaks the connection as a network would; the client reconnects and resumes.
    pub fn cut(&self) {
        self.shared.cut.notify_one();
    }

    /// Says goodbye and waits for the end.
    pub async fn close(&self) {
        self.shared.stop.cancel();
        let task = self.task.lock().expect("no holder of this lock panics").take();
        if let Some(task) = task {
            // A task that panicked has ended, too.
            let _ = task.await;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

/// A name for a send that nobody else has.
pub fn new_client_id() -> ClientId {
    ClientId::new(format!("c-{}", Uuid::now_v7().simple())).expect("hexadecimal digits and a hyphen")
}

/// A message as `send_event` takes it.
pub fn message_json(client_id: &ClientId, text: &str, visibility: Visibility) -> Box<str> {
    let body = serde_json::json!({
        "kind": "message",
        "client_id": client_id,
        "visibility": visibility,
        "data": { "text": text },
    });
    body.to_string().into()
}
