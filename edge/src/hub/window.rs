//! How many writes may be unanswered at once, and how many may wait, so that answers come in bounded time (design §2.2).
//!
//! Invariant: unanswered is at most what was acknowledged within the last second times 100 ms, of one tenant at most a
//! quarter of that, and at least a floor; in bytes it is bounded as well. So is what waits: a slow disk makes answers
//! late but never lets a backlog grow.

use std::{collections::HashMap, time::Duration};

use bus_schema::TenantId;
use tokio::time::Instant;

/// Writes that may always be unanswered.
pub const FLOOR: usize = 64;
/// The part of the bound that one tenant may have.
const TENANT_PART: usize = 4;
/// Bytes that may be unanswered; the write that reaches it still goes.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Sends that may always wait, and how much of a second's acknowledgements may.
const WAITING_FLOOR: usize = 1_024;
const WAITING_PART: usize = 4;
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;
const SLOT: Duration = Duration::from_millis(100);
const SLOTS: usize = 10;

/// Whose a write is, and how large.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub tenant: TenantId,
    pub bytes: usize,
}

#[derive(Debug)]
pub struct Window {
    /// Acknowledgements of each of the last ten slots.
    acked: [u32; SLOTS],
    at: usize,
    slot_began: Instant,
    unanswered: usize,
    bytes: usize,
    /// Of each tenant that has any.
    tenants: HashMap<TenantId, usize>,
}

impl Window {
    pub fn new(now: Instant) -> Self {
        Self { acked: [0; SLOTS], at: 0, slot_began: now, unanswered: 0, bytes: 0, tenants: HashMap::new() }
    }

    /// Whether one more of somebody may go.
    pub fn has_room(&self) -> bool {
        self.unanswered < self.limit() && self.bytes < BYTES_MAX
    }

    /// Whether one more of this tenant may go.
    pub fn admits(&self, tenant: TenantId) -> bool {
        let of_tenant = self.tenants.get(&tenant).copied().unwrap_or(0);
        self.has_room() && of_tenant < self.limit() / TENANT_PART
    }

    /// Whether one more may wait where so many do, with so many bytes.
    pub fn may_wait(&self, waiting: usize, bytes: usize) -> bool {
        waiting < (self.last_second() / WAITING_PART).max(WAITING_FLOOR) && bytes < WAITING_BYTES_MAX
    }

    pub fn limit(&self) -> usize {
        (self.last_second() / SLOTS).max(FLOOR)
    }

    fn last_second(&self) -> usize {
        self.acked.iter().map(|acked| *acked as usize).sum()
    }

    pub fn begin(&mut self, load: Load) {
        self.unanswered += 1;
        self.bytes += load.bytes;
        *self.tenants.entry(load.tenant).or_default() += 1;
    }

    /// One was answered; `stored` when the log took it.
    pub fn end(&mut self, load: Load, stored: bool, now: Instant) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(load.bytes);
        if let Some(of_tenant) = self.tenants.get_mut(&load.tenant) {
            *of_tenant = of_tenant.saturating_sub(1);
            if *of_tenant == 0 {
                self.tenants.remove(&load.tenant);
            }
        }
        self.turn(now);
        self.acked[self.at] += u32::from(stored);
    }

    fn turn(&mut self, now: Instant) {
        let mut behind = now.saturating_duration_since(self.slot_began).as_millis() / SLOT.as_millis();
        if behind == 0 {
            return;
        }
        behind = behind.min(SLOTS as u128);
        for _ in 0..behind {
            self.at = (self.at + 1) % SLOTS;
            self.acked[self.at] = 0;
        }
        self.slot_began = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(tenant: u128, bytes: usize) -> Load {
        Load { tenant: TenantId::from_uuid(uuid::Uuid::from_u128(tenant)), bytes }
    }

    /// A window after a second of 5,000 acknowledgements.
    fn busy(start: Instant) -> Window {
        let mut window = Window::new(start);
        for n in 0..5_000_u64 {
            window.begin(load(1, 1));
            window.end(load(1, 1), true, start + Duration::from_micros(n * 200));
        }
        window
    }

    #[test]
    fn the_bound_follows_the_rate_of_the_last_second_and_falls_back_to_the_floor() {
        let start = Instant::now();
        assert_eq!(Window::new(start).limit(), FLOOR);
        let mut window = busy(start);
        assert!((400..=500).contains(&window.limit()), "{}", window.limit());
        window.begin(load(1, 1));
        window.end(load(1, 1), false, start + Duration::from_secs(5));
        assert_eq!(window.limit(), FLOOR);
    }

    #[test]
    fn one_tenant_has_at_most_a_quarter_and_all_together_the_bound() {
        let mut window = Window::new(Instant::now());
        for tenant in 1..=4 {
            for _ in 0..FLOOR / 4 {
                assert!(window.admits(load(tenant, 0).tenant));
                window.begin(load(tenant, 0));
            }
            assert!(!window.admits(load(tenant, 0).tenant), "its quarter is used");
        }
        assert!(!window.has_room() && !window.admits(load(5, 0).tenant));
        window.end(load(2, 0), false, Instant::now());
        assert!(window.admits(load(2, 0).tenant) && !window.admits(load(1, 0).tenant));
        for tenant in 1..=4 {
            for _ in 0..FLOOR / 4 {
                window.end(load(tenant, 0), false, Instant::now());
            }
        }
        assert!(window.tenants.is_empty(), "who has none is not kept");
    }

    #[test]
    fn bytes_are_bounded_whatever_their_number() {
        let mut window = Window::new(Instant::now());
        for _ in 0..4 {
            assert!(window.has_room());
            window.begin(load(1, BYTES_MAX / 4));
        }
        assert!(!window.has_room());
        window.end(load(1, BYTES_MAX / 4), true, Instant::now());
        assert!(window.has_room());
    }

    #[test]
    fn what_waits_is_bounded_by_the_rate_and_in_bytes() {
        let start = Instant::now();
        let idle = Window::new(start);
        assert!(idle.may_wait(WAITING_FLOOR - 1, 0) && !idle.may_wait(WAITING_FLOOR, 0));
        assert!(!idle.may_wait(0, WAITING_BYTES_MAX));
        let busy = busy(start);
        assert!(busy.may_wait(1_100, 0) && !busy.may_wait(1_250, 0), "a quarter of a second's worth");
    }
}
