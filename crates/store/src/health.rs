//! What is known of the endpoints' health: a row for each that has failed, written with the record of the attempt that was
//! its cause, and what a process remembers of all, so that neither publishing nor sending asks the database.
//!
//! A success of a healthy endpoint, by far the most frequent case, writes nothing.

use crate::error::Result;
use crate::hot::Finish;
use crate::outcome;
use crate::tx::{Row, Tx, values};
use parking_lot::Mutex;
use std::collections::HashMap;
use stentor_domain::Timestamp;
use stentor_domain::endpoint::DisabledReason;
use stentor_domain::health::{Asked, Health, Pace, Parked, Waits};
use stentor_domain::judge::Effect;

/// Deliveries handed over to an endpoint that nothing is known of yet; the rest waits in the store for its first answer.
const HANDED_TO_UNKNOWN_MAX: u32 = 16;

/// What a process knows of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its health.
    pub health: Health,
    /// Has it answered in this life of the process?
    answered: bool,
    /// Deliveries handed over before its first answer.
    handed: u32,
}

/// What an endpoint may be trusted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It was not asked yet in this life of the process, and had not failed before.
    Unknown,
    /// It answers.
    Answers,
    /// Its last attempts ended without an answer.
    Suspect,
}

impl Known {
    /// What it may be trusted with.
    pub fn trust(self) -> Trust {
        if self.health.unanswered > 0 {
            Trust::Suspect
        } else if self.answered {
            Trust::Answers
        } else {
            Trust::Unknown
        }
    }
}

/// What is known of the endpoints. One that it does not name is healthy and was not asked yet.
#[derive(Debug, Default)]
pub(crate) struct Healths(Mutex<HashMap<i64, Known>>);

impl Healths {
    /// What the database has of them at a start.
    pub(crate) fn new(healths: HashMap<i64, Health>) -> Self {
        let all = Self::default();
        all.replace(healths);
        all
    }

    /// What is known of one.
    pub(crate) fn get(&self, endpoint: i64) -> Known {
        self.0.lock().get(&endpoint).copied().unwrap_or_default()
    }

    /// How many are not asked for a while.
    pub(crate) fn parked(&self) -> usize {
        let all = self.0.lock();
        all.values()
            .filter(|known| known.health.next_probe_at().is_some())
            .count()
    }

    /// May a delivery that is being accepted be sent by the short way, past the store? Only one that answers, and was not
    /// asked to pause, is trusted with as many as come: what waits for the others must not take the room of everybody. Tells
    /// what it is trusted with, if it may.
    pub(crate) fn takes_at_once(&self, endpoint: i64) -> Option<Trust> {
        let mut all = self.0.lock();
        let known = all.entry(endpoint).or_default();
        if known.health.pace != Pace::Flowing {
            return None;
        }
        let trust = known.trust();
        match trust {
            Trust::Answers => Some(trust),
            Trust::Suspect => None,
            Trust::Unknown => {
                known.handed = known.handed.saturating_add(1);
                (known.handed <= HANDED_TO_UNKNOWN_MAX).then_some(trust)
            }
        }
    }

    /// Keeps what a commit left.
    pub(crate) fn keep(&self, left: Left) {
        if left.health.is_empty() && left.answered.is_empty() {
            return;
        }
        let mut all = self.0.lock();
        for (endpoint, health) in left.health {
            let known = all.entry(endpoint).or_default();
            known.health = health;
            known.answered |= health.unanswered == 0;
        }
        for endpoint in left.answered {
            all.entry(endpoint).or_default().answered = true;
        }
    }

    /// Keeps what the database has, in the place of all that was known.
    pub(crate) fn replace(&self, healths: HashMap<i64, Health>) {
        let mut all = self.0.lock();
        all.values_mut()
            .for_each(|known| known.health = Health::default());
        for (endpoint, health) in healths {
            all.entry(endpoint).or_default().health = health;
        }
    }

    /// Begins anew with an endpoint that its owner has changed, or deleted.
    pub(crate) fn forget(&self, endpoint: i64) {
        self.0.lock().remove(&endpoint);
    }
}

/// What a transaction leaves of the endpoints' health, once it is committed.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// What was written.
    pub(crate) health: HashMap<i64, Health>,
    /// Endpoints that answered for the first time in this life, and are healthy.
    pub(crate) answered: Vec<i64>,
}

/// What a record says of its endpoint; `None` where it says nothing.
pub(crate) fn asked(finish: &Finish) -> Option<Asked> {
    let pause = match finish.effect {
        Effect::None => return None,
        Effect::Failed { pause } => pause,
        Effect::Succeeded | Effect::Gone => None,
    };
    Some(Asked {
        outcome: finish.attempt.outcome,
        pause,
        started_at: finish.attempt.started_at,
        ended_at: finish.ended_at,
    })
}

