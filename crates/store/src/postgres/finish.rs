//! Recording attempts: a group of records.
//!
//! Where all of a group succeeded at healthy endpoints, by far the most frequent case, it is one statement and its own
//! transaction: rows leave `work` and come to `deliveries`, and no index of what waits is touched. Anything else makes it a
//! transaction of a few statements, in this order of locks: the configuration's clock (where an endpoint is to be
//! disabled), endpoints, deliveries, health.
//!
//! A record that is repeated after a commit of unknown outcome finds its own rows, and changes nothing more.

mod endpoints;

use super::Core;
use super::lane::Trouble;
use super::session::Session;
use crate::change;
use crate::effects::Effects;
use crate::error::Result;
use crate::exchange;
use crate::fresh::Waiting;
use crate::hot::{Finish, Next};
use crate::member::{Hot, Recorded};
use crate::outcome;
use crate::tally::{CANCEL_AS, CANCEL_AT, Change, Tally};
use crate::tx::Tx;
use endpoints::{disable_all, first_answers, follow, may_disable, tell_exhausted};
use std::collections::HashSet;
use std::sync::Arc;
use stentor_domain::attempt::Trigger;
use stentor_domain::delivery::{Reason, State};
use stentor_domain::judge::Effect;

/// The keys are asked for twice. As a list they lead into the index of `work`, whatever the server believes of a table that
/// is empty at one moment and full at the next: left to choose, it may read all of `work` for every group.
///
/// What is not this node's any more stays as it is. What somebody wants to end ends, but where it succeeded; then its
/// tally says so too.
const END: &str = "
WITH gone AS (
  DELETE FROM work w
  USING unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::text[],
               $10::bigint[], $11::bytea[], $12::bytea[])
    AS f (n, attempt, state, reason, finished_at, started_at, status, error, micros, exchange, tally)
  WHERE w.n = ANY($2) AND w.n = f.n AND w.attempt = f.attempt AND w.owner = $1
  RETURNING w.n, w.tag, w.event, w.endpoint, w.tenant, w.cause, w.attempt,
            w.cancel_requested > 0 AND f.state <> 'delivered' AS cancelled, w.cancel_requested,
            f.state, f.reason, f.finished_at, f.started_at, f.status, f.error, f.micros, f.exchange, f.tally),
tallied AS (
  INSERT INTO tallies (at, body)
  SELECT $13, string_agg(CASE WHEN cancelled THEN set_byte(tally, $14, $15) ELSE tally END, '') FROM gone HAVING count(tally) > 0)
INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, reason, cause, attempts, finished_at, started_at, status, error,
                        micros, exchange)
SELECT n, tag, event, endpoint, tenant, CASE WHEN cancelled THEN 'cancelled' ELSE state END,
       CASE WHEN cancelled THEN CASE cancel_requested WHEN 2 THEN 'payload_expired' ELSE 'requested' END
            WHEN reason = 'endpoint_deleted'
             AND EXISTS (SELECT 1 FROM tenants WHERE tenants.n = gone.tenant AND deleted_at IS NOT NULL)
            THEN 'tenant_deleted' ELSE reason END,
       cause, attempt, finished_at, started_at, status, error, micros, exchange
FROM gone RETURNING n, state = 'exhausted'";

/// Only what belongs to endpoints that are there waits: one that is deleted may have been swept already. Locked, so that
/// none is deleted, or made ordered, before this is committed; and asked whether they are ordered, which `orders` could
/// only tell as of the moment before the lock. (See `ordering` for the place.)
const WAIT: &str = "
WITH there AS (
  SELECT n, ordered FROM endpoints WHERE n = ANY($2::bigint[]) AND deleted_at IS NULL ORDER BY n FOR SHARE),
waits AS (
  UPDATE work w SET owner = NULL, attempt = w.attempt + 1, failed = f.failed, first_at = f.first_at, due_at = f.due_at,
                    seq = CASE WHEN w.seq IS NULL AND w.endpoint IN (SELECT n FROM there WHERE ordered = 1) THEN w.n ELSE w.seq END
  FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::text[],
              $11::bigint[], $12::bytea[], $13::bytea[])
    AS f (n, attempt, failed, first_at, due_at, started_at, status, error, micros, exchange, tally)
  WHERE w.n = ANY($3) AND w.n = f.n AND w.attempt = f.attempt AND w.owner = $1 AND w.cancel_requested = 0
    AND w.endpoint IN (SELECT n FROM there)
  RETURNING w.n, f.attempt, f.started_at, w.cause, f.status, f.error, f.micros, f.exchange, f.tally),
