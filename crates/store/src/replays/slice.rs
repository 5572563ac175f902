//! The steps that the background takes, each in one transaction.

use super::look::{self, in_range, named, next_phase};
use super::rows::{Job, encode, find};
use super::{Extent, Keys, Missing, Turn};
use crate::change::tick;
use crate::error::{Result, StoreError};
use crate::ordering;
use crate::retention::payload_gone;
use crate::tally::{self, Change, Tally};
use crate::tx::{PerEngine, Tx, values};
use stentor_domain::Timestamp;
use stentor_domain::attempt::Trigger;
use stentor_domain::delivery::{Reason, State};
use stentor_domain::id::{DeliveryId, Id};
use stentor_domain::key::Scope;
use stentor_domain::limits::REPLAY_SLICE_ROWS;
use stentor_domain::replay::ReplayState;

/// The replay of a turn, if it is still where the turn saw it, and may go on.
async fn as_seen(tx: &mut Tx<'_>, turn: &Turn) -> Result<Option<Job>> {
    let job = find(tx, Scope::Root, turn.replay.id).await?;
    Ok(job.filter(|job| {
        let deleted = job.replay.state != job.stored;
        let disabled = job.replay.reason == Some(Reason::EndpointDisabled);
        job.stored == turn.stored && job.keys() == turn.keys && !deleted && !disabled
    }))
}

pub(super) async fn start(tx: &mut Tx<'_>, turn: &Turn, extent: Extent) -> Result<usize> {
    tick(tx).await?;
    let Some(mut job) = as_seen(tx, turn).await? else {
        return Ok(0);
    };
    job.place.total = extent.total;
    job.place.considered = extent.unfinished;
    job.place.skipped = extent.unfinished;
    let progress = encode(&job.place)?;
    tx.execute(
        "UPDATE jobs SET status = ?1, progress = ?2 WHERE n = ?3 AND status = ?4",
        values![
            ReplayState::Running.as_str(),
            &progress[..],
            turn.replay.id.n(),
            ReplayState::Queued.as_str(),
        ],
    )
    .await
}

/// Back into `work` goes what is named and has its payload; 4 and 5 as in [`look::FINISHED`], 10 the first of the places that it gets
/// at an ordered endpoint.
pub(super) const REOPEN: PerEngine = in_range!(
    "deliveries" "d" of "endpoint",
    "INSERT INTO work (n, tag, event, endpoint, tenant, shard, attempt, due_at, cause, replay, seq)
     SELECT d.n, d.tag, d.event, d.endpoint, d.tenant, ?6, d.attempts + 1, ?7, ?8, ?9,
            CAST(?10 AS BIGINT) + row_number() OVER (ORDER BY d.n) - 1
     FROM deliveries d JOIN events v ON v.n = d.event JOIN tenants t ON t.n = v.tenant",
    concat!("AND ", payload_gone!(), " IS NULL AND ", named!()),
    ""
);
/// What is in `work` now leaves `deliveries`, the attempt inside it for `attempts`.
pub(super) const KEEP_ATTEMPTS: PerEngine = in_range!(
    "deliveries" "d" of "endpoint",
    "INSERT INTO attempts (delivery, no, started_at, cause, status, error, micros, exchange)
     SELECT d.n, d.attempts, d.started_at, d.cause, d.status, d.error, d.micros, d.exchange FROM deliveries d",
    "AND d.exchange IS NOT NULL AND EXISTS (SELECT 1 FROM work w WHERE w.n = d.n) ON CONFLICT DO NOTHING",
    ""
);
pub(super) const LEAVE: PerEngine = in_range!(
    "deliveries" "deliveries" of "endpoint",
    "DELETE FROM deliveries",
    "AND EXISTS (SELECT 1 FROM work w WHERE w.n = deliveries.n) RETURNING n, state",
    ""
);

