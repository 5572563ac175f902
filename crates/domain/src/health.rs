//! An endpoint's health: what its attempts so far say of it, and how fast it may be asked next.
//!
//! ```text
//!            10 failures in a row, or an answer that asks for a pause
//!   flowing ----------------------------------------------------------> parked until a time
//!      ^                                                                  |  ^
//!      | as many in flight                                 its time comes |  | the probe fails:
//!      | as ever count                                                    v  | parked for longer
//!      +------------------- ramping: 2, 4, 8 .. in flight <---------- one probe
//!                                     |           the probe succeeds
//!                                     +--> a failure parks it again, for longer (after a breaker)
//! ```
//! Parking delays attempts and never counts them: the schedule of a delivery goes on with its next attempt, however late.
//! Only an attempt that started when the endpoint might be asked says something about its parking: what was in flight when
//! it was parked neither ends nor doubles it.

use crate::Timestamp;
use crate::attempt::{ErrorClass, Outcome};
use crate::limits::{
    BREAKER_FAILURES, BREAKER_WAIT_SECONDS, BREAKER_WAIT_SECONDS_MAX, FAILING_ANEW_AFTER, RAMP_FULL,
    THROTTLE_JITTER_SECONDS_MAX, THROTTLE_WAIT_SECONDS, THROTTLE_WAIT_SECONDS_MAX,
};
use std::time::Duration;

/// What is known of an endpoint's health; the default is that of one which was never asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Attempts that failed since the last one that did not.
    pub consecutive_failures: u32,
    /// Attempts without any answer since the last one with one.
    pub unanswered: u32,
    /// When the first of the failures in a row ended.
    pub failing_since: Option<Timestamp>,
    /// When the last success ended, as far as it followed a failure.
    pub last_success_at: Option<Timestamp>,
    /// When the last attempt ended, as far as it was worth writing down.
    pub last_attempt_at: Option<Timestamp>,
    /// How fast it may be asked.
    pub pace: Pace,
}

/// How fast an endpoint may be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// As its limits say.
    #[default]
    Flowing,
    /// Not at all until a time, then by one probe.
    Parked(Parked),
    /// By a few at once, more with each success.
    Ramping {
        /// How many.
        at_once: u32,
        /// What it was parked for last, should it fail again.
        waits: Waits,
    },
}

/// Why, and until when, an endpoint is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    /// When it may be probed.
    pub until: Timestamp,
    /// How long its waits are by now.
    pub waits: Waits,
    /// What the attempt that parked it came to.
    pub outcome: Outcome,
}

/// How long an endpoint's waits are by now, in seconds; zero where it does not wait for that reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// Since it fails.
    pub breaker: u32,
    /// Since it asked for a pause.
    pub throttle: u32,
}

/// An attempt that says something of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What happened.
    pub outcome: Outcome,
    /// The pause that the answer asks for.
    pub pause: Option<Pause>,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
}

/// A pause that an answer asks for on behalf of the whole endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// How long; zero where the answer does not say.
    pub asked: Duration,
    /// How much longer it is made, in thousandths: many endpoints of one host, answered at one moment, must not all come back
    /// at another.
    pub jitter: u16,
}

impl Pause {
    /// What was asked for, made longer.
    pub fn least(self) -> Duration {
        self.spread(self.asked)
    }

    /// A wait, made longer.
    fn spread(self, wait: Duration) -> Duration {
        let jitter = wait * u32::from(self.jitter) / 1_000;
        wait + jitter.min(Duration::from_secs(THROTTLE_JITTER_SECONDS_MAX))
    }
}

/// How fast an endpoint may be asked at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// As its limits say.
    Full,
    /// At most so many at once.
    AtMost(u32),
    /// Not before a time.
    NotBefore(Timestamp),
}

/// Which state its breaker shows (contract v1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// It is sent to.
    Closed,
    /// It fails, and is not sent to until the next probe.
    Open,
    /// It asked for a pause, and is not sent to until that has passed.
    Throttled,
    /// A probe, or the few deliveries after one that succeeded, show whether it is back.
    HalfOpen,
}

impl Breaker {
    /// The word that contracts show.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Throttled => "throttled",
            Self::HalfOpen => "half_open",
        }
    }
}

/// A turn in an endpoint's life that its operator should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Its breaker opened.
    Failing,
    /// It takes deliveries as before its breaker opened.
    Recovered,
}

