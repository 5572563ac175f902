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
    THROTTLE_WAIT_SECONDS, THROTTLE_WAIT_SECONDS_MAX,
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
    /// The pause that the answer asks for, zero for one that does not say how long.
    pub pause: Option<Duration>,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
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
            .map(|pause| pause.max(Duration::from_secs(u64::from(throttle))));
        let failing = Duration::from_secs(u64::from(breaker));
        Self::Parked(Parked {
            until: asked.ended_at.plus(failing.max(throttled.unwrap_or_default())),
            waits: Waits { breaker, throttle },
            outcome: asked.outcome,
        })
    }
}

impl Parked {
    /// What was in flight when it was parked may ask for a longer pause.
    fn not_before(self, asked: Asked) -> Self {
        let until = asked.pause.map_or(self.until, |pause| asked.ended_at.plus(pause));
        Self {
            until: self.until.max(until),
            ..self
        }
    }

    /// Could it not be reached at all, so that nobody else on its host can be?
    pub fn unreachable(self) -> bool {
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
        let what = match self.outcome {
            Outcome::Answered(status) => format!("status {status}"),
            Outcome::Failed(class) => class.as_str().to_owned(),
            Outcome::Simulated => "no request".to_owned(),
        };
        if self.waits.breaker > 0 {
            format!(
                "{failures} attempts failed in a row, the last with {what}. Deliveries wait until a probe succeeds."
            )
        } else {
            format!("The receiver asked for a pause ({what}). Deliveries wait until it has passed.")
        }
    }
}