tallied AS (
  INSERT INTO tallies (at, body) SELECT $14, string_agg(tally, '') FROM waits HAVING count(tally) > 0),
kept AS (
  INSERT INTO attempts (delivery, no, started_at, cause, status, error, micros, exchange)
  SELECT n, attempt, started_at, cause, status, error, micros, exchange FROM waits ON CONFLICT DO NOTHING)
SELECT n FROM waits";

/// Of attempts that found nothing to end: those that were recorded before.
const KNOWN: &str = "
SELECT f.n FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS f (n, no, started_at)
WHERE EXISTS (SELECT 1 FROM deliveries d WHERE d.n = f.n AND d.attempts = f.no AND d.started_at = f.started_at)
   OR EXISTS (SELECT 1 FROM attempts a WHERE a.delivery = f.n AND a.no = f.no AND a.started_at = f.started_at)";

const FENCED: &str = "
WITH kept AS (
  INSERT INTO attempts (delivery, no, started_at, cause, status, error, micros, exchange)
  SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::bigint[], $8::bytea[])
  ON CONFLICT DO NOTHING RETURNING delivery, no, started_at)
INSERT INTO tallies (at, body)
SELECT $10, string_agg(f.tally, '')
FROM unnest($1, $2, $3, $9::bytea[]) AS f (n, no, started_at, tally)
     JOIN kept k ON k.delivery = f.n AND k.no = f.no AND k.started_at = f.started_at
HAVING count(f.tally) > 0";

/// Records what the members tell, and prepares their answers; tells what follows.
pub(crate) async fn write(
    core: &Arc<Core>,
    session: &mut Session,
    members: &mut [Hot],
) -> Result<Effects, Trouble> {
    let mut finishes: Vec<Arc<Finish>> = members
        .iter()
        .filter_map(|member| match member {
            Hot::Finish(finish, _) => Some(Arc::clone(finish)),
            _ => None,
        })
        .collect();
    // Rows are locked in the order of their keys.
    finishes.sort_unstable_by_key(|finish| finish.delivery.n());
    let plain = finishes.iter().all(|finish| is_plain(core, finish));
    let group = Group { core, finishes };
    let (fenced, effects) = if plain {
        group.record_plain(session).await?
    } else {
        group.record(session).await?
    };
    for member in members {
        if let Hot::Finish(finish, reply) = member {
            reply.answer = Some(if fenced.contains(&finish.delivery.n()) {
                Recorded::Fenced
            } else {
                Recorded::Counted
            });
        }
    }
    Ok(effects)
}

/// A success, a sandbox's too, that says nothing new of its endpoint.
fn is_plain(core: &Core, finish: &Finish) -> bool {
    let is_news = match finish.effect {
        Effect::None => false,
        Effect::Succeeded => !core.outside.healths.get(finish.endpoint).health.is_sound(),
        Effect::Failed { .. } | Effect::Gone => true,
    };
    matches!(finish.next, Next::Delivered | Next::Simulated) && !is_news
}

/// A group of records, in the order of the deliveries' keys.
struct Group<'c> {
    core: &'c Arc<Core>,
    finishes: Vec<Arc<Finish>>,
}

