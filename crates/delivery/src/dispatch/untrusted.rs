//! The places in flight of endpoints that are not known to answer. A pure structure.
//!
//! A place is free, taken, or resting. It rests when its attempt took as long as one without an answer takes at the least: attempts
//! that start together time out together, and if their places were taken again at that moment, so would be the next ones, in
//! step for ever. Their records and the claims for whoever follows would then fill the writer for a tenth of each second, and
//! whoever publishes in that tenth would wait. So places that hung come back one after the other, as evenly as if they had been
//! taken so. Nothing of it is kept: the first attempts after a start are in step once.

use crate::queue::Places;
use std::collections::VecDeque;
use std::time::Duration;

/// Endpoints that are not known to answer hold one of so many places in flight, together.
const PART: usize = 4;
/// Those of them whose last attempts had no answer hold one of so many of these: one that was not asked yet, as all are after a
/// start, must not wait until others have timed out.
pub(super) const SUSPECTS_PART: usize = 2;
/// The shortest deadline that an endpoint can have. What was in flight for so long has hung.
const DEADLINE_LEAST: Duration = Duration::from_secs(1);

/// Which of these places are taken. Times are of the process's own clock.
#[derive(Debug, Default)]
pub(super) struct UntrustedPlaces {
    most: usize,
    in_flight: usize,
    /// When those that rest are free again, the first in front.
    resting: VecDeque<Duration>,
    /// When the last of those that hung is free again.
    last: Duration,
}

impl UntrustedPlaces {
    /// Their part of `in_flight_max` places.
    pub(super) fn new(in_flight_max: usize) -> Self {
        Self {
            most: (in_flight_max / PART).max(1),
            in_flight: 0,
            resting: VecDeque::new(),
            last: Duration::ZERO,
        }
    }

    /// How many attempts are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Ends the rests that have lasted until `now`.
    pub(super) fn wake(&mut self, now: Duration) {
        while self.resting.front().is_some_and(|until| *until <= now) {
            self.resting.pop_front();
        }
    }

    /// To which endpoints there is a place.
    pub(super) fn free(&self) -> Places {
        let taken = self.in_flight + self.resting.len();
        Places {
            unknown: taken < self.most,
            suspects: taken < (self.most / SUSPECTS_PART).max(1),
        }
    }

    /// When the first rest ends.
    pub(super) fn next_wake(&self) -> Option<Duration> {
        self.resting.front().copied()
    }

    /// An attempt has started.
    pub(super) fn take(&mut self) {
        self.in_flight += 1;
    }

    /// An attempt that had started at `started` has ended at `now`.
    pub(super) fn give_back(&mut self, started: Duration, now: Duration) {
        self.in_flight -= 1;
        if now.saturating_sub(started) < DEADLINE_LEAST {
            return;
        }
        // As many in a second as there are places: taken evenly by attempts of the shortest deadline, they come no faster.
        let apart = DEADLINE_LEAST / u32::try_from(self.most).unwrap_or(u32::MAX);
        self.last = (self.last + apart).max(now);
        if self.last > now {
            self.resting.push_back(self.last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Places = Places {
        unknown: true,
        suspects: true,
    };
    const NONE: Places = Places {
        unknown: false,
        suspects: false,
    };

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn taken(count: usize) -> UntrustedPlaces {
        let mut places = UntrustedPlaces::new(32);
        (0..count).for_each(|_| places.take());
        places
    }

    #[test]
    fn suspects_have_half_of_a_quarter() {
        let only_unknown = Places {
            suspects: false,
            ..ALL
        };
        assert_eq!(taken(3).free(), ALL);
        assert_eq!(taken(4).free(), only_unknown);
        assert_eq!(taken(8).free(), NONE);
    }

    /// Takes every place that is free at `at`; tells how many.
    fn take_all(places: &mut UntrustedPlaces, at: Duration) -> usize {
        places.wake(at);
        let before = places.in_flight();
        while places.free().unknown {
            places.take();
        }
        places.in_flight() - before
    }

    #[test]
    fn places_that_hung_together_come_back_one_after_the_other() {
        let mut places = taken(8);
        let now = millis(5_000);
        (0..8).for_each(|_| places.give_back(millis(4_000), now));
        assert_eq!(take_all(&mut places, now), 1, "the first at once");
        assert_eq!(places.next_wake(), Some(millis(5_125)));
        assert_eq!(take_all(&mut places, millis(5_124)), 0);
        assert_eq!(take_all(&mut places, millis(5_125)), 1);
        assert_eq!(take_all(&mut places, millis(5_875)), 6);
        assert_eq!(places.next_wake(), None);
    }

    #[test]
    fn places_that_hung_evenly_are_free_at_once() {
        let mut places = taken(8);
        for n in 0..8 {
            let now = millis(5_000 + 125 * n);
            places.give_back(millis(4_000 + 125 * n), now);
            assert_eq!(take_all(&mut places, now), 1);
        }
    }

    #[test]
    fn a_place_whose_attempt_was_short_does_not_rest() {
        let mut places = taken(8);
        (0..8).for_each(|_| places.give_back(millis(4_001), millis(5_000)));
        assert_eq!((places.free(), places.next_wake()), (ALL, None));
    }
}
