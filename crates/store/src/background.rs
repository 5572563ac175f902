//! The store's side of the background work: each method is one bounded slice in one transaction.

use crate::Store;
use crate::channels::read_channels;
use crate::error::{Result, StoreError};
use crate::fresh::Waiting;
use crate::hot::NewDelivery;
use crate::ordering;
use crate::tally::{self, Change, Tally};
use crate::tx::{Tx, values};
use stentor_domain::Timestamp;
use stentor_domain::channels::Channels;
use stentor_domain::delivery::Reason;
use stentor_domain::id::{EventId, TenantId};
use stentor_domain::name::EventTypeName;

/// Rows that one slice writes, so that no publisher waits long behind it.
const SLICE_ROWS: u32 = 500;

/// An event whose fan-out is to be continued.
#[derive(Clone, Debug)]
pub struct Fanout {
    /// The event.
    pub event: EventId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its type.
    pub event_type: EventTypeName,
    /// Its channels.
    pub channels: Channels,
    /// The last endpoint that has its delivery.
    pub after_endpoint: i64,
}

impl Store {
    /// Endpoints with deliveries that wait, in the order of shard and endpoint, those after `after`; at most `limit`.
    /// The cost grows with the endpoints, not with their deliveries.
    /// None where this process does not claim.
    pub async fn waiting_endpoints(&self, after: (u16, i64), limit: usize) -> Result<Vec<Waiting>> {
        if !self.owns_shards() {
            return Ok(Vec::new());
        }
        self.ask(move |tx| Box::pin(waiting_endpoints(tx, after, limit)))
            .await
    }

    /// The oldest event whose fan-out is to be continued.
    pub async fn next_fanout(&self) -> Result<Option<Fanout>> {
        self.ask(|tx| Box::pin(next_fanout(tx))).await
    }

    /// Writes the next deliveries of an event; with none the fan-out is complete.
    pub async fn continue_fanout(
        &self,
        fanout: Fanout,
        now: Timestamp,
        deliveries: Vec<NewDelivery>,
    ) -> Result<()> {
        let waiting: Vec<_> = deliveries
            .iter()
            .map(|delivery| Waiting {
                endpoint: delivery.endpoint,
                shard: delivery.shard,
                due_at: now,
            })
            .collect();
        self.change_and(
            move |tx| Box::pin(continue_fanout(tx, fanout, now, deliveries)),
            |(), effects| effects.waiting.extend(waiting),
        )
        .await
    }

    /// Ends what waits for a deleted endpoint, a slice at a time. Tells how many rows it wrote; none: nothing is left.
    pub async fn sweep_deleted(&self, now: Timestamp) -> Result<usize> {
        self.in_background(move |tx| Box::pin(sweep_deleted(tx, now)))
            .await
    }

    /// Forgets idempotency keys that have ended, a slice at a time. Tells how many.
    pub async fn forget_idempotency_keys(&self, now: Timestamp) -> Result<usize> {
        self.in_background(move |tx| {
            Box::pin(async move {
                tx.execute(
                    "DELETE FROM idempotency_keys WHERE hash IN
                       (SELECT hash FROM idempotency_keys WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
                    values![now, SLICE_ROWS],
                )
                .await
            })
        })
        .await
    }
}

/// The next endpoint that something waits for after `$endpoint` of `$shard`, by the index of what waits: in the same shard, or
/// else the first of the next one. Asked for both at once, as `(shard, endpoint) > (..)`, SQLite goes by the shard alone, and
/// through everything that waits in it.
macro_rules! next_waiting {
    ($column:literal, $shard:literal, $endpoint:literal) => {
        concat!(
            "coalesce((SELECT ",
            $column,
            " FROM work WHERE owner IS NULL AND shard = ",
            $shard,
            " AND endpoint > ",
            $endpoint,
            " ORDER BY endpoint LIMIT 1), (SELECT ",
            $column,
            " FROM work WHERE owner IS NULL AND shard > ",
            $shard,
            " ORDER BY shard, endpoint LIMIT 1))"
        )
    };
}

/// Steps from endpoint to endpoint, with look-ups only: a join would be planned for the table as it was at some moment, and
/// go through all of it at another one.
const WAITING_ENDPOINTS: &str = concat!(
    "WITH RECURSIVE found (shard, endpoint, place) AS (
       SELECT ",
    next_waiting!("shard", "?1", "?2"),
    ", ",
    next_waiting!("endpoint", "?1", "?2"),
    ", 1
       UNION ALL
       SELECT ",
    next_waiting!("shard", "f.shard", "f.endpoint"),
    ", ",
    next_waiting!("endpoint", "f.shard", "f.endpoint"),
    ", f.place + 1
       FROM found f WHERE f.place < ?3 AND f.shard IS NOT NULL
     )
     SELECT f.shard, f.endpoint, (SELECT due_at FROM work WHERE owner IS NULL AND shard = f.shard AND endpoint = f.endpoint
                                  ORDER BY due_at LIMIT 1)
     FROM found f WHERE f.shard IS NOT NULL ORDER BY f.place"
);