impl Group<'_> {
    /// One statement, as long as all are this node's.
    async fn record_plain(&self, session: &mut Session) -> Result<(HashSet<i64>, Effects), Trouble> {
        let all: Vec<&Finish> = self.finishes.iter().map(|finish| &**finish).collect();
        let ended = end(self.core, session, &all, None).await?.all;
        let fenced = if ended.len() == all.len() {
            HashSet::new()
        } else {
            fence(self.core, session, &without(&all, &ended)).await?.0
        };
        let mut effects = self.effects(HashSet::new());
        effects.left.answered = first_answers(self.core, &all);
        Ok((fenced, effects))
    }

    async fn record(&self, session: &mut Session) -> Result<(HashSet<i64>, Effects), Trouble> {
        session.client().batch_execute("BEGIN").await?;
        let recorded = self.record_within(session).await;
        match recorded {
            Ok(recorded) => {
                session.client().batch_execute("COMMIT").await?;
                Ok(recorded)
            }
            Err(trouble @ Trouble::Lost(_)) => Err(trouble),
            Err(trouble) => {
                session.client().batch_execute("ROLLBACK").await?;
                Err(trouble)
            }
        }
    }

    async fn record_within(&self, session: &mut Session) -> Result<(HashSet<i64>, Effects), Trouble> {
        let may_disable = self.finishes.iter().any(|finish| may_disable(self.core, finish));
        if may_disable {
            change::tick(&mut Tx::Postgres(session))
                .await
                .map_err(Trouble::Unable)?;
        }
        let all: Vec<&Finish> = self.finishes.iter().map(|finish| &**finish).collect();
        let (retries, ends): (Vec<&Finish>, Vec<&Finish>) = all
            .iter()
            .partition(|finish| matches!(finish.next, Next::Retry { .. }));
        // The endpoints are locked first.
        let waits = wait(self.core, session, &retries).await?;
        let ended = end(self.core, session, &ends, None).await?;
        let mut done = ended.all;
        done.extend(&waits);
        // Cancelled while in flight, or their endpoint is deleted, or fenced: `END` tells the first two apart.
        let not_waiting = without(&retries, &waits);
        let cancelled = end(self.core, session, &not_waiting, Some(Reason::EndpointDeleted)).await?;
        done.extend(cancelled.all);
        let (fenced, known) = fence(self.core, session, &without(&all, &done)).await?;
        let counted = without(&without(&all, &fenced), &known);
        tell_exhausted(self.core, session, &ends, &ended.exhausted).await?;
        let mut effects = self.effects(waits);
        let straws = follow(self.core, session, &counted, &mut effects.left).await?;
        if may_disable {
            effects.configured = disable_all(self.core, session, straws).await?;
        }
        Ok((fenced, effects))
    }

    /// What follows outside, given what waits again.
    fn effects(&self, waits: HashSet<i64>) -> Effects {
        let mut effects = Effects::default();
        for finish in &self.finishes {
            if finish.attempt.trigger == Trigger::Test {
                effects.ended.push(finish.delivery.n());
            }
            if let Next::Retry { due_at, .. } = finish.next
                && waits.contains(&finish.delivery.n())
            {
                effects.waiting.push(Waiting {
                    endpoint: finish.endpoint,
                    shard: finish.shard,
                    due_at,
                });
            }
        }
        effects
    }
}

/// Those that are not among `done`.
fn without<'f>(finishes: &[&'f Finish], done: &HashSet<i64>) -> Vec<&'f Finish> {
    let left = |finish: &&&Finish| !done.contains(&finish.delivery.n());
    finishes.iter().filter(left).copied().collect()
}

/// An attempt's columns.
#[derive(Default)]
struct Attempts {
    n: Vec<i64>,
    no: Vec<i64>,
    started_at: Vec<i64>,
    cause: Vec<&'static str>,
    status: Vec<Option<i64>>,
    error: Vec<Option<&'static str>>,
    micros: Vec<i64>,
    exchange: Vec<Vec<u8>>,
}

impl Attempts {
    fn of(finishes: &[&Finish]) -> Result<Self, Trouble> {
        let mut columns = Self::default();
        for finish in finishes {
            let attempt = &finish.attempt;
            columns.n.push(finish.delivery.n());
            columns.no.push(i64::from(attempt.no));
            columns.started_at.push(attempt.started_at.micros());
            columns.cause.push(attempt.trigger.as_str());
            columns.status.push(attempt.outcome.status().map(i64::from));
            columns.error.push(outcome::error(attempt.outcome));
            columns
                .micros
                .push(i64::from(attempt.exchange.timing.total_micros));
            let exchange = exchange::encode(&attempt.exchange).map_err(Trouble::Refused)?;
            columns.exchange.push(exchange);
        }
        Ok(columns)
    }
}

/// Deliveries that were this node's to end.
#[derive(Default)]
struct Ended {
    all: HashSet<i64>,
    /// Those among them that are exhausted: nobody had asked for their end.
    exhausted: HashSet<i64>,
}

/// What each attempt changes of the counts; a test nothing.
fn tallies(finishes: &[&Finish], change: impl Fn(&Finish) -> Change) -> Vec<Option<Vec<u8>>> {
    let of = |finish: &&Finish| {
        let mut tally = Tally::default();
        tally.note_attempt(finish, change(finish));
        tally.into_bytes()
    };
    finishes.iter().map(of).collect()
}

