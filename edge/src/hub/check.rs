//! The regular comparison with the log's tail: a lost last message is followed by none that would show the gap.

use std::{collections::HashMap, time::Duration};

use bus_schema::{Lane, Shard, Subject, subject::ConversationSubjects};
use futures::FutureExt as _;
use ops::log::{ReadError, StoredMsg};
use tokio::time::Instant;

use super::{
    io::{Done, Place},
    worker::Worker,
};
use crate::feed::Asked;

const CHECK_EVERY: Duration = Duration::from_secs(10);
/// A feed in doubt whose look failed asks again after this long.
pub const RETRY: Duration = Duration::from_secs(1);
/// Feeds in one question; each has up to five lanes, and a question takes 1,024 subjects.
const PLACES_MAX: usize = 200;

/// In 10 s ± 20 %.
pub fn next_check(now: Instant) -> Instant {
    now + CHECK_EVERY.mul_f64(rand::random_range(0.8..1.2))
}

impl Worker {
    pub(super) fn on_tick(&mut self, now: Instant) {
        let mut due: HashMap<Shard, Vec<Place>> = HashMap::new();
        for (home, room) in &mut self.rooms {
            for (audience, state) in room.feeds() {
                let Some(feed) = &state.feed else { continue };
                if state.check_at > now || state.syncing {
                    continue;
                }
                state.check_at = next_check(now);
                let place = Place { home: *home, audience };
                if feed.is_verified() {
                    due.entry(home.shard).or_default().push(place);
                } else {
                    state.check_at = now + RETRY;
                    if !std::mem::replace(&mut state.queued, true) {
                        self.doubtful.push_back(place);
                    }
                }
            }
        }
        self.look_on();
        for (shard, places) in due {
            let Some(log) = self.core.log(shard).cloned() else { continue };
            for places in places.chunks(PLACES_MAX).map(<[Place]>::to_vec) {
                let log = log.clone();
                let check = async move {
                    let filters: Vec<String> =
                        places.iter().map(|place| place.home.stored(place.audience)).collect();
                    let result = log.last_of(&filters).await;
                    Done::Checked { shard, places, result }
                };
                self.work.push(check.boxed());
            }
        }
    }

    pub(super) fn on_checked(
        &mut self,
        shard: Shard,
        places: &[Place],
        result: Result<Vec<StoredMsg>, ReadError>,
    ) {
        let found = match result {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, %shard, "the tail could not be compared; it is tried again");
                return;
            }
        };
        let mut tails: HashMap<ConversationSubjects, Vec<(Lane, u64)>> = HashMap::new();
        for message in found {
            let Ok(Subject::Conversation { shard, tenant, conversation, lane }) =
                Subject::parse(&message.subject)
            else {
                continue;
            };
            let home = ConversationSubjects { shard, tenant, conversation };
            tails.entry(home).or_default().push((lane, message.seq));
        }
        for place in places {
            let Some(tail) = tails.get(&place.home) else { continue };
            let tail: Vec<_> =
                tail.iter().copied().filter(|(lane, _)| place.audience.lanes().contains(lane)).collect();
            let state = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience));
            let Some(feed) = state.and_then(|state| state.feed.as_mut()) else { continue };
            let mut actions = Vec::new();
            feed.on_tail(&tail, Asked::AtOnce, &mut actions);
            self.act(*place, actions);
        }
    }
}
