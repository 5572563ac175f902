//! What follows from an attempt: the only place that decides.

use crate::attempt::{ErrorClass, Outcome, Trigger};
use crate::health::Pause;
use crate::limits::{JITTER_PERCENT, OWN_FAULT_WAIT, OWN_FAULT_WAIT_MAX};
use crate::schedule::{Anchor, Schedule};
use crate::{Chance, Timestamp};
use std::time::Duration;

/// Upward jitter of a wait that is anchored at the first attempt; it must not add up (contract subscriptions).
const ANCHORED_JITTER_SECONDS_MAX: u64 = 60;

/// What the endpoint's owner wants done about failures.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// The waits between attempts.
    pub schedule: &'a Schedule,
    /// Where the waits start.
    pub anchor: Anchor,
}

/// An attempt that has just ended, and where it stands in its delivery.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    /// Why it existed.
    pub trigger: Trigger,
    /// What happened.
    pub outcome: Outcome,
    /// The wait that the answer's `Retry-After` asked for.
    pub retry_after: Option<Duration>,
    /// Failed attempts before it that took a place in the present schedule.
    pub failed_before: u32,
    /// Attempts before it that took none, about: those of earlier schedules of the delivery may be among them.
    pub unplaced_before: u32,
    /// When the first attempt of the present schedule started.
    pub first_started_at: Timestamp,
}

/// What follows for the delivery and for its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// For the delivery.
    pub delivery: Step,
    /// For the endpoint.
    pub endpoint: Effect,
}

/// What follows for the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is delivered.
    Done,
    /// It is tried again at this time, whoever's fault the failure was.
    RetryAt(Timestamp),
    /// It is exhausted.
    GiveUp,
}

/// What follows for the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: a test, a fault of ours, or nobody was asked.
    None,
    /// It works: its count of failures in a row begins anew.
    Succeeded,
    /// One more failure in a row.
    Failed {
        /// The pause that the answer asks for.
        pause: Option<Pause>,
    },
    /// It is disabled, since the receiver says that it is gone for good.
    Gone,
}

/// Decides what follows from an attempt that ended at `now`.
pub fn judge(policy: Policy<'_>, tried: Tried, now: Timestamp, chance: &dyn Chance) -> Verdict {
    if tried.outcome.succeeded() {
        let endpoint = if tried.trigger == Trigger::Test || tried.outcome == Outcome::Simulated {
            Effect::None
        } else {
            Effect::Succeeded
        };
        return Verdict {
            delivery: Step::Done,
            endpoint,
        };
    }
    if tried.trigger == Trigger::Test {
        return Verdict {
            delivery: Step::GiveUp,
            endpoint: Effect::None,
        };
    }
    match tried.outcome {
        Outcome::Failed(class) if class.ours() => {
            let wait = if class == ErrorClass::Shutdown {
                Duration::ZERO
            } else {
                own_fault_wait(tried.unplaced_before, chance)
            };
            Verdict {
                delivery: Step::RetryAt(now.plus(wait)),
                endpoint: Effect::None,
            }
        }
        // Held with the rest until the endpoint is active again, and due from that moment.
        Outcome::GONE => Verdict {
            delivery: Step::RetryAt(now),
            endpoint: Effect::Gone,
        },
        _ => {
            let due = next_due(policy, tried, now, chance);
            let pause = pause(tried, chance);
            let asked = pause.map(Pause::least).or(tried.retry_after);
            let delivery = due.map_or(Step::GiveUp, |due| Step::RetryAt(not_before(due, now, asked)));
            Verdict {
                delivery,
                endpoint: Effect::Failed { pause },
            }
        }
    }
}

/// Longer with each attempt, since no schedule ends it: what is at fault should be mended, not besieged.
fn own_fault_wait(unplaced_before: u32, chance: &dyn Chance) -> Duration {
    let doubled = OWN_FAULT_WAIT.saturating_mul(1_u32.checked_shl(unplaced_before).unwrap_or(u32::MAX));
    let wait = doubled.min(OWN_FAULT_WAIT_MAX);
    let jitter_most = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX) / 100 * JITTER_PERCENT;
    wait + Duration::from_micros(chance.up_to(jitter_most))
}