impl Health {
    /// The turn that an attempt was, which made `after` of this.
    pub fn turn(self, after: Self) -> Option<Turn> {
        match (self.pace.waits().breaker > 0, after.pace.waits().breaker > 0) {
            (false, true) => Some(Turn::Failing),
            (true, false) => Some(Turn::Recovered),
            _ => None,
        }
    }

    /// What it is after an attempt.
    #[must_use]
    pub fn after(self, asked: Asked) -> Self {
        if asked.outcome.succeeded() {
            return Self {
                consecutive_failures: 0,
                unanswered: 0,
                failing_since: None,
                last_success_at: Some(asked.ended_at),
                last_attempt_at: Some(asked.ended_at),
                pace: self.pace.after_success(asked),
            };
        }
        let consecutive_failures = self.consecutive_failures.saturating_add(1);
        let unanswered = match asked.outcome {
            Outcome::Answered(_) | Outcome::Simulated => 0,
            Outcome::Failed(_) => self.unanswered.saturating_add(1),
        };
        // Who was not asked for days cannot be said to have failed for days.
        let anew = self
            .last_attempt_at
            .is_some_and(|last| asked.ended_at.since(last) >= FAILING_ANEW_AFTER);
        Self {
            consecutive_failures,
            unanswered,
            failing_since: self.failing_since.filter(|_| !anew).or(Some(asked.ended_at)),
            last_success_at: self.last_success_at,
            last_attempt_at: Some(asked.ended_at),
            pace: self.pace.after_failure(asked, consecutive_failures),
        }
    }

    /// The same once its owner changed where it is, or switched it on again: what it was says nothing of what it is.
    #[must_use]
    pub fn forgiven(self) -> Self {
        Self {
            last_success_at: self.last_success_at,
            ..Self::default()
        }
    }

    /// Is there nothing to remember for the next attempts?
    pub fn is_sound(self) -> bool {
        self.consecutive_failures == 0 && self.pace == Pace::Flowing
    }

    /// Has it failed, without one success, for as long as `most`?
    pub fn failed_for(self, most: Duration) -> bool {
        match (self.failing_since, self.last_attempt_at) {
            (Some(since), Some(last)) => last.since(since) >= most,
            _ => false,
        }
    }

    /// How fast it may be asked at `now`.
    pub fn allowance(self, now: Timestamp) -> Allowance {
        match self.pace {
            Pace::Flowing => Allowance::Full,
            Pace::Parked(parked) if parked.until > now => Allowance::NotBefore(parked.until),
            Pace::Parked(_) => Allowance::AtMost(1),
            Pace::Ramping { at_once, .. } => Allowance::AtMost(at_once),
        }
    }

    /// What its breaker shows at `now`.
    pub fn breaker(self, now: Timestamp) -> Breaker {
        match self.pace {
            Pace::Flowing => Breaker::Closed,
            Pace::Parked(parked) if parked.until <= now => Breaker::HalfOpen,
            Pace::Parked(parked) if parked.waits.breaker > 0 => Breaker::Open,
            Pace::Parked(_) => Breaker::Throttled,
            Pace::Ramping { .. } => Breaker::HalfOpen,
        }
    }

    /// Is it parked since it could not be reached at all, so that nobody else on its host can be?
    pub fn is_unreachable(self) -> bool {
        matches!(self.pace, Pace::Parked(parked) if parked.unreachable())
    }

    /// When it is probed next, where it is parked.
    pub fn next_probe_at(self) -> Option<Timestamp> {
        match self.pace {
            Pace::Parked(parked) => Some(parked.until),
            Pace::Flowing | Pace::Ramping { .. } => None,
        }
    }

    /// Why it is not sent to as its limits say, in words for its owner.
    pub fn reason(self) -> Option<String> {
        match self.pace {
            Pace::Flowing => None,
            Pace::Parked(parked) => Some(parked.reason(self.consecutive_failures)),
            Pace::Ramping { at_once, .. } => Some(format!(
                "It answers again. Deliveries follow {at_once} at a time, more with each success."
            )),
        }
    }
}

impl Pace {
    fn waits(self) -> Waits {
        match self {
            Self::Flowing => Waits::default(),
            Self::Parked(Parked { waits, .. }) | Self::Ramping { waits, .. } => waits,
        }
    }

