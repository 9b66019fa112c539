//! How often and how fast a refused write is tried again (design §2.2).

use std::time::Duration;

/// More tries than this are an error.
pub(super) const TRIES_MAX: u32 = 20;
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// 2–8 ms × 2ⁿ up to 100 ms, with jitter.
pub(super) async fn pause(tries: u32) {
    let base = Duration::from_micros(rand::random_range(2_000..8_000));
    let wait = base.saturating_mul(1 << tries.min(6)).min(PAUSE_MAX);
    tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
}