/// The pause that a failure asks for on behalf of the whole endpoint (security rules: 429, 502 and 504 throttle; so does a
/// receiver that says how long it is out of service).
fn pause(tried: Tried, chance: &dyn Chance) -> Option<Pause> {
    let asked = match tried.outcome {
        Outcome::Answered(429 | 502 | 504) => tried.retry_after.unwrap_or_default(),
        Outcome::Answered(503) => tried.retry_after?,
        _ => return None,
    };
    let jitter = chance.up_to(JITTER_PERCENT * 10);
    Some(Pause {
        asked,
        jitter: u16::try_from(jitter).unwrap_or_default(),
    })
}

/// `Retry-After` is never undercut, and a pause of the whole endpoint is one of each delivery.
fn not_before(due: Timestamp, now: Timestamp, asked: Option<Duration>) -> Timestamp {
    due.max(now.plus(asked.unwrap_or(Duration::ZERO)))
}

fn next_due(policy: Policy<'_>, tried: Tried, now: Timestamp, chance: &dyn Chance) -> Option<Timestamp> {
    match policy.anchor {
        Anchor::Previous => policy
            .schedule
            .next_due(tried.failed_before.saturating_add(1), now, chance),
        Anchor::First => next_anchored(policy.schedule, tried.first_started_at, now, chance),
    }
}

