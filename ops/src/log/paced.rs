//! A consumer's messages, asked for at most once in a while: many come in one packet and wake their reader once.
//!
//! Invariant: who waits for a message gets the first one at once; those behind it come together, at most a pace later.

use std::{pin::Pin, time::Duration};

use async_nats::jetstream::{
    self,
    consumer::{PullConsumer, pull},
};
use futures::{Stream, StreamExt as _, stream};
use tokio::time::{Instant, sleep_until, timeout};

/// Messages asked for at once.
const BATCH: usize = 512;
/// A request that waits for a message ends, and is renewed, after this time.
const WAIT: Duration = Duration::from_secs(2);
/// Without an answer for this long a request is given up, and the consumer with it.
const ANSWER_MAX: Duration = Duration::from_secs(5);

pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(super) type Messages = Pin<Box<dyn Stream<Item = Result<jetstream::Message, Error>> + Send>>;

struct Paced {
    consumer: PullConsumer,
    every: Duration,
    /// What was asked for, while it comes.
    coming: Option<pull::Batch>,
    /// How many the last request brought.
    came: usize,
    /// Before this instant nothing more is asked for.
    due: Instant,
}

/// Endless until the first error.
pub(super) fn paced(consumer: PullConsumer, every: Duration) -> Messages {
    let paced = Paced { consumer, every, coming: None, came: BATCH, due: Instant::now() };
    stream::try_unfold(paced, |mut paced| async move {
        let message = paced.next().await?;
        Ok(Some((message, paced)))
    })
    .boxed()
}

impl Paced {
    async fn next(&mut self) -> Result<jetstream::Message, Error> {
        loop {
            let Some(coming) = &mut self.coming else {
                self.ask().await?;
                continue;
            };
            match timeout(ANSWER_MAX, coming.next()).await? {
                Some(message) => {
                    if self.came == 0 {
                        self.due = Instant::now() + self.every;
                    }
                    self.came += 1;
                    return message;
                }
                None => self.coming = None,
            }
        }
    }

    async fn ask(&mut self) -> Result<(), Error> {
        self.coming = Some(match self.came {
            0 => self.consumer.batch().max_messages(1).expires(WAIT).messages().await?,
            came => {
                // While there is more than a request brings, the next follows at once.
                if came < BATCH {
                    sleep_until(self.due).await;
                }
                self.consumer.fetch().max_messages(BATCH).messages().await?
            }
        });
        self.came = 0;
        Ok(())
    }
}