/// Ends deliveries, all for one reason where one is given.
async fn end(
    core: &Core,
    session: &mut Session,
    finishes: &[&Finish],
    cancelled: Option<Reason>,
) -> Result<Ended, Trouble> {
    if finishes.is_empty() {
        return Ok(Ended::default());
    }
    let columns = Attempts::of(finishes)?;
    let end_of = |finish: &Finish| match (cancelled, finish.next) {
        (Some(reason), _) => (State::Cancelled, Some(reason)),
        (None, Next::Exhausted(reason)) => (State::Exhausted, Some(reason)),
        (None, Next::Simulated) => (State::Delivered, Some(Reason::Sandbox)),
        (None, Next::Delivered | Next::Retry { .. }) => (State::Delivered, None),
    };
    let (states, reasons): (Vec<&str>, Vec<Option<&str>>) = finishes
        .iter()
        .map(|finish| end_of(finish))
        .map(|(state, reason)| (state.as_str(), reason.map(Reason::as_str)))
        .unzip();
    let tallies = tallies(finishes, |finish| Change::Ended(end_of(finish).0));
    let finished_at: Vec<i64> = finishes.iter().map(|finish| finish.ended_at.micros()).collect();
    let statement = session.prepared(END).await?;
    let rows = session
        .client()
        .query(
            &statement,
            &[
                &core.epoch,
                &columns.n,
                &columns.no,
                &states,
                &reasons,
                &finished_at,
                &columns.started_at,
                &columns.status,
                &columns.error,
                &columns.micros,
                &columns.exchange,
                &tallies,
                &core.clock.now().micros(),
                &CANCEL_AT,
                &CANCEL_AS,
            ],
        )
        .await?;
    let mut ended = Ended::default();
    for row in &rows {
        let n = row.try_get(0)?;
        ended.all.insert(n);
        if row.try_get(1)? {
            ended.exhausted.insert(n);
        }
    }
    Ok(ended)
}

/// Leaves deliveries in `work`, due again later; tells which.
async fn wait(core: &Core, session: &mut Session, finishes: &[&Finish]) -> Result<HashSet<i64>, Trouble> {
    if finishes.is_empty() {
        return Ok(HashSet::new());
    }
    let columns = Attempts::of(finishes)?;
    let (mut failed, mut first_at, mut due) = (Vec::new(), Vec::new(), Vec::new());
    for finish in finishes {
        if let Next::Retry {
            due_at,
            failed: times,
            first_at: first,
        } = finish.next
        {
            failed.push(i64::from(times));
            first_at.push(first.map(|first| first.micros()));
            due.push(due_at.micros());
        }
    }
    let endpoints: Vec<i64> = finishes.iter().map(|finish| finish.endpoint).collect();
    let statement = session.prepared(WAIT).await?;
    let rows = session
        .client()
        .query(
            &statement,
            &[
                &core.epoch,
                &endpoints,
                &columns.n,
                &columns.no,
                &failed,
                &first_at,
                &due,
                &columns.started_at,
                &columns.status,
                &columns.error,
                &columns.micros,
                &columns.exchange,
                &tallies(finishes, |_| Change::None),
                &core.clock.now().micros(),
            ],
        )
        .await?;
    keys(&rows)
}

/// Keeps attempts whose deliveries were not this node's any more. Tells them, and those that were recorded before.
async fn fence(
    core: &Core,
    session: &mut Session,
    finishes: &[&Finish],
) -> Result<(HashSet<i64>, HashSet<i64>), Trouble> {
    if finishes.is_empty() {
        return Ok((HashSet::new(), HashSet::new()));
    }
    let columns = Attempts::of(finishes)?;
    let statement = session.prepared(KNOWN).await?;
    let rows = session
        .client()
        .query(&statement, &[&columns.n, &columns.no, &columns.started_at])
        .await?;
    let known = keys(&rows)?;
    let fenced = without(finishes, &known);
    if !fenced.is_empty() {
        let columns = Attempts::of(&fenced)?;
        let statement = session.prepared(FENCED).await?;
        session
            .client()
            .execute(
                &statement,
                &[
                    &columns.n,
                    &columns.no,
                    &columns.started_at,
                    &columns.cause,
                    &columns.status,
                    &columns.error,
                    &columns.micros,
                    &columns.exchange,
                    &tallies(&fenced, |_| Change::None),
                    &core.clock.now().micros(),
                ],
            )
            .await?;
    }
    let fenced = fenced.into_iter().map(|finish| finish.delivery.n()).collect();
    Ok((fenced, known))
}

/// The keys in the first column.
fn keys(rows: &[tokio_postgres::Row]) -> Result<HashSet<i64>, Trouble> {
    let keys = rows.iter().map(|row| row.try_get(0));
    Ok(keys.collect::<Result<_, tokio_postgres::Error>>()?)
}
