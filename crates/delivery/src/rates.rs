//! When sends to an endpoint with a rate limit may start: evenly, and in any second no more than its limit. A pure structure.
//!
//! Starts lie on a line of places that are a little more than a second divided by the limit apart. A start may be late (timers
//! are, and the request is sent a moment after its turn came) by up to [`LATE_MAX`] without moving the line; what is later
//! moves it. With `n` starts a second, the `n`-th place after that of any start is 1.005 s away, and that start at most 5 ms
//! after its own place: so there is a second between them, whatever the timers do.
//!
//! What the process before this one has sent last is not known: for a second after this one has begun to work for all, nothing
//! is sent that has a limit.

use std::collections::HashMap;
use std::time::Duration;

/// How late a start may be without moving those after it.
const LATE_MAX: Duration = Duration::from_millis(5);
/// What `n` places in a row take, for a limit of `n` a second.
const ROUND: Duration = Duration::from_millis(1_005);
/// The span that no more than the limit may start in.
const SECOND: Duration = Duration::from_secs(1);
/// Endpoints remembered before those are looked for that can be forgotten.
const REMEMBERED_LEAST: usize = 1_024;

/// The lines of the endpoints with a rate limit that were sent to a moment ago. Times are of the process's own clock.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// Nothing that has a limit starts before; nothing at all while somebody else works.
    from: Option<Duration>,
    lines: HashMap<i64, Line>,
    /// How many to remember before those are looked for that can be forgotten.
    sweep_at: usize,
}

/// One endpoint's line.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// The next place.
    next: Duration,
    /// The number of the next start.
    number: u64,
}

/// A start that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    number: u64,
    limit: u16,
}

impl Rates {
    /// Notes whether this process is the one that works for all at `now`.
    pub(crate) fn note_working(&mut self, works: bool, now: Duration) {
        self.from = works.then(|| self.from.unwrap_or(now + SECOND));
    }

    /// Until when nothing may start to an endpoint; `None` where it may at `now`.
    pub(crate) fn rests_until(&self, endpoint: i64, now: Duration) -> Option<Duration> {
        let from = self.from.unwrap_or(now + SECOND);
        let next = self.lines.get(&endpoint).map_or(from, |line| line.next.max(from));
        (next > now).then_some(next)
    }

    /// Counts a start at `now`, which must not be before its place.
    pub(crate) fn start(&mut self, endpoint: i64, limit: u16, now: Duration) -> Turn {
        self.sweep(now);
        let line = self.lines.entry(endpoint).or_insert(Line {
            next: Duration::ZERO,
            number: 0,
        });
        let turn = Turn {
            number: line.number,
            limit,
        };
        line.next = line.next.max(now.saturating_sub(LATE_MAX)) + places(1, limit);
        line.number += 1;
        turn
    }

    /// The request of a turn goes out at `now`: those after it keep their distance from this.
    pub(crate) fn sent(&mut self, endpoint: i64, turn: Turn, now: Duration) {
        if let Some(line) = self.lines.get_mut(&endpoint) {
            let behind = line.number.saturating_sub(turn.number);
            let place = now.saturating_sub(LATE_MAX);
            line.next = line.next.max(place + places(behind, turn.limit));
        }
    }

    /// Forgets what was long ago: without a line, a start is on time as well.
    fn sweep(&mut self, now: Duration) {
        if self.lines.len() >= self.sweep_at {
            self.lines.retain(|_, line| line.next + ROUND > now);
            self.sweep_at = REMEMBERED_LEAST.max(self.lines.len() * 2);
        }
    }
}