/// Why the attempt that left `health` is the last straw, if it is.
pub(crate) fn disables(finish: &Finish, health: Health) -> Option<DisabledReason> {
    match finish.effect {
        Effect::Gone => Some(DisabledReason::Gone),
        Effect::Failed { .. } if finish.patience.is_some_and(|most| health.failed_for(most)) => {
            Some(DisabledReason::Failing)
        }
        Effect::None | Effect::Succeeded | Effect::Failed { .. } => None,
    }
}

/// The columns of a row of `endpoint_health` but for its key, in the order in which they are written and read.
pub(crate) struct Columns {
    pub(crate) consecutive_failures: i64,
    pub(crate) unanswered: i64,
    pub(crate) failing_since: Option<i64>,
    pub(crate) last_success_at: Option<i64>,
    pub(crate) last_attempt_at: Option<i64>,
    pub(crate) parked_until: Option<i64>,
    pub(crate) at_once: Option<i64>,
    pub(crate) breaker_wait: i64,
    pub(crate) throttle_wait: i64,
    pub(crate) status: Option<i64>,
    pub(crate) error: Option<&'static str>,
}

impl From<Health> for Columns {
    fn from(health: Health) -> Self {
        let micros = |at: Option<Timestamp>| at.map(Timestamp::micros);
        let (parked_until, at_once, waits, outcome) = match health.pace {
            Pace::Flowing => (None, None, Waits::default(), None),
            Pace::Parked(Parked {
                until,
                waits,
                outcome,
            }) => (Some(until.micros()), None, waits, Some(outcome)),
            Pace::Ramping { at_once, waits } => (None, Some(i64::from(at_once)), waits, None),
        };
        Self {
            consecutive_failures: i64::from(health.consecutive_failures),
            unanswered: i64::from(health.unanswered),
            failing_since: micros(health.failing_since),
            last_success_at: micros(health.last_success_at),
            last_attempt_at: micros(health.last_attempt_at),
            parked_until,
            at_once,
            breaker_wait: i64::from(waits.breaker),
            throttle_wait: i64::from(waits.throttle),
            status: outcome.and_then(|outcome| outcome.status()).map(i64::from),
            error: outcome.and_then(outcome::error),
        }
    }
}

/// The columns that [`read`] reads, of a table `o` that may have no row.
macro_rules! columns {
    () => {
        "coalesce(o.consecutive_failures, 0), coalesce(o.unanswered, 0), o.failing_since, o.last_success_at,
         o.last_attempt_at, o.parked_until, o.at_once, coalesce(o.breaker_wait, 0), coalesce(o.throttle_wait, 0),
         o.status, o.error"
    };
}
pub(crate) use columns;

/// Reads [`columns`], the first of them in column `at`.
pub(crate) fn read(row: &Row<'_>, at: usize) -> Result<Health> {
    let waits = Waits {
        breaker: row.count(at + 7)?,
        throttle: row.count(at + 8)?,
    };
    let pace = match (row.time_or_null(at + 5)?, row.int_or_null(at + 6)?) {
        (Some(until), _) => Pace::Parked(Parked {
            until,
            waits,
            outcome: outcome::read(row, at + 9)?,
        }),
        (None, Some(_)) => Pace::Ramping {
            at_once: row.count(at + 6)?,
            waits,
        },
        (None, None) => Pace::Flowing,
    };
    Ok(Health {
        consecutive_failures: row.count(at)?,
        unanswered: row.count(at + 1)?,
        failing_since: row.time_or_null(at + 2)?,
        last_success_at: row.time_or_null(at + 3)?,
        last_attempt_at: row.time_or_null(at + 4)?,
        pace,
    })
}

/// The endpoints that are not healthy.
pub(crate) async fn all(tx: &mut Tx<'_>) -> Result<HashMap<i64, Health>> {
    let rows = tx
        .rows(
            concat!(
                "SELECT o.endpoint, ",
                columns!(),
                " FROM endpoint_health o WHERE o.consecutive_failures > 0 OR o.parked_until IS NOT NULL OR o.at_once IS NOT NULL"
            ),
            values![],
            |row| Ok((row.int(0)?, read(row, 1)?)),
        )
        .await?;
    Ok(rows.into_iter().collect())
}

/// Forgives an endpoint what it was before its owner changed it.
pub(crate) async fn forgive(tx: &mut Tx<'_>, endpoint: i64) -> Result<()> {
    tx.execute(
        "UPDATE endpoint_health SET consecutive_failures = 0, unanswered = 0, failing_since = NULL, last_attempt_at = NULL,
                parked_until = NULL, at_once = NULL, breaker_wait = 0, throttle_wait = 0, status = NULL, error = NULL
         WHERE endpoint = ?1",
        values![endpoint],
    )
    .await?;
    Ok(())
}
