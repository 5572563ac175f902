//! Time that is stepped.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use stentor_domain::{Clock, Timestamp};

/// A clock that stands still until it is stepped. Starts at 2024-01-01T00:00:00Z.
#[derive(Debug)]
pub struct StepClock {
    micros: AtomicI64,
}

const START: i64 = 1_704_067_200_000_000;

impl StepClock {
    /// Lets `wait` pass.
    pub fn step(&self, wait: Duration) {
        let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
        self.micros.fetch_add(micros, Ordering::SeqCst);
    }

    /// Sets the clock, forwards only.
    pub fn step_to(&self, at: Timestamp) {
        self.micros.fetch_max(at.micros(), Ordering::SeqCst);
    }
}

impl Default for StepClock {
    fn default() -> Self {
        Self {
            micros: AtomicI64::new(START),
        }
    }
}

impl Clock for StepClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        self.now().since(Timestamp::from_micros(START))
    }
}
