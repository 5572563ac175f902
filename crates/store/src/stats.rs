//! Statistics: counts of deliveries and of their attempts, by endpoint and by the hour in which the delivery was accepted.
//!
//! They are exact, and cost a delivery no row of its own. What they count is written twice: as the rows of `work`,
//! `deliveries` and `attempts`, and as a change of the counts (see [`tally`]), in one transaction, of which a whole group of
//! deliveries shares one row. Where the changes go, and the failure at each step:
//! 1. kept: a row of `tallies`, committed with what it tells of. The process dies before - neither has happened; after - both
//!    have. A group whose outcome nobody knows is written again only as far as it had not been, and so is its tally;
//! 2. folded: [`Store::fold_stats`] takes tallies out of their table, half a minute later, and adds them to `stats`, an upsert
//!    for each endpoint and hour that they tell of, in one transaction. The process dies - nothing was taken. Two nodes at
//!    once - the second waits at the row of `retention` for the first, and finds its tallies gone;
//! 3. asked: [`Store::stats`] adds up the rows of `stats` and the tallies that are not folded yet, in one snapshot: a change is
//!    in one of them, and never in both;
//! 4. removed: by age, with the finished deliveries (see [`crate::retention`]). What ends later than that is folded into
//!    nothing.
//!
//! Pending and held deliveries are those that were accepted and have not ended; which of both they are follows from their
//! endpoint, as in every list. Erasing content touches none of this: it says that there were deliveries, not what was in them.

use crate::Store;
use crate::error::{Result, StoreError};
use crate::retention::{Budget, Slice};
use crate::tally::{self, Change, Told};
use crate::tx::{Row, Tx, values};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::Timestamp;
use stentor_domain::delivery::State;
use stentor_domain::id::{EndpointId, TenantId};
use stentor_domain::stats::{Attempts, Counts, Hour, Latency};

/// How old the oldest tally is when tallies are folded: until then it meets others of the same endpoints, which saves upserts.
const FOLD_AFTER: Duration = Duration::from_secs(30);
/// How much younger than that the others are which are folded with it: each slice is a commit, which a tally of its own is not worth.
const FOLD_TOGETHER: Duration = Duration::from_secs(1);
/// Tallies that are taken between two looks at the clock. On PostgreSQL each look is a round trip, and nobody waits for it.
const BATCH_TALLIES: u32 = 2;
const BATCH_TALLIES_ON_POSTGRES: u32 = 200;
/// Rows that one slice writes, about.
const SLICE_ROWS: usize = 400;
/// Rows that are removed between two looks at the clock.
const REMOVED_ROWS: i64 = 100;

/// Whose statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsOf {
    /// An endpoint's.
    Endpoint(EndpointId),
    /// A tenant's: of all its endpoints, deleted ones too.
    Tenant(TenantId),
}

/// What changes of one endpoint's hour.
#[derive(Clone, Debug, Default)]
struct Changes {
    accepted: i64,
    delivered: i64,
    exhausted: i64,
    cancelled: i64,
    attempts: Attempts,
}

impl Changes {
    fn note(&mut self, entry: &tally::Entry) {
        match entry.change {
            Change::None => {}
            Change::Accepted => self.accepted += 1,
            Change::Ended(state) => self.end(state, 1),
            Change::Reopened(state) => self.end(state, -1),
        }
        if let Some((told, latency)) = entry.attempt {
            note_outcomes(&mut self.attempts, told, 1);
            if told != Told::Simulated {
                self.attempts.latencies.note(latency, 1);
            }
        }
    }

    fn end(&mut self, state: State, deliveries: i64) {
        match state {
            State::Delivered => self.delivered += deliveries,
            State::Exhausted => self.exhausted += deliveries,
            State::Cancelled => self.cancelled += deliveries,
            State::Pending | State::Held => {}
        }
    }

    /// As people see them: what has not ended is in the state `unfinished`.
    fn shown(self, unfinished: State) -> Counts {
        let mut counts = Counts {
            delivered: self.delivered,
            exhausted: self.exhausted,
            cancelled: self.cancelled,
            attempts: self.attempts,
            ..Counts::default()
        };
        let left = self.accepted - self.delivered - self.exhausted - self.cancelled;
        counts.note(unfinished, left);
        counts
    }
}

fn note_outcomes(attempts: &mut Attempts, told: Told, count: u64) {
    match told {
        Told::Succeeded => attempts.succeeded += count,
        Told::Simulated => attempts.simulated += count,
        Told::Failed(class) => *attempts.failed.entry(class).or_default() += count,
    }
}

/// Attempts as a column of `stats` keeps them: outcomes and classes of duration, each with its count.
#[derive(Serialize, Deserialize)]
struct KeptAttempts {
    outcomes: Vec<(u8, u64)>,
    latencies: Vec<(u8, u64)>,
}

