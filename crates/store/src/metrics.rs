//! What a process counts and measures of itself for its operator. Each is an atomic or a few of them, so that the hot path
//! neither locks nor formats anything; how they are shown is others' work.
//!
//! Nothing here is kept apart by tenant, endpoint or URL, of which there is no end: that is what [`stats`](crate::stats) are for.

use crate::error::StoreError;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use stentor_domain::attempt::{ErrorClass, Outcome};

/// Upper bounds of durations, in microseconds: of commits and attempts, up to the longest timeout.
const DURATIONS: [u64; 18] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];
/// Of how long an event waits for its first attempt, which may be hours.
const LAGS: [u64; 18] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    1_800_000_000,
    3_600_000_000,
];
/// Of the members of a group.
const SIZES: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/// Something that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Counts so many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that goes up and down.
#[derive(Debug, Default)]
pub struct Level(AtomicUsize);

impl Level {
    /// Is so much from now on.
    pub fn set(&self, level: usize) {
        self.0.store(level, Ordering::Relaxed);
    }

    /// How much it is.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often something was how large, by upper bounds.
#[derive(Debug)]
pub struct Distribution {
    bounds: &'static [u64],
    /// One for each bound, and one for what is beyond all.
    counts: Vec<Count>,
    sum: Count,
}

impl Distribution {
    fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| Count::default()).collect(),
            sum: Count::default(),
        }
    }

    /// Notes one.
    pub fn note(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(place) {
            count.add(1);
        }
        self.sum.add(value);
    }

    /// Notes a duration, in microseconds.
    pub fn note_duration(&self, duration: Duration) {
        self.note(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// The bounds, `None` for what is beyond all, each with how many were within it and beyond the one before.
    pub fn parts(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts.iter().map(Count::get))
    }

    /// All of them added up.
    pub fn sum(&self) -> u64 {
        self.sum.get()
    }
}

/// All that a process counts and measures.
#[derive(Debug)]
pub struct Metrics {
    /// Events accepted, but for tests.
    pub events_accepted: Count,
    /// How long publishes waited for their turn, of those that had to, in microseconds.
    pub publish_wait: Distribution,
    /// From the acceptance of an event to the start of each of its first attempts, in microseconds.
    pub first_attempt_lag: Distribution,
    /// How long attempts took in which somebody was asked, in microseconds.
    pub attempt_duration: Distribution,
    /// Attempts in flight.
    pub in_flight: Level,
    /// Deliveries that wait in memory.
    pub in_memory: Level,
    /// Members of groups that were committed.
    pub commit_members: Distribution,
    /// How long writing and committing a group took, in microseconds.
    pub commit_duration: Distribution,
    succeeded: Count,
    simulated: Count,
    failed: [Count; ErrorClass::ALL.len()],
    errors: [Count; ERRORS.len()],
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

/// Words for faults of the database, in the order of their counts.
const ERRORS: [&str; 4] = ["full", "unavailable", "too_expensive", "unreadable"];

impl Default for Metrics {
    fn default() -> Self {
        Self {
            events_accepted: Count::default(),
            publish_wait: Distribution::new(&DURATIONS),
            first_attempt_lag: Distribution::new(&LAGS),
            attempt_duration: Distribution::new(&DURATIONS),
            in_flight: Level::default(),
            in_memory: Level::default(),
            commit_members: Distribution::new(&SIZES),
            commit_duration: Distribution::new(&DURATIONS),
            succeeded: Count::default(),
            simulated: Count::default(),
            failed: Default::default(),
            errors: Default::default(),
            refused: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Notes an attempt.
    pub fn note_attempt(&self, outcome: Outcome, micros: u32) {
        match outcome.error_class() {
            None if outcome == Outcome::Simulated => return self.simulated.add(1),
            None => self.succeeded.add(1),
            Some(class) => {
                let place = ErrorClass::ALL.iter().position(|known| *known == class);
                if let Some(count) = place.and_then(|place| self.failed.get(place)) {
                    count.add(1);
                }
            }
        }
        self.attempt_duration.note(u64::from(micros));
    }

    /// How many attempts there were of each outcome.
    pub fn attempts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let good = [("succeeded", &self.succeeded), ("simulated", &self.simulated)];
        let classes = ErrorClass::ALL.iter().map(|class| class.as_str());
        let all = good.into_iter().chain(classes.zip(&self.failed));
        all.map(|(outcome, count)| (outcome, count.get()))
    }

    pub(crate) fn note_commit(&self, members: usize, took: Duration) {
        self.commit_members
            .note(u64::try_from(members).unwrap_or(u64::MAX));
        self.commit_duration.note_duration(took);
    }

    /// Notes that a publish was refused; `code` is one of those that contracts document.
    pub fn note_refused(&self, code: &'static str) {
        *self.refused.lock().entry(code).or_default() += 1;
    }

    /// How many publishes were refused for each reason so far.
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refused.lock().clone()
    }

    pub(crate) fn note_error(&self, error: &StoreError) {
        let word = match error {
            StoreError::Full(_) => "full",
            StoreError::Unavailable(_) => "unavailable",
            StoreError::TooExpensive => "too_expensive",
            StoreError::Unreadable(_) => "unreadable",
            // No fault: the process ends.
            StoreError::Closed => return,
        };
        let place = ERRORS.iter().position(|known| *known == word);
        if let Some(count) = place.and_then(|place| self.errors.get(place)) {
            count.add(1);
        }
    }

    /// How many questions and records the database failed, by how.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ERRORS.iter().copied().zip(self.errors.iter().map(Count::get))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_at_a_bound_is_within_it() {
        let sizes = Distribution::new(&[1, 2, 4]);
        for value in [1, 2, 2, 3, 4, 5, 1_000] {
            sizes.note(value);
        }
        let parts: Vec<_> = sizes.parts().collect();
        assert_eq!(parts, [(Some(1), 1), (Some(2), 2), (Some(4), 2), (None, 2)]);
        assert_eq!(sizes.sum(), 1_017);
    }
}