async fn waiting_endpoints(tx: &mut Tx<'_>, after: (u16, i64), limit: usize) -> Result<Vec<Waiting>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    tx.rows(
        WAITING_ENDPOINTS,
        values![i64::from(after.0), after.1, limit],
        |row| {
            let shard = row.int(0)?;
            Ok(Waiting {
                shard: u16::try_from(shard)
                    .map_err(|_| StoreError::Unreadable(format!("{shard} is not a shard")))?,
                endpoint: row.int(1)?,
                due_at: row.time(2)?,
            })
        },
    )
    .await
}

async fn next_fanout(tx: &mut Tx<'_>) -> Result<Option<Fanout>> {
    tx.row(
        "SELECT e.n, e.tag, t.n, t.tag, e.type, f.after_endpoint, e.channels
         FROM fanout f JOIN events e ON e.n = f.event JOIN tenants t ON t.n = f.tenant ORDER BY f.event LIMIT 1",
        values![],
        |row| {
            Ok(Fanout {
                event: EventId(row.id(0)?),
                tenant: TenantId(row.id(2)?),
                event_type: row.word(4, |word| EventTypeName::parse(word).ok())?,
                after_endpoint: row.int(5)?,
                channels: read_channels(row.text_or_null(6)?.as_deref())?,
            })
        },
    )
    .await
}

async fn continue_fanout(
    tx: &mut Tx<'_>,
    fanout: Fanout,
    now: Timestamp,
    deliveries: Vec<NewDelivery>,
) -> Result<()> {
    let event = fanout.event.n();
    let Some(last) = deliveries.last() else {
        tx.execute_one("DELETE FROM fanout WHERE event = ?1", values![event])
            .await?;
        return Ok(());
    };
    tx.execute_one(
        "UPDATE fanout SET after_endpoint = ?1 WHERE event = ?2 AND after_endpoint = ?3",
        values![last.endpoint, event, fanout.after_endpoint],
    )
    .await?;
    let mut tally = Tally::default();
    for delivery in &deliveries {
        tally.note(delivery.endpoint, delivery.id.n(), Change::Accepted);
        let seq = ordering::draw(tx, delivery.endpoint, 1).await?;
        tx.execute_one(
            "INSERT INTO work (n, tag, event, endpoint, tenant, shard, attempt, due_at, cause, seq)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, 'event', ?8)",
            values![
                delivery.id.n(),
                delivery.id.0.tag,
                event,
                delivery.endpoint,
                fanout.tenant.n(),
                i64::from(delivery.shard),
                now,
                seq,
            ],
        )
        .await?;
        // Its endpoint may have been deleted, and swept, since it was matched: then it is swept once more.
        tx.execute(
            "UPDATE endpoints SET swept_at = NULL WHERE n = ?1 AND swept_at IS NOT NULL",
            values![delivery.endpoint],
        )
        .await?;
    }
    tally.keep(tx, now).await
}

