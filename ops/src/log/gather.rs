//! Requests with many answers over one long-lived inbox.
//!
//! Invariant: an answer goes to the request that its subject names or nowhere; a request that ends, or is
//! dropped, leaves nothing behind.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_nats::{Client, Message};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::{OnceCell, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::ReadError;

/// One subscription for all requests: no subscribe and unsubscribe for each, and its interest is known to every
/// server of a cluster long before an answer comes.
#[derive(Debug)]
pub(super) struct Gather {
    client: Client,
    prefix: String,
    next: AtomicU64,
    waiting: Arc<Waiting>,
    reader: OnceCell<AbortOnDropHandle<()>>,
}

#[derive(Debug, Default)]
struct Waiting(Mutex<HashMap<u64, mpsc::Sender<Message>>>);

/// The answers to one request.
#[derive(Debug)]
pub(super) struct Answers {
    token: u64,
    receiver: mpsc::Receiver<Message>,
    waiting: Arc<Waiting>,
}

impl Gather {
    pub(super) fn new(client: Client) -> Self {
        Self {
            prefix: client.new_inbox(),
            client,
            next: AtomicU64::new(0),
            waiting: Arc::default(),
            reader: OnceCell::new(),
        }
    }

    /// Asks, and gives the answers as they come; at most `answers_max` are kept for the caller.
    pub(super) async fn ask(
        &self,
        subject: &str,
        payload: Bytes,
        answers_max: usize,
    ) -> Result<Answers, ReadError> {
        self.reader.get_or_try_init(|| self.read()).await?;
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(answers_max);
        self.waiting.lock().insert(token, sender);
        let answers = Answers { token, receiver, waiting: self.waiting.clone() };
        let reply = format!("{}.{token}", self.prefix);
        self.client
            .publish_with_reply(subject.to_owned(), reply, payload)
            .await
            .map_err(|_| ReadError::Unavailable)?;
        Ok(answers)
    }

    async fn read(&self) -> Result<AbortOnDropHandle<()>, ReadError> {
        let subscribed = self.client.subscribe(format!("{}.*", self.prefix)).await;
        let mut answers = subscribed.map_err(|_| ReadError::Unavailable)?;
        let waiting = self.waiting.clone();
        Ok(AbortOnDropHandle::new(tokio::spawn(async move {
            while let Some(answer) = answers.next().await {
                waiting.pass(answer);
            }
        })))
    }
}

impl Waiting {
    fn pass(&self, answer: Message) {
        let token = answer.subject.as_str().rsplit('.').next().and_then(|token| token.parse::<u64>().ok());
        let Some(token) = token else { return };
        if let Some(sender) = self.lock().get(&token) {
            // Full: more than was asked for. The reader sees the gap and asks again.
            let _ = sender.try_send(answer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Message>>> {
        // Each change is one insert or remove, so a panic elsewhere cannot leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers {
    pub(super) async fn next(&mut self) -> Option<Message> {
        self.receiver.recv().await
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.token);
    }
}
