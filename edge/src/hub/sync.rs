//! Opening a feed, and bringing it up to what the leader has.

use bus_schema::ErrorBody;
use futures::FutureExt as _;
use ops::{chat::Tail, log::ReadError};
use tokio::time::Instant;

use super::{
    check::{RETRY, next_check},
    io::{self, Place, Shown},
    room::{FeedState, Waiter},
    worker::Worker,
};
use crate::feed::{Action, Asked, Feed};

/// Feeds in doubt that ask the leader at once, so that a reconnect does not flood it.
const LOOKING_MAX: usize = 32;

impl Worker {
    /// Has `waiter` served once everything stored until now is delivered.
    pub(super) fn when_current(&mut self, place: Place, waiter: Waiter) {
        let log = self.log(place.home);
        let room = self.rooms.entry(place.home).or_default();
        match room.feed_mut(place.audience) {
            Some(state) if state.feed.is_none() => state.waiters.push(waiter),
            Some(state) if state.syncing => state.next_waiters.push(waiter),
            Some(state) => {
                state.waiters.push(waiter);
                let highest = state.sync();
                self.work.push(io::tail(log, place, highest, false).boxed());
            }
            slot @ None => {
                let sid = self.subscriptions.begin(place, &self.wire);
                let resumes = waiter.resumes();
                *slot = Some(Box::new(FeedState::opening(waiter, sid, Instant::now())));
                self.core.measures.rooms.increment(1.0);
                self.work.push(io::open(log, place, resumes).boxed());
            }
        }
    }

    pub(super) fn on_opened(&mut self, place: Place, result: Result<Tail, ErrorBody>) {
        let Some(room) = self.rooms.get_mut(&place.home) else { return };
        let tail = match result {
            Ok(tail) => tail,
            Err(error) => {
                let state = room.feed_mut(place.audience).take();
                if let Some(state) = &state {
                    self.subscriptions.end(state.sid, &self.wire);
                }
                self.core.measures.rooms.decrement(1.0);
                for waiter in state.into_iter().flat_map(|state| state.waiters) {
                    self.refuse(place, waiter, &error);
                }
                self.tidy(place.home);
                return;
            }
        };
        if let Some(life) = &tail.life {
            room.learn(life);
        }
        let Some(state) = room.feed(place.audience) else { return };
        state.barrier = Some(tail.end());
        let feed = state.feed.insert(Feed::at(place.audience, tail.end()));
        state.ends = tail.ends.map(|ends| (feed.position(), ends));
        state.check_at = next_check(Instant::now());
        if std::mem::take(&mut state.doubted)
            && let Some(feed) = &mut state.feed
        {
            feed.unverify();
            state.check_at = Instant::now();
        }
        self.settle(place);
    }

    pub(super) fn on_tail(&mut self, place: Place, highest: u64, result: Result<Tail, ErrorBody>) {
        let Some(state) = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience)) else {
            return self.look_on();
        };
        state.syncing = false;
        if std::mem::take(&mut state.doubted) && result.is_ok() {
            let highest = state.sync();
            self.work.push(io::tail(self.log(place.home), place, highest, false).boxed());
            return self.look_on();
        }
        let mut actions = Vec::new();
        match result {
            Ok(tail) => {
                state.check_at = next_check(Instant::now());
                state.barrier = Some(tail.end());
                if let Some(feed) = &mut state.feed {
                    feed.on_tail(&tail.lanes, Asked::EachOfLeader { highest }, &mut actions);
                }
                self.act(place, actions);
                self.settle(place);
            }
            Err(error) => {
                let waiters = std::mem::take(&mut state.waiters);
                if let Some(feed) = &mut state.feed {
                    feed.unverify();
                }
                state.check_at = Instant::now() + RETRY;
                for waiter in waiters {
                    self.refuse(place, waiter, &error);
                }
                self.next_sync(place);
            }
        }
        self.look_on();
    }

    /// What a feed asked of the log was answered; `tell` tells it.
    pub(super) fn on_answer<A>(
        &mut self,
        place: Place,
        result: Result<A, ReadError>,
        tell: impl FnOnce(&mut Feed<Shown>, A, &mut Vec<Action<Shown>>),
    ) {
        let Some(state) = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience)) else {
            return;
        };
        let Some(feed) = &mut state.feed else { return };
        let mut actions = Vec::new();
        match result {
            Ok(answer) => tell(feed, answer, &mut actions),
            Err(error) => {
                tracing::warn!(%error, "a read of the log failed; it is tried again");
                feed.on_read_failed();
                state.check_at = Instant::now() + RETRY;
            }
        }
        self.act(place, actions);
        self.settle(place);
    }

    /// Serves those who waited, if everything up to their barrier is delivered.
    fn settle(&mut self, place: Place) {
        let Some(state) = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience)) else {
            return;
        };
        let Some(feed) = &state.feed else { return };
        let reached = state.barrier.is_some_and(|barrier| feed.complete_to() >= barrier);
        if state.syncing || !reached || feed.is_reading() {
            return;
        }
        state.barrier = None;
        let (waiters, ends) = (std::mem::take(&mut state.waiters), state.ends.take());
        for waiter in waiters {
            self.serve(place, waiter, ends.as_ref());
        }
        self.next_sync(place);
        self.tidy(place.home);
    }

    /// Begins the look for those who came while one was under way.
    fn next_sync(&mut self, place: Place) {
        let log = self.log(place.home);
        let Some(state) = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience)) else {
            return;
        };
        if !state.next_waiters.is_empty() && !state.syncing {
            state.waiters.append(&mut state.next_waiters);
            let highest = state.sync();
            self.work.push(io::tail(log, place, highest, false).boxed());
        }
    }

    /// Live copies may have been lost: every feed asks the leader.
    pub(super) fn doubt_all(&mut self) {
        let mut places = Vec::new();
        for (home, room) in &mut self.rooms {
            room.queue = None;
            for (audience, state) in room.feeds() {
                state.doubted |= state.feed.is_none() || state.syncing;
                if let Some(feed) = &mut state.feed {
                    feed.unverify();
                    state.queued = true;
                    places.push(Place { home: *home, audience });
                }
            }
        }
        tracing::info!(feeds = places.len(), "live copies may have been lost: asking the leader");
        self.doubtful = places.into();
        self.look_on();
    }

    /// Lets the next feeds in doubt ask.
    pub(super) fn look_on(&mut self) {
        while self.looking < LOOKING_MAX {
            let Some(place) = self.doubtful.pop_front() else { return };
            let log = self.log(place.home);
            let state = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience));
            let Some(state) = state else { continue };
            state.queued = false;
            if state.feed.is_none() || state.syncing {
                continue;
            }
            let highest = state.sync();
            self.looking += 1;
            self.work.push(io::tail(log, place, highest, true).boxed());
        }
    }
}