/// The first place of the schedule that is still to come. Places that passed while the delivery was held, or while a
/// `Retry-After` delayed it, have merged into the attempt just made.
fn next_anchored(
    schedule: &Schedule,
    first: Timestamp,
    now: Timestamp,
    chance: &dyn Chance,
) -> Option<Timestamp> {
    let mut place = first;
    for &wait in schedule.waits() {
        place = place.plus(Duration::from_secs(u64::from(wait)));
        if place > now {
            let jitter_most = u64::from(wait) * 1_000_000 / 100 * JITTER_PERCENT;
            let jitter = chance.up_to(jitter_most.min(ANCHORED_JITTER_SECONDS_MAX * 1_000_000));
            return Some(place.plus(Duration::from_micros(jitter)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Draws the same number again and again.
    struct Always(u64);
    impl Chance for Always {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.copy_from_slice(&self.0.to_le_bytes()[..bytes.len()]);
        }
    }

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn tried(outcome: Outcome, failed_before: u32) -> Tried {
        Tried {
            trigger: Trigger::Event,
            outcome,
            retry_after: None,
            failed_before,
            unplaced_before: 0,
            first_started_at: NOW,
        }
    }

    fn judged(tried: Tried) -> Verdict {
        let schedule = Schedule::default();
        judge(
            Policy {
                schedule: &schedule,
                anchor: Anchor::Previous,
            },
            tried,
            NOW,
            &Always(0),
        )
    }

    #[test]
    fn only_2xx_is_success() {
        for status in [200, 201, 204, 299] {
            assert_eq!(judged(tried(Outcome::Answered(status), 3)).delivery, Step::Done);
        }
        for status in [100, 101, 199, 300, 301, 307, 400, 404, 429, 500, 600, 999] {
            assert_ne!(
                judged(tried(Outcome::Answered(status), 3)).delivery,
                Step::Done,
                "{status}"
            );
        }
    }

    #[test]
    fn what_a_sandbox_simulates_is_delivered_and_tells_nothing_of_the_endpoint() {
        for trigger in [Trigger::Event, Trigger::Retry, Trigger::Test] {
            let simulated = Tried {
                trigger,
                ..tried(Outcome::Simulated, 9)
            };
            assert_eq!(
                judged(simulated),
                Verdict {
                    delivery: Step::Done,
                    endpoint: Effect::None
                }
            );
        }
    }

    #[test]
    fn every_failure_takes_the_next_place_until_the_schedule_ends() {
        let waits = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        for (failed_before, wait) in (0..).zip(waits) {
            let verdict = judged(tried(Outcome::Failed(ErrorClass::Timeout), failed_before));
            assert_eq!(
                verdict.delivery,
                Step::RetryAt(NOW.plus(Duration::from_secs(wait)))
            );
            assert_eq!(verdict.endpoint, Effect::Failed { pause: None });
        }
        assert_eq!(judged(tried(Outcome::Answered(500), 9)).delivery, Step::GiveUp);
        assert_eq!(
            judged(tried(Outcome::Answered(500), u32::MAX)).delivery,
            Step::GiveUp
        );
    }

    #[test]
    fn jitter_goes_up_and_to_a_fifth() {
        let schedule = Schedule::default();
        let policy = Policy {
            schedule: &schedule,
            anchor: Anchor::Previous,
        };
        let most = judge(policy, tried(Outcome::Answered(500), 0), NOW, &Always(u64::MAX));
        assert_eq!(most.delivery, Step::RetryAt(NOW.plus(Duration::from_secs(6))));
    }

    #[test]
    fn retry_after_is_never_undercut_and_never_hastens() {
        let mut asked = tried(Outcome::Answered(503), 0);
        asked.retry_after = Some(Duration::from_secs(90));
        assert_eq!(
            judged(asked).delivery,
            Step::RetryAt(NOW.plus(Duration::from_secs(90)))
        );
        asked.retry_after = Some(Duration::from_secs(1));
        assert_eq!(
            judged(asked).delivery,
            Step::RetryAt(NOW.plus(Duration::from_secs(5)))
        );
    }

    #[test]
    fn gone_holds_the_delivery_and_disables_the_endpoint() {
        let verdict = judged(tried(Outcome::Answered(410), 9));
        assert_eq!(
            verdict,
            Verdict {
                delivery: Step::RetryAt(NOW),
                endpoint: Effect::Gone
            }
        );
    }

    #[test]
    fn a_fault_of_ours_costs_no_place() {
        let verdict = judged(tried(Outcome::Failed(ErrorClass::Shutdown), 9));
        assert_eq!(
            verdict,
            Verdict {
                delivery: Step::RetryAt(NOW),
                endpoint: Effect::None
            }
        );
    }

    #[test]
    fn a_fault_of_ours_that_lasts_is_tried_again_less_and_less_often() {
        for (unplaced_before, seconds) in [
            (0, 1),
            (1, 2),
            (5, 32),
            (8, 256),
            (9, 300),
            (40, 300),
            (u32::MAX, 300),
        ] {
            let tried = Tried {
                unplaced_before,
                ..tried(Outcome::Failed(ErrorClass::Proxy), 9)
            };
            let due = NOW.plus(Duration::from_secs(seconds));
            assert_eq!(judged(tried).delivery, Step::RetryAt(due), "{unplaced_before}");
        }
    }

    #[test]
    fn a_test_is_tried_once_without_consequences() {
        for outcome in [
            Outcome::Answered(410),
            Outcome::Answered(500),
            Outcome::Failed(ErrorClass::Connect),
        ] {
            let test = Tried {
                trigger: Trigger::Test,
                ..tried(outcome, 0)
            };
            assert_eq!(
                judged(test),
                Verdict {
                    delivery: Step::GiveUp,
                    endpoint: Effect::None
                }
            );
        }
    }

    #[test]
    fn anchored_waits_do_not_add_their_jitter_and_missed_places_merge() {
        let schedule = Schedule::new(vec![3_600; 48]).unwrap();
        let policy = Policy {
            schedule: &schedule,
            anchor: Anchor::First,
        };
        let hour = |k: u64| NOW.plus(Duration::from_secs(3_600 * k));
        let at = |now| judge(policy, tried(Outcome::Answered(500), 0), now, &Always(0)).delivery;
        assert_eq!(at(NOW), Step::RetryAt(hour(1)));
        assert_eq!(at(hour(1).plus(Duration::from_secs(59))), Step::RetryAt(hour(2)));
        assert_eq!(at(hour(30).plus(Duration::from_secs(1))), Step::RetryAt(hour(31)));
        assert_eq!(at(hour(48)), Step::GiveUp);
        let late = judge(policy, tried(Outcome::Answered(500), 0), NOW, &Always(u64::MAX)).delivery;
        assert_eq!(late, Step::RetryAt(hour(1).plus(Duration::from_secs(60))));
    }

    proptest! {
        #[test]
        fn no_verdict_lies_in_the_past_or_panics(status in any::<u16>(), failed in any::<u32>(), draw in any::<u64>(),
                                                 waits in proptest::collection::vec(1_u32..=604_800, 0..=64)) {
            let schedule = Schedule::new(waits).unwrap();
            for anchor in [Anchor::Previous, Anchor::First] {
                let verdict = judge(Policy { schedule: &schedule, anchor }, tried(Outcome::Answered(status), failed), NOW, &Always(draw));
                if let Step::RetryAt(due) = verdict.delivery {
                    prop_assert!(due >= NOW);
                }
            }
        }
    }
}
