//! Ending deliveries whose payload goes before they could be made.
//!
//! `work` has no index for this, since the hot path would pay for it with every delivery: it is walked, a stretch at a time, by
//! questions beside whoever writes. Only a stretch in which something is found is written to.

use crate::Store;
use crate::error::Result;
use crate::tally;
use crate::tx::{Tx, values};
use crate::wish;
use stentor_domain::Timestamp;
use stentor_domain::delivery::Reason;
use stentor_domain::id::{DeliveryId, EventId, Id};

/// Rows of `work` that one question looks through.
const STRETCH_ROWS: i64 = 5_000;
/// Rows that one slice ends.
const SLICE_ROWS: i64 = 200;

/// Whose deliveries are to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// Of events with this key or a greater one,
    pub from: i64,
    /// and below this one,
    pub below: i64,
    /// of this tenant, or of all.
    pub tenant: Option<i64>,
}

/// How far a walk has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// How many of what it found are in a node's memory, and end a little later.
    pub left: usize,
    /// After which key it goes on; `None` at its end.
    pub next: Option<i64>,
}

/// A stretch of `work` in which something is to end.
#[derive(Clone, Copy)]
struct Stretch {
    after: i64,
    last: i64,
    doomed: Doomed,
}

impl Store {
    /// Looks through a stretch of what is unfinished after the key `after`, and ends what is doomed in it. What is in a node's
    /// memory ends with its attempt, and is found again until then.
    pub async fn end_without_payload(&self, doomed: Doomed, after: i64, now: Timestamp) -> Result<Walked> {
        let (end, found) = self.ask(move |tx| Box::pin(look(tx, doomed, after))).await?;
        let Some(last) = found.last().copied() else {
            return Ok(Walked { left: 0, next: end });
        };
        let stretch = Stretch { after, last, doomed };
        let ended = self.in_background_and(
            move |tx| Box::pin(end_stretch(tx, stretch, now)),
            |(_, owned), effects| {
                let wishes = owned.iter().map(|id| (*id, Reason::PayloadExpired));
                effects.cancel_requested.extend(wishes);
            },
        );
        let (ended, _) = ended.await?;
        let full = i64::try_from(found.len()).is_ok_and(|found| found == SLICE_ROWS);
        Ok(Walked {
            left: found.len().saturating_sub(ended),
            next: if full { Some(last) } else { end },
        })
    }
}

/// The end of the stretch, unless it is the last one, and the first that are doomed in it.
async fn look(tx: &mut Tx<'_>, doomed: Doomed, after: i64) -> Result<(Option<i64>, Vec<i64>)> {
    let end = tx
        .row(
            "SELECT n FROM work WHERE n > ?1 ORDER BY n LIMIT 1 OFFSET ?2",
            values![after, STRETCH_ROWS - 1],
            |row| row.int(0),
        )
        .await?;
    let found = tx
        .rows(
            "SELECT n FROM work WHERE n > ?1 AND n <= ?2 AND event >= ?3 AND event < ?4 AND (?5 IS NULL OR tenant = ?5)
             ORDER BY n LIMIT ?6",
            values![
                after,
                end.unwrap_or(i64::MAX),
                doomed.from,
                doomed.below,
                doomed.tenant,
                SLICE_ROWS
            ],
            |row| row.int(0),
        )
        .await?;
    Ok((end, found))
}

/// What is doomed in a stretch. 1 and 2 its keys, 3 and 4 the events, 5 the tenant.
macro_rules! doomed {
    () => {
        "n > ?1 AND n <= ?2 AND event >= ?3 AND event < ?4 AND (?5 IS NULL OR tenant = ?5)"
    };
}

