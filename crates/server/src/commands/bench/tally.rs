//! What the receiver has seen: counted, timed, and checked for what came twice or not at all.

use std::collections::HashSet;
use std::mem;
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::stamp::Stamp;

/// Three significant digits: a latency is told to a thousandth of itself.
const LATENCY_DIGITS: u8 = 3;
/// Longer than any round; what takes longer still is told as this.
const LATENCY_MICROS_MAX: u64 = 3_600_000_000;
const BITS: u64 = 64;

/// Latencies in microseconds.
pub(super) type Latencies = Histogram<u64>;

/// Nothing recorded yet.
pub(super) fn no_latencies() -> Latencies {
    Histogram::new_with_max(LATENCY_MICROS_MAX, LATENCY_DIGITS).expect("both are within the library's bounds")
}

/// The deliveries of one round.
pub(super) struct Tally {
    fan_out: u64,
    seen: Mutex<Seen>,
}

struct Seen {
    /// A bit for each event and endpoint of its tenant: sequence times fan-out, and the endpoint's place.
    arrived: Vec<u64>,
    distinct: u64,
    duplicates: u64,
    /// Requests that bore no payload of ours.
    strange: u64,
    /// Of the deliveries since the window was opened.
    latencies: Latencies,
}

impl Tally {
    /// Nothing seen yet, of events that go to `fan_out` endpoints each.
    pub(super) fn new(fan_out: u64) -> Self {
        Self {
            fan_out,
            seen: Mutex::new(Seen {
                arrived: Vec::new(),
                distinct: 0,
                duplicates: 0,
                strange: 0,
                latencies: no_latencies(),
            }),
        }
    }

    /// A request was read whole at `now`, by the endpoint of this place.
    pub(super) fn arrived(&self, stamp: Option<Stamp>, place: Option<u64>, now: Duration) {
        let mut seen = self.seen.lock();
        let (Some(stamp), Some(place)) = (stamp, place.filter(|place| *place < self.fan_out)) else {
            seen.strange += 1;
            return;
        };
        if !seen.mark(stamp.sequence * self.fan_out + place) {
            seen.duplicates += 1;
            return;
        }
        seen.distinct += 1;
        let latency = u64::try_from(now.saturating_sub(stamp.sent).as_micros()).unwrap_or(u64::MAX);
        seen.latencies.saturating_record(latency);
    }

    /// Begins the measured part: latencies are those from here on.
    pub(super) fn open_window(&self) {
        self.seen.lock().latencies.reset();
    }

    /// Ends the measured part, and gives the latencies of its deliveries, as many as there were.
    pub(super) fn close_window(&self) -> Latencies {
        mem::replace(&mut self.seen.lock().latencies, no_latencies())
    }

    /// How many different deliveries have come.
    pub(super) fn distinct(&self) -> u64 {
        self.seen.lock().distinct
    }

    /// How many deliveries came again.
    pub(super) fn duplicates(&self) -> u64 {
        self.seen.lock().duplicates
    }

    /// How many requests were none of ours, or not whole.
    pub(super) fn strange(&self) -> u64 {
        self.seen.lock().strange
    }

    /// How many deliveries have not come, of the first `published` events less the `refused` ones.
    pub(super) fn missing(&self, published: u64, refused: &HashSet<u64>) -> u64 {
        let seen = self.seen.lock();
        let accepted = (0..published).filter(|sequence| !refused.contains(sequence));
        let missing = accepted.map(|sequence| {
            let first = sequence * self.fan_out;
            (first..first + self.fan_out)
                .filter(|bit| !seen.has(*bit))
                .count()
        });
        missing.sum::<usize>().try_into().unwrap_or(u64::MAX)
    }
}

impl Seen {
    fn has(&self, bit: u64) -> bool {
        let (word, mask) = place_of(bit);
        self.arrived.get(word).is_some_and(|bits| bits & mask != 0)
    }

    /// Marks, and says whether it was unmarked before.
    fn mark(&mut self, bit: u64) -> bool {
        let (word, mask) = place_of(bit);
        if self.arrived.len() <= word {
            self.arrived.resize(word + 1, 0);
        }
        let Some(bits) = self.arrived.get_mut(word) else {
            return false;
        };
        let fresh = *bits & mask == 0;
        *bits |= mask;
        fresh
    }
}

fn place_of(bit: u64) -> (usize, u64) {
    (
        usize::try_from(bit / BITS).unwrap_or(usize::MAX),
        1 << (bit % BITS),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(tally: &Tally, sequence: u64, place: u64, micros: u64) {
        let stamp = Stamp {
            sequence,
            sent: Duration::from_micros(100),
        };
        tally.arrived(Some(stamp), Some(place), Duration::from_micros(100 + micros));
    }

    #[test]
    fn what_comes_twice_is_a_duplicate_and_what_never_comes_is_missing() {
        let tally = Tally::new(3);
        for (sequence, place) in [(0, 0), (0, 1), (0, 2), (70, 1), (70, 1)] {
            arrive(&tally, sequence, place, 10);
        }
        assert_eq!((tally.distinct(), tally.duplicates()), (4, 1));
        let between: HashSet<u64> = (1..70).collect();
        assert_eq!(tally.missing(71, &between), 2);
        assert_eq!(tally.missing(1, &HashSet::new()), 0);
        assert_eq!(tally.missing(2, &HashSet::new()), 3);
    }

    #[test]
    fn only_the_window_counts_for_latencies() {
        let tally = Tally::new(1);
        arrive(&tally, 0, 0, 5_000_000);
        tally.open_window();
        for sequence in 1..=100 {
            arrive(&tally, sequence, 0, sequence * 1_000);
        }
        let latencies = tally.close_window();
        arrive(&tally, 101, 0, 9_000_000);
        assert_eq!(latencies.len(), 100);
        for (quantile, expected) in [(0.5, 50_000), (0.99, 99_000), (1.0, 100_000)] {
            let told = latencies.value_at_quantile(quantile);
            assert!(told.abs_diff(expected) <= expected / 1_000, "{quantile}: {told}");
        }
    }

    #[test]
    fn a_request_that_is_none_of_ours_is_counted_apart() {
        let tally = Tally::new(2);
        tally.arrived(None, Some(0), Duration::ZERO);
        arrive(&tally, 0, 2, 10);
        assert_eq!((tally.distinct(), tally.duplicates(), tally.strange()), (0, 0, 2));
    }
}