    fn after_success(self, asked: Asked) -> Self {
        match self {
            Self::Flowing => Self::Flowing,
            Self::Parked(parked) if asked.started_at < parked.until => self,
            Self::Parked(Parked { waits, .. }) => Self::Ramping { at_once: 2, waits },
            Self::Ramping { at_once, .. } if at_once >= RAMP_FULL / 2 => Self::Flowing,
            Self::Ramping { at_once, waits } => Self::Ramping {
                at_once: at_once * 2,
                waits,
            },
        }
    }

    fn after_failure(self, asked: Asked, failures: u32) -> Self {
        if asked.outcome == Outcome::GONE {
            // It is disabled, and not asked in any case.
            return self;
        }
        if let Self::Parked(parked) = self
            && asked.started_at < parked.until
        {
            return Self::Parked(parked.not_before(asked));
        }
        let waits = self.waits();
        let breaker = if waits.breaker > 0 {
            (waits.breaker * 2).min(BREAKER_WAIT_SECONDS_MAX)
        } else if failures >= BREAKER_FAILURES {
            BREAKER_WAIT_SECONDS
        } else {
            0
        };
        let throttle = match asked.pause {
            Some(_) => (waits.throttle * 2).clamp(THROTTLE_WAIT_SECONDS, THROTTLE_WAIT_SECONDS_MAX),
            None => waits.throttle,
        };
        if breaker == 0 && asked.pause.is_none() {
            // A probe after a pause failed in another way: it is asked on, one at a time.
            return match self {
                Self::Parked(_) => Self::Ramping { at_once: 1, waits },
                other => other,
            };
        }
        let throttled = asked
            .pause
            .map(|pause| pause.spread(pause.asked.max(Duration::from_secs(u64::from(throttle)))));
        let failing = Duration::from_secs(u64::from(breaker));
        Self::Parked(Parked {
            until: asked.ended_at.plus(failing.max(throttled.unwrap_or_default())),
            waits: Waits { breaker, throttle },
            outcome: asked.outcome,
        })
    }
}

/// Why the breaker of an endpoint is open, in words for its owner.
pub fn failing_in_words(failures: u32, last: Outcome) -> String {
    let what = last.words();
    format!(
        "{failures} attempts failed in a row, the last with {what}. Deliveries wait until a probe succeeds."
    )
}

impl Parked {
    /// What was in flight when it was parked may ask for a longer pause.
    fn not_before(self, asked: Asked) -> Self {
        let until = asked
            .pause
            .map_or(self.until, |pause| asked.ended_at.plus(pause.least()));
        Self {
            until: self.until.max(until),
            ..self
        }
    }

    fn unreachable(self) -> bool {
        matches!(
            self.outcome,
            Outcome::Failed(
                ErrorClass::DnsNotFound
                    | ErrorClass::DnsFailure
                    | ErrorClass::NoRoute
                    | ErrorClass::Connect
                    | ErrorClass::Tls
                    | ErrorClass::Timeout
            )
        )
    }