const KEEP: &str = concat!(
    "INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, reason, cause, attempts, finished_at)
     SELECT n, tag, event, endpoint, tenant, 'cancelled', 'payload_expired', cause, attempt - 1, ?6 FROM work WHERE ",
    doomed!(),
    " AND owner IS NULL"
);
const LEAVE: &str = concat!(
    "DELETE FROM work WHERE ",
    doomed!(),
    " AND owner IS NULL RETURNING endpoint, n, CASE WHEN cause = 'test' THEN 1 ELSE 0 END"
);
const WISH: &str = concat!(
    "UPDATE work SET cancel_requested = ?6 WHERE ",
    doomed!(),
    " AND owner IS NOT NULL AND cancel_requested = 0 RETURNING n, tag"
);
/// The same in one statement, since others claim meanwhile.
const MOVE_ON_POSTGRES: &str = concat!(
    "WITH gone AS (DELETE FROM work WHERE ",
    doomed!(),
    " AND owner IS NULL RETURNING n, tag, event, endpoint, tenant, cause, attempt)
     INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, reason, cause, attempts, finished_at)
     SELECT n, tag, event, endpoint, tenant, 'cancelled', 'payload_expired', cause, attempt - 1, ?6 FROM gone
     RETURNING endpoint, n, CASE WHEN cause = 'test' THEN 1 ELSE 0 END"
);
/// What is just being recorded is left alone: it is found again.
const WISH_ON_POSTGRES: &str = concat!(
    "UPDATE work SET cancel_requested = ?6 WHERE n IN (SELECT n FROM work WHERE ",
    doomed!(),
    " AND owner IS NOT NULL AND cancel_requested = 0 ORDER BY n FOR UPDATE SKIP LOCKED) RETURNING n, tag"
);

/// Ends what waits, and tells how many; and what nodes have in memory, where they do not know yet.
async fn end_stretch(tx: &mut Tx<'_>, stretch: Stretch, now: Timestamp) -> Result<(usize, Vec<DeliveryId>)> {
    let Stretch { after, last, doomed } = stretch;
    let Doomed { from, below, tenant } = doomed;
    let (ended, wish) = match tx {
        Tx::Sqlite(_) => {
            tx.execute(KEEP, values![after, last, from, below, tenant, now])
                .await?;
            let values = values![after, last, from, below, tenant];
            (tx.rows(LEAVE, values, tally::read_ended).await?, WISH)
        }
        Tx::Postgres(_) => {
            let values = values![after, last, from, below, tenant, now];
            (
                tx.rows(MOVE_ON_POSTGRES, values, tally::read_ended).await?,
                WISH_ON_POSTGRES,
            )
        }
    };
    tally::keep_cancelled(tx, &ended, now).await?;
    let values = values![after, last, from, below, tenant, wish::PAYLOAD_GONE];
    let owned = tx.rows(wish, values, |row| {
        Ok(DeliveryId(Id {
            n: row.int(0)?,
            tag: row.int(1)?,
        }))
    });
    Ok((ended.len(), owned.await?))
}

/// An event's unfinished deliveries: those close behind it by key, and any other by the index `work_late`, which has exactly
/// those.
macro_rules! of_event {
    ($before:literal, $after:literal) => {
        [
            concat!($before, "n > ?1 AND n < ?1 + 104857600 AND event = ?1", $after),
            concat!($before, "n - event >= 104857600 AND event = ?1", $after),
        ]
    };
}

const HOLD: [&str; 2] = of_event!("SELECT n FROM work WHERE ", " ORDER BY n FOR UPDATE");
const WISH_FOR_EVENT: [&str; 2] = of_event!(
    "UPDATE work SET cancel_requested = ?2 WHERE ",
    " AND owner IS NOT NULL AND cancel_requested = 0 RETURNING n, tag"
);

/// Asks for the end of what nodes have in memory of an event. On PostgreSQL what is just being claimed, given back or recorded
/// is waited for; on SQLite whoever writes is alone in any case.
pub(super) async fn end_in_memory(tx: &mut Tx<'_>, event: EventId) -> Result<Vec<DeliveryId>> {
    let mut owned = Vec::new();
    for (hold, ask) in HOLD.into_iter().zip(WISH_FOR_EVENT) {
        if let Tx::Postgres(_) = tx {
            tx.rows(hold, values![event.n()], |row| row.int(0)).await?;
        }
        let values = values![event.n(), wish::PAYLOAD_GONE];
        let rows = tx.rows(ask, values, |row| {
            Ok(DeliveryId(Id {
                n: row.int(0)?,
                tag: row.int(1)?,
            }))
        });
        owned.extend(rows.await?);
    }
    Ok(owned)
}
