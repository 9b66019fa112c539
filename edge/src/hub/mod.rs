//! The conversations that have a local reader: workers that own their feeds, members and sends.
//!
//! Invariant: everything about one conversation happens on one worker, in turn; so a member's snapshot and its pushes
//! meet at one position, and one write of a conversation is in flight at a time.

mod act;
mod blocked;
mod check;
mod deliver;
mod encode;
mod gate;
mod hear;
mod io;
pub mod load;
mod marks;
mod members;
mod room;
mod sends;
mod signals;
mod subscriptions;
mod sync;
mod window;
mod worker;

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use bus_schema::{
    Audience, Author, ErrorBody, ErrorCode, Lane,
    command::View,
    protocol::{Conv, Person, ResetReason},
    subject::ConversationSubjects,
    tally::Tally,
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use crate::{conn::Conn, core::Core};

pub use act::{Act, Deed};
pub use gate::{Ended, Gate};
pub use io::Place;
pub use sends::{SendJob, Sender, Stored};

/// Requests that wait for one worker.
const ASKS_MAX: usize = 1_024;

/// What a worker is asked to do.
#[derive(Debug)]
pub enum Ask {
    Join(Join),
    /// The answer that holds the snapshot is queued: what came after it may follow.
    Go {
        home: ConversationSubjects,
        audience: Audience,
        conn: u64,
    },
    /// Everything up to now is delivered first, and `conversation_removed` follows.
    Leave {
        home: ConversationSubjects,
        audience: Audience,
        conn: u64,
        view: View,
    },
    /// What the conversation's followers may see is to be looked at again.
    Recheck {
        home: ConversationSubjects,
    },
    Send(Box<SendJob>),
    Act(Box<Act>),
    /// The connection is gone from everywhere.
    Forget {
        conn: u64,
    },
}

/// A connection that wants to follow a conversation.
#[derive(Debug)]
pub struct Join {
    pub home: ConversationSubjects,
    pub audience: Audience,
    pub conn: Arc<Conn>,
    pub viewer: Author,
    /// Staff: on what terms. None: a visitor in their own conversation.
    pub gate: Option<Gate>,
    pub resume: Option<Position>,
    pub then: Then,
}

/// Where a client says that it is.
#[derive(Debug, Clone)]
pub enum Position {
    /// With what its cursor says that it had come to there.
    At([u64; Lane::ALL.len()], Option<Box<Tally>>),
    /// Its cursor cannot be honoured.
    Lost(ResetReason),
}

/// What happens with the snapshot.
#[derive(Debug)]
pub enum Then {
    /// It goes into an answer; what follows waits for `Ask::Go`.
    Hold(oneshot::Sender<Result<Joined, ErrorBody>>),
    /// It is pushed as `conversation_available`.
    Announce(View),
}

/// A snapshot for an answer.
#[derive(Debug)]
pub struct Joined {
    /// None: there is no conversation yet, and its first thread will be announced; or staff may not follow it.
    pub conv: Option<Conv>,
    pub people: Vec<Person>,
}

/// The workers; cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub {
    core: Arc<Core>,
    workers: Arc<[mpsc::Sender<Ask>]>,
}

impl Hub {
    /// Starts the workers on the runtime; they end with `ctx`'s shutdown, after the connections are gone.
    pub fn start(
        core: &Arc<Core>,
        ctx: &ops::service::Context,
        stop: &tokio_util::sync::CancellationToken,
    ) -> Self {
        // One for each thread: more would write to the bus and to clients in smaller pieces.
        let count = tokio::runtime::Handle::current().metrics().num_workers();
        let workers = (0..count).map(|_| {
            let (asks, inbox) = mpsc::channel(ASKS_MAX);
            let worker = worker::Worker::new(core.clone(), inbox);
            let stop = stop.clone();
            ctx.spawn("hub worker", async move {
                stop.run_until_cancelled(worker.run()).await;
                Ok(())
            });
            asks
        });
        Self { core: core.clone(), workers: workers.collect() }
    }

    /// Follows a conversation; the snapshot comes back, and what follows waits for [`Hub::go`].
    pub async fn join(
        &self,
        home: ConversationSubjects,
        audience: Audience,
        conn: &Arc<Conn>,
        viewer: Author,
        gate: Option<Gate>,
        resume: Option<Position>,
    ) -> Result<Joined, ErrorBody> {
        let (done, joined) = oneshot::channel();
        let then = Then::Hold(done);
        let join = Join { home, audience, conn: conn.clone(), viewer, gate, resume, then };
        self.ask(home, Ask::Join(join)).await?;
        joined.await.map_err(|_| ErrorBody::from(ErrorCode::Unavailable))?
    }

    pub async fn go(&self, home: ConversationSubjects, audience: Audience, conn: u64) {
        let _ = self.ask(home, Ask::Go { home, audience, conn }).await;
    }

    /// Leaves once everything up to now is delivered; `conversation_removed` follows.
    pub async fn leave(&self, home: ConversationSubjects, audience: Audience, conn: u64, view: View) {
        let _ = self.ask(home, Ask::Leave { home, audience, conn, view }).await;
    }

    /// Looks again who may follow a conversation.
    pub async fn recheck(&self, home: ConversationSubjects) {
        let _ = self.ask(home, Ask::Recheck { home }).await;
    }

    /// The connection is gone.
    pub async fn forget(&self, conn: u64) {
        for worker in self.workers.iter() {
            let _ = worker.send(Ask::Forget { conn }).await;
        }
    }

    /// Has something stored and answered; where the worker is behind, it is refused at once.
    pub fn send(&self, job: SendJob) {
        match self.worker(job.draft.home).try_send(Ask::Send(Box::new(job))) {
            Err(TrySendError::Full(Ask::Send(job))) => job.refuse(&self.core.turned_away),
            // A hub that is gone drops the job, and its reply says so.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {}
        }
    }

    /// Waits for room with the worker: a flood slows its sender down.
    pub async fn ask(&self, home: ConversationSubjects, ask: Ask) -> Result<(), ErrorBody> {
        self.worker(home).send(ask).await.map_err(|_| ErrorCode::Unavailable.into())
    }

    fn worker(&self, home: ConversationSubjects) -> &mpsc::Sender<Ask> {
        let mut hasher = DefaultHasher::new();
        home.conversation.hash(&mut hasher);
        let worker = usize::try_from(hasher.finish() % self.workers.len() as u64).unwrap_or(0);
        &self.workers[worker]
    }
}
