//! Waiting for what must become true.
//!
//! The one place in tests where time passes by sleeping: conditions are asked again and again, never assumed after a while.

use std::time::{Duration, Instant};

const POLL_MIN: Duration = Duration::from_millis(2);
const POLL_MAX: Duration = Duration::from_millis(50);

/// What a condition may answer: `bool`, `Option<T>`, or `Result<T, E>` whose last error is shown.
pub trait Condition {
    type Value;
    /// The value, or what is still wrong.
    fn held(self) -> Result<Self::Value, String>;
}

impl Condition for bool {
    type Value = ();
    fn held(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("it is false".to_owned()) }
    }
}

impl<T> Condition for Option<T> {
    type Value = T;
    fn held(self) -> Result<T, String> {
        self.ok_or_else(|| "there is none".to_owned())
    }
}

impl<T, E: std::fmt::Debug> Condition for Result<T, E> {
    type Value = T;
    fn held(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:?}"))
    }
}

/// Asks until the condition holds, and panics with `what` when it does not within the deadline.
pub async fn wait_for<C, F>(deadline: Duration, what: &str, mut condition: F) -> C::Value
where
    C: Condition,
    F: AsyncFnMut() -> C,
{
    let end = Instant::now() + deadline;
    let mut pause = POLL_MIN;
    let mut last = "it never answered".to_owned();
    loop {
        match tokio::time::timeout_at(end.into(), condition()).await.map(Condition::held) {
            Ok(Ok(value)) => return value,
            Ok(Err(wrong)) => last = wrong,
            Err(_) => {}
        }
        assert!(Instant::now() < end, "waited {deadline:?} for {what}: {last}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(POLL_MAX);
    }
}
