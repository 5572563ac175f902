//! How long to wait between attempts.

use crate::limits::{JITTER_PERCENT, SCHEDULE_WAIT_SECONDS_MAX, SCHEDULE_WAITS_MAX};
use crate::{Chance, Timestamp};
use std::time::Duration;

/// The waits between attempts, in seconds, one after each failed attempt: 0 to 64 waits of 1 s to a week (contract v1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Vec<u32>);

/// Where a wait starts (contract v1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anchor {
    /// At the failed attempt before it.
    #[default]
    Previous,
    /// The waits add up from the first attempt.
    First,
}

impl Anchor {
    /// The word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Previous => "previous",
            Self::First => "first",
        }
    }

    /// The anchor that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Previous, Self::First]
            .into_iter()
            .find(|anchor| anchor.as_str() == word)
    }
}

impl Default for Schedule {
    /// Standard Webhooks: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h.
    fn default() -> Self {
        Self(vec![5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400])
    }
}

impl Schedule {
    /// So many retries, one each hour.
    pub fn hourly(retries: usize) -> Self {
        Self(vec![3_600; retries.min(SCHEDULE_WAITS_MAX)])
    }

    /// Takes the waits where they keep the rules. The error is the index of the bad wait, if one, and the rule.
    pub fn new(waits: Vec<u32>) -> Result<Self, (Option<usize>, String)> {
        if waits.len() > SCHEDULE_WAITS_MAX {
            return Err((None, format!("must have at most {SCHEDULE_WAITS_MAX} waits")));
        }
        match waits
            .iter()
            .position(|wait| !(1..=SCHEDULE_WAIT_SECONDS_MAX).contains(wait))
        {
            Some(at) => Err((
                Some(at),
                format!("must be 1 to {SCHEDULE_WAIT_SECONDS_MAX} seconds"),
            )),
            None => Ok(Self(waits)),
        }
    }

    /// The waits in seconds.
    pub fn waits(&self) -> &[u32] {
        &self.0
    }

    /// The wait after the `failed`-th failed attempt (counted from 1) with its upward jitter, or `None` where the
    /// schedule is at its end.
    pub fn wait_after(&self, failed: u32, chance: &dyn Chance) -> Option<Duration> {
        let place = usize::try_from(failed.checked_sub(1)?).ok()?;
        let wait = Duration::from_secs(u64::from(*self.0.get(place)?));
        let jitter_most = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX) / 100 * JITTER_PERCENT;
        Some(wait + Duration::from_micros(chance.up_to(jitter_most)))
    }

    /// When the attempt after the `failed`-th failed one is due, or `None` where the schedule is at its end.
    pub fn next_due(&self, failed: u32, failed_at: Timestamp, chance: &dyn Chance) -> Option<Timestamp> {
        self.wait_after(failed, chance).map(|wait| failed_at.plus(wait))
    }
}