fn encode(attempts: &Attempts) -> Result<Vec<u8>> {
    let mut outcomes = vec![
        (Told::Succeeded, attempts.succeeded),
        (Told::Simulated, attempts.simulated),
    ];
    outcomes.extend(
        attempts
            .failed
            .iter()
            .map(|(class, count)| (Told::Failed(*class), *count)),
    );
    let outcomes = outcomes
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(told, count)| (told.code(), count))
        .collect();
    let latencies = attempts
        .latencies
        .iter()
        .map(|(latency, count)| (latency.0, count))
        .collect();
    let kept = KeptAttempts { outcomes, latencies };
    postcard::to_allocvec(&kept).map_err(|error| StoreError::Unreadable(error.to_string()))
}

fn decode(bytes: &[u8]) -> Result<Attempts> {
    let kept: KeptAttempts =
        postcard::from_bytes(bytes).map_err(|error| StoreError::Unreadable(error.to_string()))?;
    let mut attempts = Attempts::default();
    for (code, count) in kept.outcomes {
        note_outcomes(&mut attempts, tally::told(code)?, count);
    }
    for (latency, count) in kept.latencies {
        attempts.latencies.note(Latency(latency), count);
    }
    Ok(attempts)
}

/// Reads the columns of a row of `stats` from `at` on.
fn read(row: &Row<'_>, at: usize) -> Result<Changes> {
    Ok(Changes {
        accepted: row.int(at)?,
        delivered: row.int(at + 1)?,
        exhausted: row.int(at + 2)?,
        cancelled: row.int(at + 3)?,
        attempts: decode(&row.bytes(at + 4)?)?,
    })
}

impl Store {
    /// What is counted of the deliveries that were accepted in these hours, hour by hour; an hour without any is left out.
    pub async fn stats(&self, of: StatsOf, hours: Range<Hour>) -> Result<BTreeMap<Hour, Counts>> {
        self.ask(move |tx| Box::pin(stats(tx, of, hours))).await
    }

    /// Folds a slice of what is old enough. Tells how many rows it wrote or removed; none: nothing is left.
    pub async fn fold_stats(&self, now: Timestamp) -> Result<usize> {
        let clock = Arc::clone(&self.0.common.clock);
        let due = self
            .ask(move |tx| {
                Box::pin(async move {
                    let oldest = "SELECT at FROM tallies ORDER BY n LIMIT 1";
                    tx.row(oldest, values![], |row| row.time(0)).await
                })
            })
            .await?;
        if due.is_none_or(|oldest| oldest > now.minus(FOLD_AFTER)) {
            return Ok(0);
        }
        self.in_background(move |tx| Box::pin(async move { fold(tx, &Budget::new(&clock), now).await }))
            .await
    }
}

/// The endpoints of an answer, each with the state that its unfinished deliveries are in.
const ENDPOINT: &str = "SELECT e.n, CASE WHEN e.deleted_at IS NOT NULL THEN 'cancelled' WHEN e.status = 'active' THEN 'pending' ELSE 'held' END
     FROM endpoints e WHERE e.n = ?1";
const ENDPOINTS: &str = "SELECT e.n, CASE WHEN e.deleted_at IS NOT NULL THEN 'cancelled' WHEN e.status = 'active' THEN 'pending' ELSE 'held' END
     FROM endpoints e WHERE e.tenant = ?1";
const FOLDED: &str = "SELECT endpoint, hour, accepted, delivered, exhausted, cancelled, attempts FROM stats
     WHERE endpoint = ?1 AND hour >= ?2 AND hour < ?3";
const FOLDED_OF_ALL: &str =
    "SELECT s.endpoint, s.hour, s.accepted, s.delivered, s.exhausted, s.cancelled, s.attempts
     FROM endpoints e JOIN stats s ON s.endpoint = e.n WHERE e.tenant = ?1 AND s.hour >= ?2 AND s.hour < ?3";

async fn stats(tx: &mut Tx<'_>, of: StatsOf, hours: Range<Hour>) -> Result<BTreeMap<Hour, Counts>> {
    let (n, endpoints, folded) = match of {
        StatsOf::Endpoint(id) => (id.n(), ENDPOINT, FOLDED),
        StatsOf::Tenant(id) => (id.n(), ENDPOINTS, FOLDED_OF_ALL),
    };
    let endpoints: HashMap<i64, State> = tx
        .rows(endpoints, values![n], |row| {
            Ok((row.int(0)?, row.word(1, State::parse)?))
        })
        .await?
        .into_iter()
        .collect();
    let range = (i64::from(hours.start.0), i64::from(hours.end.0));
    let mut changes: HashMap<(i64, Hour), Changes> = tx
        .rows(folded, values![n, range.0, range.1], |row| {
            Ok(((row.int(0)?, Hour(row.count(1)?)), read(row, 2)?))
        })
        .await?
        .into_iter()
        .collect();
    let tail = tx
        .rows("SELECT body FROM tallies", values![], |row| row.bytes(0))
        .await?;
    for entry in tail.iter().flat_map(|body| tally::entries(body)) {
        let entry = entry?;
        if hours.contains(&entry.hour) && endpoints.contains_key(&entry.endpoint) {
            changes
                .entry((entry.endpoint, entry.hour))
                .or_default()
                .note(&entry);
        }
    }
    let mut counts: BTreeMap<Hour, Counts> = BTreeMap::new();
    for ((endpoint, hour), changes) in changes {
        if let Some(unfinished) = endpoints.get(&endpoint) {
            counts.entry(hour).or_default().add(&changes.shown(*unfinished));
        }
    }
    Ok(counts)
}

