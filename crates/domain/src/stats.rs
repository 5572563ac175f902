//! Statistics: what became of the deliveries that were accepted in an hour, and how long their attempts took.
//!
//! Everything is counted under the hour in which its delivery was accepted, whenever it happened, so that the counts of a
//! span of time are those of the list of deliveries of that span. An hour is the smallest bucket.

use crate::Timestamp;
use crate::attempt::ErrorClass;
use crate::delivery::State;
use crate::id::Id;
use std::collections::BTreeMap;

const SECONDS_PER_HOUR: i64 = 3_600;

/// Hours of a day.
pub const HOURS_PER_DAY: u32 = 24;

/// A whole hour of UTC, counted from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub u32);

impl Hour {
    /// The hour that an instant is in; the ends of the range for those beyond them.
    pub fn of(at: Timestamp) -> Self {
        let hours = at.seconds().div_euclid(SECONDS_PER_HOUR);
        Self(u32::try_from(hours.max(0)).unwrap_or(u32::MAX))
    }

    /// The hour in which what has the key `n` was accepted.
    pub fn of_key(n: i64) -> Self {
        Self::of(Id { n, tag: 0 }.made_at())
    }

    /// When it begins.
    pub fn start(self) -> Timestamp {
        Timestamp::from_seconds(i64::from(self.0).saturating_mul(SECONDS_PER_HOUR))
    }
}

/// What is counted of the deliveries of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Deliveries that were accepted and have not ended.
    pub pending: i64,
    /// The same, held back by their endpoints.
    pub held: i64,
    /// Deliveries that have ended so.
    pub delivered: i64,
    /// Deliveries that have ended so.
    pub exhausted: i64,
    /// Deliveries that have ended so, those of deleted endpoints included.
    pub cancelled: i64,
    /// Their attempts.
    pub attempts: Attempts,
}

impl Counts {
    /// How many deliveries were accepted.
    pub fn accepted(&self) -> i64 {
        self.pending + self.held + self.delivered + self.exhausted + self.cancelled
    }

    /// Notes deliveries that are in one state.
    pub fn note(&mut self, state: State, deliveries: i64) {
        *match state {
            State::Pending => &mut self.pending,
            State::Held => &mut self.held,
            State::Delivered => &mut self.delivered,
            State::Exhausted => &mut self.exhausted,
            State::Cancelled => &mut self.cancelled,
        } += deliveries;
    }

    /// Takes in what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.pending += other.pending;
        self.held += other.held;
        self.delivered += other.delivered;
        self.exhausted += other.exhausted;
        self.cancelled += other.cancelled;
        self.attempts.add(&other.attempts);
    }
}

/// What is counted of attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Those that a receiver took.
    pub succeeded: u64,
    /// Those of sandboxes, in which nobody was asked and which took no time.
    pub simulated: u64,
    /// Those that failed, by what failed.
    pub failed: BTreeMap<ErrorClass, u64>,
    /// How long those took in which somebody was asked.
    pub latencies: Latencies,
}

impl Attempts {
    /// How many there were.
    pub fn total(&self) -> u64 {
        self.succeeded + self.simulated + self.all_failed()
    }

    /// How many failed.
    pub fn all_failed(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Takes in what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.succeeded += other.succeeded;
        self.simulated += other.simulated;
        for (class, count) in &other.failed {
            *self.failed.entry(*class).or_default() += count;
        }
        for (latency, count) in &other.latencies.0 {
            self.latencies.note(*latency, *count);
        }
    }
}

/// A class of durations, as wide as an eighth of what it begins with, so that one number stands for all of it within about
/// 6 %. The number is what the store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Latency(pub u8);

/// Classes of each octave, as bits.
const PARTS_BITS: u32 = 3;
/// The first octave begins with 2 to the power of this in microseconds; what is shorter is one class.
const LEAST_BITS: u32 = 6;

impl Latency {
    /// The class of a duration.
    pub fn of(micros: u32) -> Self {
        let Some(octave) = micros.checked_ilog2().and_then(|log| log.checked_sub(LEAST_BITS)) else {
            return Self(0);
        };
        let part = (micros >> (octave + LEAST_BITS - PARTS_BITS)) & ((1 << PARTS_BITS) - 1);
        Self(u8::try_from(1 + (octave << PARTS_BITS) + part).unwrap_or(u8::MAX))
    }

    /// The middle of the class, in microseconds.
    pub fn micros(self) -> u64 {
        let Some(place) = u32::from(self.0).checked_sub(1) else {
            return 1 << (LEAST_BITS - 1);
        };
        let width_bits = (place >> PARTS_BITS) + LEAST_BITS - PARTS_BITS;
        let parts = u64::from((1 << PARTS_BITS) + (place & ((1 << PARTS_BITS) - 1)));
        (parts << width_bits) + (1 << (width_bits - 1))
    }
}

/// How many attempts there were of each class of durations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies(BTreeMap<Latency, u64>);

impl Latencies {
    /// Notes attempts of one class.
    pub fn note(&mut self, latency: Latency, count: u64) {
        *self.0.entry(latency).or_default() += count;
    }

    /// The classes that there are, with their counts, the shortest first.
    pub fn iter(&self) -> impl Iterator<Item = (Latency, u64)> {
        self.0.iter().map(|(latency, count)| (*latency, *count))
    }

    /// The duration, in microseconds and within about 6 %, that `percent` of all did not exceed; `None` where there are none.
    pub fn quantile_micros(&self, percent: u64) -> Option<u64> {
        let total: u64 = self.0.values().sum();
        let rank = total.saturating_mul(percent).div_ceil(100).max(1);
        let mut seen = 0;
        self.0.iter().find_map(|(latency, count)| {
            seen += count;
            (seen >= rank).then(|| latency.micros())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_stands_for_every_duration_of_its_class() {
        let mut last = Latency(0);
        for step in 0..100_000_u32 {
            let micros = 64 + step * 1_201;
            let class = Latency::of(micros);
            assert!(class >= last, "longer is no lower class");
            let told = class.micros();
            let off = told.abs_diff(u64::from(micros)) * 1_000 / u64::from(micros);
            assert!(off <= 63, "{micros} is told as {told}");
            last = class;
        }
        assert!(Latency::of(63).micros() < 64);
        assert!(
            Latency::of(u32::MAX).0 < u8::MAX,
            "every class has a number of its own"
        );
    }

    #[test]
    fn a_quantile_is_a_duration_that_occurred() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile_micros(50), None);
        for micros in [1_000, 2_000, 3_000, 500_000] {
            latencies.note(Latency::of(micros), 1);
        }
        let of = |micros| Some(Latency::of(micros).micros());
        assert_eq!(latencies.quantile_micros(50), of(2_000));
        assert_eq!(latencies.quantile_micros(75), of(3_000));
        assert_eq!(latencies.quantile_micros(99), of(500_000));
    }

    #[test]
    fn an_hour_begins_where_the_one_before_ends() {
        let at = Timestamp::parse_iso("2024-01-01T00:59:59.999Z").unwrap();
        let hour = Hour::of(at);
        assert_eq!(hour.start().iso_seconds(), "2024-01-01T00:00:00Z");
        assert_eq!(Hour(hour.0 + 1).start().iso_seconds(), "2024-01-01T01:00:00Z");
        assert_eq!(Hour::of_key(Id::least_key_at(at)), hour);
        assert_eq!(Hour::of(Timestamp::from_seconds(-1)), Hour(0));
    }
}