/// What so many places take for a limit of so many a second, rounded up.
fn places(count: u64, limit: u16) -> Duration {
    let nanos = u64::try_from(ROUND.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(nanos.saturating_mul(count).div_ceil(u64::from(limit.max(1))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// Of a process that has begun to work.
    fn working() -> Rates {
        let mut rates = Rates::default();
        rates.note_working(true, Duration::ZERO);
        rates
    }

    /// Starts as soon as it may, on a clock that is looked at every `step`, for `span`.
    fn run(limit: u16, step: Duration, span: Duration) -> Vec<Duration> {
        let mut rates = working();
        let (mut now, mut starts) = (Duration::ZERO, Vec::new());
        while now < span {
            while rates.rests_until(1, now).is_none() {
                rates.start(1, limit, now);
                starts.push(now);
            }
            now += step;
        }
        starts
    }

    fn most_in_a_second(starts: &[Duration]) -> usize {
        let within = |start: &Duration| {
            starts
                .iter()
                .filter(|one| *one >= start && **one < *start + SECOND)
                .count()
        };
        starts.iter().map(within).max().unwrap_or(0)
    }

    #[test]
    fn it_is_smooth_and_close_to_the_limit() {
        for limit in [1, 2, 10, 100, 1_000] {
            let starts = run(limit, MILLI, 11 * SECOND);
            let least = usize::from(limit) * 99 / 10;
            assert!(starts.len() >= least, "{limit}: {}", starts.len());
            assert!(most_in_a_second(&starts) <= usize::from(limit));
            let gaps = starts.windows(2).map(|two| two[1] - two[0]);
            let even = SECOND / u32::from(limit);
            assert!(gaps.min().unwrap() + LATE_MAX >= even, "{limit}");
        }
    }

    #[test]
    fn nothing_starts_in_the_first_second_of_a_process_nor_while_another_one_works() {
        assert_eq!(run(10, MILLI, 2 * SECOND)[0], SECOND);
        let mut rates = Rates::default();
        let after = |rates: &Rates, seconds: u32| rates.rests_until(1, seconds * SECOND).is_none();
        assert!(!after(&rates, 100));
        rates.note_working(true, 100 * SECOND);
        assert!(!after(&rates, 100) && after(&rates, 101));
        rates.note_working(true, 105 * SECOND);
        assert!(after(&rates, 105));
        rates.note_working(false, 110 * SECOND);
        rates.note_working(true, 120 * SECOND);
        assert!(!after(&rates, 120) && after(&rates, 121));
    }

    #[test]
    fn a_pause_earns_nothing() {
        let mut rates = working();
        rates.start(1, 10, 2 * SECOND);
        let later = 100 * SECOND;
        assert_eq!(rates.rests_until(1, later), None);
        rates.start(1, 10, later);
        assert!(rates.rests_until(1, later).unwrap() >= later + 95 * MILLI);
    }

    #[test]
    fn what_was_long_ago_is_forgotten_and_what_was_just_now_is_not() {
        let mut rates = working();
        for endpoint in 0..10_000 {
            rates.start(endpoint, 1, 2 * SECOND + MILLI * u32::try_from(endpoint).unwrap());
        }
        assert!(rates.lines.len() < 6_000, "{}", rates.lines.len());
        assert!(rates.rests_until(9_999, 12 * SECOND).is_some());
    }

    proptest! {
        /// Whenever timers fire, however long a request takes from its turn to its start (short of a second), and however
        /// the limit changes.
        #[test]
        fn in_any_second_no_more_start_than_the_limit(
            limit in 1_u16..40,
            steps in proptest::collection::vec((0_u64..300_000, 0_u64..400_000), 1..400),
        ) {
            let mut rates = working();
            let mut now = SECOND;
            let mut turns: Vec<(Duration, Turn)> = Vec::new();
            let mut starts = Vec::new();
            for (wait, delay) in steps {
                now += Duration::from_micros(wait);
                turns.sort_by_key(|(at, _)| *at);
                while turns.first().is_some_and(|(at, _)| *at <= now) {
                    let (at, turn) = turns.remove(0);
                    rates.sent(1, turn, at);
                    starts.push(at);
                }
                while rates.rests_until(1, now).is_none() {
                    turns.push((now + Duration::from_micros(delay), rates.start(1, limit, now)));
                }
            }
            starts.extend(turns.iter().map(|(at, _)| *at));
            starts.sort();
            prop_assert!(most_in_a_second(&starts) <= usize::from(limit));
        }

        #[test]
        fn after_a_change_of_the_limit_the_new_one_holds(
            before in 1_u16..200, after in 1_u16..200, changed in 0_u64..3_000_000,
        ) {
            let mut rates = working();
            let changed = 2 * SECOND + Duration::from_micros(changed);
            let (mut now, mut starts) = (SECOND, Vec::new());
            while now < 8 * SECOND {
                while rates.rests_until(1, now).is_none() {
                    let limit = if now < changed { before } else { after };
                    rates.start(1, limit, now);
                    starts.push(now);
                }
                now += MILLI;
            }
            let later: Vec<Duration> = starts.into_iter().filter(|at| *at >= changed).collect();
            prop_assert!(most_in_a_second(&later) <= usize::from(after));
            prop_assert!(later.len() >= usize::from(after) * 3 / 2);
        }
    }
}