/// The bound of ages. Nobody else folds while it is locked.
const REMOVED_BELOW: &str = "SELECT deliveries_below FROM retention WHERE one = 1";
const REMOVED_BELOW_LOCKED: &str = "SELECT deliveries_below FROM retention WHERE one = 1 FOR UPDATE";
/// Taken out by what is read of them: one that is committed meanwhile stays. The oldest are looked at and no others, of which there may
/// be half a minute's.
const TAKE: &str = "DELETE FROM tallies WHERE n IN
       (SELECT n FROM (SELECT n, at FROM tallies ORDER BY n LIMIT ?2) AS oldest WHERE at <= ?1)
     RETURNING body";

async fn fold(tx: &mut Tx<'_>, budget: &Budget, now: Timestamp) -> Result<usize> {
    let (below, batch) = match tx {
        Tx::Sqlite(_) => (REMOVED_BELOW, BATCH_TALLIES),
        Tx::Postgres(_) => (REMOVED_BELOW_LOCKED, BATCH_TALLIES_ON_POSTGRES),
    };
    let below = tx.row(below, values![], |row| row.int(0)).await?;
    let first_kept = Hour::of_key(below.unwrap_or(0));
    let until = now.minus(FOLD_AFTER - FOLD_TOGETHER);
    let mut changes: HashMap<(i64, Hour), Changes> = HashMap::new();
    let mut taken = 0;
    loop {
        let bodies = tx.rows(TAKE, values![until, batch], |row| row.bytes(0)).await?;
        for entry in bodies.iter().flat_map(|body| tally::entries(body)) {
            let entry = entry?;
            if entry.hour >= first_kept {
                changes
                    .entry((entry.endpoint, entry.hour))
                    .or_default()
                    .note(&entry);
            }
        }
        taken += bodies.len();
        if bodies.is_empty() || changes.len() >= SLICE_ROWS || !budget.allows(taken) {
            break;
        }
    }
    let rows = taken + changes.len();
    for ((endpoint, hour), changes) in changes {
        add(tx, endpoint, hour, changes).await?;
    }
    Ok(rows)
}

async fn add(tx: &mut Tx<'_>, endpoint: i64, hour: Hour, changes: Changes) -> Result<()> {
    let hour = i64::from(hour.0);
    let kept = tx
        .row(
            "SELECT attempts FROM stats WHERE endpoint = ?1 AND hour = ?2",
            values![endpoint, hour],
            |row| decode(&row.bytes(0)?),
        )
        .await?;
    let mut attempts = changes.attempts;
    if let Some(kept) = &kept {
        attempts.add(kept);
    }
    let attempts = encode(&attempts)?;
    tx.execute_one(
        "INSERT INTO stats (endpoint, hour, accepted, delivered, exhausted, cancelled, attempts)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (endpoint, hour) DO UPDATE SET
           accepted = stats.accepted + ?3, delivered = stats.delivered + ?4, exhausted = stats.exhausted + ?5,
           cancelled = stats.cancelled + ?6, attempts = ?7",
        values![
            endpoint,
            hour,
            changes.accepted,
            changes.delivered,
            changes.exhausted,
            changes.cancelled,
            &attempts[..],
        ],
    )
    .await
}

/// Removes what was counted of hours before the one of the key `below`, the oldest first.
pub(crate) async fn remove(tx: &mut Tx<'_>, below: i64) -> Result<Slice> {
    let rows = tx
        .execute(
            "DELETE FROM stats WHERE (endpoint, hour) IN
               (SELECT endpoint, hour FROM stats WHERE hour < ?1 ORDER BY hour LIMIT ?2)",
            values![i64::from(Hour::of_key(below).0), REMOVED_ROWS],
        )
        .await?;
    let full = i64::try_from(rows).is_ok_and(|rows| rows == REMOVED_ROWS);
    Ok(Slice::of(rows, full.then_some(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::{StatementStatus, params};

    /// What it costs to take the oldest tally, and to find no other one to take, where so many are too young; as the engine counts
    /// its steps.
    fn steps_to_take(young: i64) -> i32 {
        let connection = crate::sqlite::empty();
        let mut insert = connection
            .prepare("INSERT INTO tallies (at, body) VALUES (?1, x'00')")
            .unwrap();
        insert.execute([1]).unwrap();
        for _ in 0..young {
            insert.execute([3]).unwrap();
        }
        let mut take = connection.prepare(TAKE).unwrap();
        let taken = [1, 0].map(|_| {
            let bodies = take.query_map(params![2, BATCH_TALLIES], |row| row.get::<_, Vec<u8>>(0));
            bodies.unwrap().count()
        });
        assert_eq!(taken, [1, 0]);
        take.get_status(StatementStatus::VmStep)
    }

    #[test]
    fn taking_what_is_old_costs_the_same_however_much_is_young() {
        assert_eq!(steps_to_take(10), steps_to_take(10_000));
    }
}