pub(super) async fn reopen(tx: &mut Tx<'_>, turn: &Turn, now: Timestamp) -> Result<usize> {
    tick(tx).await?;
    let Some(mut job) = as_seen(tx, turn).await? else {
        return Ok(0);
    };
    let (spec, endpoint) = (&turn.replay.spec, turn.replay.endpoint.n());
    let rows = look::finished(tx, endpoint, spec, turn.keys, REPLAY_SLICE_ROWS).await?;
    let named = rows.iter().filter(|row| row.named).count();
    let mut replayed = 0;
    if let Some(last) = rows.last().filter(|_| named > 0) {
        let slice = Keys {
            before: last.n + 1,
            ..turn.keys
        };
        let first = ordering::draw(tx, endpoint, named).await?;
        replayed = take_back(tx, turn, slice, first, now).await?;
    }
    let place = &mut job.place;
    place.considered += count(rows.len());
    place.replayed += count(replayed);
    place.skipped += count(named.saturating_sub(replayed));
    place.after = rows.last().map_or(place.after, |last| last.n);
    let complete = rows.len() < usize::try_from(REPLAY_SLICE_ROWS).unwrap_or(usize::MAX);
    conclude(tx, turn, job, complete, now).await?;
    Ok(rows.len().max(1))
}

async fn take_back(
    tx: &mut Tx<'_>,
    turn: &Turn,
    slice: Keys,
    first_place: Option<i64>,
    now: Timestamp,
) -> Result<usize> {
    let (spec, endpoint) = (&turn.replay.spec, turn.replay.endpoint.n());
    let replayed = tx
        .execute(
            REOPEN.of(tx),
            values![
                endpoint,
                slice.after,
                slice.before,
                spec.state.map(|state| state.as_str()),
                spec.event_type.as_ref().map(|name| name.as_str()),
                i64::from(turn.shard),
                now,
                Trigger::Replay.as_str(),
                turn.replay.id.n(),
                first_place,
            ],
        )
        .await?;
    let range = values![endpoint, slice.after, slice.before];
    tx.execute(KEEP_ATTEMPTS.of(tx), range).await?;
    let left = tx
        .rows(LEAVE.of(tx), range, |row| {
            Ok((row.int(0)?, row.word(1, State::parse)?))
        })
        .await?;
    let mut tally = Tally::default();
    for (delivery, state) in &left {
        tally.note(endpoint, *delivery, Change::Reopened(*state));
    }
    tally.keep(tx, now).await?;
    if left.len() == replayed {
        Ok(replayed)
    } else {
        let left = left.len();
        Err(StoreError::Unavailable(format!(
            "{replayed} deliveries were to be replayed and {left} were there; the slice is tried again"
        )))
    }
}

pub(super) async fn insert(tx: &mut Tx<'_>, turn: &Turn, missing: Missing, now: Timestamp) -> Result<usize> {
    tick(tx).await?;
    let Some(mut job) = as_seen(tx, turn).await? else {
        return Ok(0);
    };
    let mut tally = Tally::default();
    for (event, delivery) in &missing.deliveries {
        tally.note(delivery.endpoint, delivery.id.n(), Change::Accepted);
        let place = ordering::draw(tx, delivery.endpoint, 1).await?;
        tx.execute_one(
            "INSERT INTO work (n, tag, event, endpoint, tenant, shard, attempt, due_at, cause, replay, seq)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8, ?9, ?10)",
            values![
                delivery.id.n(),
                delivery.id.0.tag,
                *event,
                delivery.endpoint,
                turn.replay.tenant.n(),
                i64::from(delivery.shard),
                now,
                Trigger::Replay.as_str(),
                turn.replay.id.n(),
                place,
            ],
        )
        .await?;
    }
    tally.keep(tx, now).await?;
    let place = &mut job.place;
    place.considered += u64::from(missing.considered);
    place.replayed += count(missing.deliveries.len());
    place.skipped += u64::from(missing.skipped);
    place.after = missing.last.unwrap_or(place.after);
    conclude(tx, turn, job, missing.complete, now).await?;
    Ok(1)
}

/// Writes down how far the replay has come: to the next phase, or to its end, where the present phase is complete.
async fn conclude(tx: &mut Tx<'_>, turn: &Turn, mut job: Job, complete: bool, now: Timestamp) -> Result<()> {
    let mut done = false;
    if complete {
        match next_phase(&turn.replay.spec, turn.phase) {
            Some(_) => {
                job.place.missing = true;
                job.place.after = Id::least_key_at(turn.replay.spec.since) - 1;
            }
            None => done = true,
        }
    }
    let progress = encode(&job.place)?;
    let state = if done {
        ReplayState::Done
    } else {
        ReplayState::Running
    };
    let ended_at = done.then_some(now);
    tx.execute_one(
        "UPDATE jobs SET status = ?1, progress = ?2, finished_at = ?3, swept_at = ?3 WHERE n = ?4",
        values![state.as_str(), &progress[..], ended_at, turn.replay.id.n()],
    )
    .await
}