/// What waits for an endpoint.
const WAITING: &str =
    "SELECT n FROM work WHERE shard = ?1 AND endpoint = ?2 AND owner IS NULL ORDER BY due_at LIMIT ?3";
/// The same on PostgreSQL, but for what is being claimed at this moment: whoever claims it ends it.
const WAITING_FOR_NOBODY: &str = "SELECT n FROM work WHERE shard = ?1 AND endpoint = ?2 AND owner IS NULL
     ORDER BY due_at LIMIT ?3 FOR UPDATE SKIP LOCKED";

async fn sweep_deleted(tx: &mut Tx<'_>, now: Timestamp) -> Result<usize> {
    let next = tx
        .row(
            "SELECT e.n, e.shard, t.deleted_at FROM endpoints e JOIN tenants t ON t.n = e.tenant
             WHERE e.deleted_at IS NOT NULL AND e.swept_at IS NULL ORDER BY e.n LIMIT 1",
            values![],
            |row| Ok((row.int(0)?, row.int(1)?, row.int_or_null(2)?.is_some())),
        )
        .await?;
    let Some((endpoint, shard, with_tenant)) = next else {
        return Ok(0);
    };
    let reason = if with_tenant {
        Reason::TenantDeleted
    } else {
        Reason::EndpointDeleted
    };
    let sql = match tx {
        Tx::Sqlite(_) => WAITING,
        Tx::Postgres(_) => WAITING_FOR_NOBODY,
    };
    let slice = tx
        .rows(sql, values![shard, endpoint, SLICE_ROWS], |row| row.int(0))
        .await?;
    if slice.is_empty() {
        ordering::end(tx, endpoint).await?;
        // What a node still has in memory it ends itself, when its turn comes.
        tx.execute_one(
            "UPDATE endpoints SET swept_at = ?1 WHERE n = ?2",
            values![now, endpoint],
        )
        .await?;
        return Ok(1);
    }
    let mut ended = Vec::with_capacity(slice.len());
    for n in &slice {
        let row = tx.row(
            "INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, reason, cause, attempts, finished_at)
             SELECT n, tag, event, endpoint, tenant, 'cancelled', ?1, cause, attempt - 1, ?2 FROM work WHERE n = ?3
             RETURNING endpoint, n, CASE WHEN cause = 'test' THEN 1 ELSE 0 END",
            values![reason.as_str(), now, *n],
            tally::read_ended,
        )
        .await?;
        ended.extend(row);
        tx.execute_one("DELETE FROM work WHERE n = ?1", values![*n])
            .await?;
    }
    tally::keep_cancelled(tx, &ended, now).await?;
    Ok(slice.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::{StatementStatus, params};

    /// What a look costs with so many deliveries waiting for each of some endpoints, as the engine counts its steps.
    fn steps_of_a_look(waiting: i64) -> i32 {
        let connection = crate::sqlite::empty();
        let mut insert = connection
            .prepare(
                "WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < ?3)
                 INSERT INTO work (n, tag, event, endpoint, tenant, shard, attempt, due_at, cause)
                 SELECT ?2 * 1000000 + i, 1, i, ?2, 1, ?1, 1, i, 'event' FROM numbers",
            )
            .unwrap();
        for (shard, endpoint) in [(3, 1), (3, 2), (3, 5), (7, 3), (200, 4)] {
            insert.execute(params![shard, endpoint, waiting]).unwrap();
        }
        let mut look = connection.prepare(WAITING_ENDPOINTS).unwrap();
        let found = look.query_map(params![0, i64::MIN, 1_000], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(2)?,
            ))
        });
        let found: Vec<_> = found.unwrap().map(Result::unwrap).collect();
        assert_eq!(found, [(3, 1, 1), (3, 2, 1), (3, 5, 1), (7, 3, 1), (200, 4, 1)]);
        look.get_status(StatementStatus::VmStep)
    }

    #[test]
    fn a_look_costs_the_same_however_much_waits_for_an_endpoint() {
        assert_eq!(steps_of_a_look(5), steps_of_a_look(5_000));
    }
}