    fn reason(self, failures: u32) -> String {
        if self.waits.breaker > 0 {
            failing_in_words(failures, self.outcome)
        } else {
            let what = self.outcome.words();
            format!("The receiver asked for a pause ({what}). Deliveries wait until it has passed.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// An attempt of no time at `at`.
    fn asked(outcome: Outcome, at: Timestamp) -> Asked {
        Asked {
            outcome,
            pause: None,
            started_at: at,
            ended_at: at,
        }
    }

    fn to_the_second(asked: Duration) -> Pause {
        Pause { asked, jitter: 0 }
    }

    fn failed(times: u32) -> Health {
        (0..times).fold(Health::default(), |health, _| {
            health.after(asked(Outcome::Answered(500), NOW))
        })
    }

    #[test]
    fn the_tenth_failure_in_a_row_parks_it_for_half_a_minute() {
        assert_eq!(failed(9).allowance(NOW), Allowance::Full);
        assert_eq!(
            failed(10).allowance(NOW),
            Allowance::NotBefore(NOW.plus(seconds(30)))
        );
        assert_eq!(failed(10).allowance(NOW.plus(seconds(30))), Allowance::AtMost(1));
    }

    #[test]
    fn what_was_in_flight_when_it_was_parked_neither_doubles_nor_ends_it() {
        let parked = failed(10);
        let late = |outcome| parked.after(asked(outcome, NOW.plus(seconds(5)))).next_probe_at();
        assert_eq!(late(Outcome::Answered(500)), parked.next_probe_at());
        assert_eq!(late(Outcome::Answered(200)), parked.next_probe_at());
    }

    #[test]
    fn waits_double_to_ten_minutes() {
        let mut health = failed(10);
        let mut waits = Vec::new();
        for _ in 0..6 {
            let probe = health.next_probe_at().unwrap();
            health = health.after(asked(Outcome::Failed(ErrorClass::Connect), probe));
            waits.push(health.next_probe_at().unwrap().since(probe).as_secs());
        }
        assert_eq!(waits, [60, 120, 240, 480, 600, 600]);
    }

    #[test]
    fn who_asks_for_a_pause_again_and_again_waits_longer_to_a_minute_and_never_less_than_asked() {
        let mut health = Health::default();
        let mut at = NOW;
        let mut waits = Vec::new();
        for pause in [0, 0, 0, 300, 0, 0, 0, 0] {
            let busy = Asked {
                pause: Some(to_the_second(seconds(pause))),
                ..asked(Outcome::Answered(429), at)
            };
            // Not ten in a row, which would open the breaker too.
            health.consecutive_failures = 0;
            health = health.after(busy);
            let until = health.next_probe_at().unwrap();
            waits.push(until.since(at).as_secs());
            at = until;
        }
        assert_eq!(waits, [1, 2, 4, 300, 16, 32, 60, 60]);
    }

    #[test]
    fn jitter_makes_a_pause_longer_by_its_part_and_by_a_minute_at_most() {
        let parked_for = |asked_for: u64, jitter: u16| {
            let pause = Some(Pause {
                asked: seconds(asked_for),
                jitter,
            });
            let busy = Asked {
                pause,
                ..asked(Outcome::Answered(429), NOW)
            };
            let until = Health::default().after(busy).next_probe_at();
            until.unwrap().since(NOW).as_millis()
        };
        assert_eq!(parked_for(0, 200), 1_200);
        assert_eq!(parked_for(100, 0), 100_000);
        assert_eq!(parked_for(100, 150), 115_000);
        assert_eq!(parked_for(86_400, 200), 86_460_000);
    }

    #[test]
    fn a_failure_on_the_way_back_parks_it_again_for_longer() {
        let parked = failed(10);
        let probe = parked.next_probe_at().unwrap();
        let ramping = parked.after(asked(Outcome::Answered(200), probe));
        assert_eq!(ramping.allowance(probe), Allowance::AtMost(2));
        let again = ramping.after(asked(Outcome::Answered(500), probe));
        assert_eq!(
            again.allowance(probe),
            Allowance::NotBefore(probe.plus(seconds(60)))
        );
    }

    proptest! {
        #[test]
        fn every_endpoint_that_works_again_comes_back_and_none_waits_longer_than_it_must(
            story in proptest::collection::vec((any::<bool>(), 0_u64..700, prop::option::of(0_u64..90_000)), 0..60)
        ) {
            let mut health = Health::default();
            let mut now = NOW;
            for (works, later, pause) in story {
                now = now.plus(seconds(later));
                if let Allowance::NotBefore(until) = health.allowance(now) {
                    now = until;
                }
                let pause = pause.map(seconds).filter(|_| !works);
                let outcome = Outcome::Answered(if works { 200 } else { 429 });
                let before = health;
                health = health.after(Asked { pause: pause.map(to_the_second), ..asked(outcome, now) });
                prop_assert_eq!(health.consecutive_failures == 0, works);
                prop_assert_eq!(health.failing_since.is_none(), works);
                if let Some(until) = health.next_probe_at() {
                    let most = seconds(600).max(pause.unwrap_or_default());
                    prop_assert!(until.since(now) <= most);
                    prop_assert!(until.since(now) >= pause.unwrap_or_default());
                }
                prop_assert_eq!(before.turn(health) == Some(Turn::Recovered),
                    before.pace.waits().breaker > 0 && health.pace == Pace::Flowing);
            }
            // However it was: enough successes make it whole.
            for _ in 0..12 {
                if let Allowance::NotBefore(until) = health.allowance(now) {
                    now = until;
                }
                health = health.after(asked(Outcome::Answered(200), now));
            }
            prop_assert!(health.is_sound());
            prop_assert_eq!(health.reason(), None);
        }
    }
}