/// What a step has ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// The keys of those that waited.
    pub(super) at_once: Vec<i64>,
    /// Those in a node's memory.
    pub(super) with_their_attempts: Vec<DeliveryId>,
    /// Nothing was left, which was written down.
    nothing_left: bool,
}

impl Ended {
    pub(super) fn rows(&self) -> usize {
        self.at_once.len() + self.with_their_attempts.len() + usize::from(self.nothing_left)
    }
}

/// What a replay has brought, is unfinished, and nobody has asked to end.
pub(super) const BROUGHT: &str = "SELECT n, tag, CASE WHEN owner IS NULL THEN 0 ELSE 1 END FROM work
     WHERE endpoint = ?1 AND replay = ?2 AND cancel_requested = 0 ORDER BY n LIMIT ?3";
/// The same on PostgreSQL: nobody can claim one, give it back or record its attempt until this is made.
pub(super) const BROUGHT_AND_HELD: &str = "SELECT n, tag, CASE WHEN owner IS NULL THEN 0 ELSE 1 END FROM work
     WHERE endpoint = ?1 AND replay = ?2 AND cancel_requested = 0 ORDER BY n LIMIT ?3 FOR UPDATE";

pub(super) async fn end(tx: &mut Tx<'_>, turn: &Turn, now: Timestamp) -> Result<Ended> {
    tick(tx).await?;
    let (endpoint, replay) = (turn.replay.endpoint.n(), turn.replay.id.n());
    let sql = match tx {
        Tx::Sqlite(_) => BROUGHT,
        Tx::Postgres(_) => BROUGHT_AND_HELD,
    };
    let rows = tx
        .rows(sql, values![endpoint, replay, REPLAY_SLICE_ROWS], |row| {
            Ok((DeliveryId(row.id(0)?), row.flag(2)?))
        })
        .await?;
    let Some((last, _)) = rows.last() else {
        tx.execute(
            "UPDATE jobs SET swept_at = ?1 WHERE n = ?2 AND swept_at IS NULL",
            values![now, replay],
        )
        .await?;
        return Ok(Ended {
            nothing_left: true,
            ..Ended::default()
        });
    };
    let slice = values![endpoint, replay, last.n()];
    tx.execute(
        "INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, reason, cause, attempts, finished_at)
         SELECT n, tag, event, endpoint, tenant, 'cancelled', ?4, cause, attempt - 1, ?5 FROM work
         WHERE endpoint = ?1 AND replay = ?2 AND n <= ?3 AND cancel_requested = 0 AND owner IS NULL",
        values![endpoint, replay, last.n(), Reason::Requested.as_str(), now],
    )
    .await?;
    let at_once = tx
        .rows(
            "DELETE FROM work WHERE endpoint = ?1 AND replay = ?2 AND n <= ?3 AND cancel_requested = 0 AND owner IS NULL
             RETURNING endpoint, n, 0",
            slice,
            tally::read_ended,
        )
        .await?;
    tally::keep_cancelled(tx, &at_once, now).await?;
    tx.execute(
        "UPDATE work SET cancel_requested = 1
         WHERE endpoint = ?1 AND replay = ?2 AND n <= ?3 AND cancel_requested = 0",
        slice,
    )
    .await?;
    let mut ended = Ended::default();
    for (delivery, owned) in rows {
        if owned {
            ended.with_their_attempts.push(delivery);
        } else {
            ended.at_once.push(delivery.n());
        }
    }
    Ok(ended)
}

pub(super) async fn close(tx: &mut Tx<'_>, turn: &Turn, reason: Reason, now: Timestamp) -> Result<usize> {
    tick(tx).await?;
    tx.execute(
        "UPDATE jobs SET status = ?1, reason = ?2, finished_at = ?3, swept_at = ?3
         WHERE n = ?4 AND finished_at IS NULL",
        values![
            ReplayState::Cancelled.as_str(),
            reason.as_str(),
            now,
            turn.replay.id.n()
        ],
    )
    .await
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
