//! Removing what is older than it is kept, and giving its space back.
//!
//! Every step goes up by keys and removes a range of them at a time: neighbours in the tables, and nothing is looked at twice.

use super::{Budget, Slice};
use crate::Store;
use crate::error::Result;
use crate::stats;
use crate::tx::{Tx, values};
use std::sync::Arc;
use stentor_domain::id::Id;

/// Rows that are removed between two looks at the clock.
const BATCH_ROWS: i64 = 50;
/// Keys that a list loses before the next one's turn: about a page.
const LIST_KEYS: i64 = 150;
/// Pages that are given back between two looks at the clock.
const BATCH_PAGES: i64 = 16;
/// Free pages that a file keeps, since what is written next will need them: a share of all, and no fewer than 16 MiB.
const KEPT_PAGES_SHARE: i64 = 20;
const KEPT_PAGES_MIN: i64 = 4_096;

/// What is removed, in the order in which a pass does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Payloads of events that stay.
    Payloads,
    /// Finished deliveries, each with its last attempt.
    Deliveries,
    /// Their keys in the lists of endpoints.
    ListedDeliveries,
    /// Attempts that are kept apart, but for those of unfinished deliveries.
    Attempts,
    /// Finished deliveries that were made long after their event, each with its attempts.
    LateDeliveries,
    /// Replays that ended before, and have left nothing over.
    Replays,
    /// What was counted of deliveries.
    Stats,
    /// Producers' own ids of events.
    EventKeys,
    /// Events.
    Events,
    /// Their keys in the lists of tenants.
    ListedEvents,
}

impl Store {
    /// Removes a slice of what belongs to events below the key `below`, from after the key `after` on.
    pub async fn remove(&self, what: Removal, below: i64, after: i64) -> Result<Slice> {
        let clock = Arc::clone(&self.0.common.clock);
        self.in_background(move |tx| {
            Box::pin(async move {
                let budget = Budget::new(&clock);
                let mut done = batch(tx, what, below, after).await?;
                while budget.allows(done.rows) {
                    // A walk through few owners begins again within the slice.
                    let (at, left) = match done.next {
                        Some(at) => (at, done.left),
                        None if done.left > 0 && after == 0 => (0, 0),
                        None => break,
                    };
                    let more = batch(tx, what, below, at).await?;
                    done = Slice {
                        rows: done.rows + more.rows.max(1),
                        left: left + more.left,
                        next: more.next,
                    };
                }
                Ok(done)
            })
        })
        .await
    }

    /// Gives a slice of the space that nothing uses any more back to the file system, but for what will be used soon. Tells how
    /// many pages. On PostgreSQL a day that is dropped gives back all of its space at once.
    pub async fn give_back_space(&self) -> Result<usize> {
        let clock = Arc::clone(&self.0.common.clock);
        self.in_background(move |tx| {
            Box::pin(async move {
                match tx {
                    Tx::Sqlite(connection) => give_back(connection, &Budget::new(&clock)),
                    Tx::Postgres(_) => Ok(0),
                }
            })
        })
        .await
    }
}

fn give_back(connection: &rusqlite::Connection, budget: &Budget) -> Result<usize> {
    let ask = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (pages, mut free) = (ask("page_count")?, ask("freelist_count")?);
    let kept = (pages / KEPT_PAGES_SHARE).max(KEPT_PAGES_MIN);
    let mut given = 0;
    while free > kept && budget.allows(given) {
        let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({BATCH_PAGES})"))?;
        let mut steps = statement.query([])?;
        while steps.next()?.is_some() {}
        free -= BATCH_PAGES;
        given += usize::try_from(BATCH_PAGES).unwrap_or(0);
    }
    Ok(given)
}

async fn batch(tx: &mut Tx<'_>, what: Removal, below: i64, after: i64) -> Result<Slice> {
    match what {
        Removal::Payloads => payloads(tx, below, after).await,
        Removal::Deliveries => {
            const END: &str = "SELECT n FROM deliveries WHERE n < ?1 ORDER BY n LIMIT 1 OFFSET ?2";
            range(tx, END, "DELETE FROM deliveries WHERE n <= ?1", below).await
        }
        Removal::ListedDeliveries => listed(tx, &LISTED_DELIVERIES, below, after).await,
        Removal::ListedEvents => listed(tx, &LISTED_EVENTS, below, after).await,
        Removal::Attempts => attempts(tx, below, after).await,
        Removal::LateDeliveries => late_deliveries(tx, below).await,
        Removal::Replays => replays(tx, below, after).await,
        Removal::Stats => stats::remove(tx, below).await,
        Removal::EventKeys => {
            const END: &str =
                "SELECT event FROM event_keys WHERE event < ?1 ORDER BY event LIMIT 1 OFFSET ?2";
            range(tx, END, "DELETE FROM event_keys WHERE event <= ?1", below).await
        }
        Removal::Events => {
            const END: &str = "SELECT n FROM events WHERE n < ?1 ORDER BY n LIMIT 1 OFFSET ?2";
            range(tx, END, "DELETE FROM events WHERE n <= ?1", below).await
        }
    }
}

/// Removes the rows with the least keys: `delete` up to the one that `end` tells, or up to `below`.
async fn range(tx: &mut Tx<'_>, end: &'static str, delete: &'static str, below: i64) -> Result<Slice> {
    let end = tx
        .row(end, values![below, BATCH_ROWS - 1], |row| row.int(0))
        .await?;
    let rows = tx.execute(delete, values![end.unwrap_or(below - 1)]).await?;
    Ok(Slice::of(rows, end))
}

/// How lists are gone through, which are there on SQLite only. A delivery that ended after the purge of its table was there keeps its
/// row until the next one, and its place in the list.
struct List {
    /// The first owner after ?1.
    owner: &'static str,
    /// The key below ?2 in the list of owner ?1 that has no row, and that so many of these are before.
    end: &'static str,
    /// Removes what the list of owner ?1 has up to ?2 and has no row.
    delete: &'static str,
}

macro_rules! list {
    ($table:literal, $owner:literal) => {
        List {
            owner: concat!(
                "SELECT ",
                $owner,
                " FROM listed_",
                $table,
                " WHERE ",
                $owner,
                " > ?1 ORDER BY ",
                $owner,
                " LIMIT 1"
            ),
            end: concat!(
                "SELECT n FROM listed_",
                $table,
                " AS l WHERE ",
                $owner,
                " = ?1 AND n < ?2 AND NOT EXISTS (SELECT 1 FROM ",
                $table,
                " WHERE ",
                $table,
                ".n = l.n) ORDER BY n LIMIT 1 OFFSET ?3"
            ),
            delete: concat!(
                "DELETE FROM listed_",
                $table,
                " AS l WHERE ",
                $owner,
                " = ?1 AND n <= ?2 AND NOT EXISTS (SELECT 1 FROM ",
                $table,
                " WHERE ",
                $table,
                ".n = l.n)"
            ),
        }
    };
}

const LISTED_DELIVERIES: List = list!("deliveries", "endpoint");
const LISTED_EVENTS: List = list!("events", "tenant");

/// Removes keys below `below` from the list of the first owner after the key `after`, no more than [`LIST_KEYS`]. Owners take turns: what
/// was listed at one time lies in neighbouring pages, whosever it is, while the pages of one list lie all over the file. Emptied one
/// list after the other, as many pages of ten million attempts' lists took a disk so long that others' commits waited 5 ms for it.
async fn listed(tx: &mut Tx<'_>, list: &List, below: i64, after: i64) -> Result<Slice> {
    let owner = match tx {
        Tx::Sqlite(_) => tx.row(list.owner, values![after], |row| row.int(0)).await?,
        Tx::Postgres(_) => None,
    };
    let Some(owner) = owner else {
        return Ok(Slice::of(0, None));
    };
    let range = values![owner, below, LIST_KEYS - 1];
    let end = tx.row(list.end, range, |row| row.int(0)).await?;
    let range = values![owner, end.unwrap_or(below - 1)];
    Ok(Slice {
        rows: tx.execute(list.delete, range).await?,
        left: usize::from(end.is_some()),
        next: Some(owner),
    })
}

/// Where a pass has been is written down: events that stay would be looked through again by every one to come.
async fn payloads(tx: &mut Tx<'_>, below: i64, after: i64) -> Result<Slice> {
    let swept = tx
        .row(
            "SELECT payloads_swept FROM retention WHERE one = 1",
            values![],
            |row| row.int(0),
        )
        .await?;
    let from = swept.unwrap_or(0).max(after);
    let end = tx
        .row(
            "SELECT n FROM events WHERE n >= ?1 AND n < ?2 ORDER BY n LIMIT 1 OFFSET ?3",
            values![from, below, BATCH_ROWS - 1],
            |row| row.int(0),
        )
        .await?;
    let last = end.unwrap_or(below - 1);
    let rows = tx
        .execute(
            "UPDATE events SET payload = NULL WHERE n >= ?1 AND n <= ?2 AND payload IS NOT NULL",
            values![from, last],
        )
        .await?;
    tx.execute(
        "UPDATE retention SET payloads_swept = ?1 WHERE payloads_swept < ?1",
        values![last + 1],
    )
    .await?;
    Ok(Slice::of(rows, end.map(|_| last + 1)))
}

/// An unfinished delivery keeps its attempts. They are looked for within the range only: asked about all of `work`, a server
/// may read all of it.
async fn attempts(tx: &mut Tx<'_>, below: i64, after: i64) -> Result<Slice> {
    let end = tx
        .row(
            "SELECT delivery FROM attempts WHERE delivery > ?1 AND delivery < ?2 ORDER BY delivery LIMIT 1 OFFSET ?3",
            values![after, below, BATCH_ROWS - 1],
            |row| row.int(0),
        )
        .await?;
    let rows = tx
        .execute(
            "DELETE FROM attempts WHERE delivery > ?1 AND delivery <= ?2 AND NOT EXISTS
               (SELECT 1 FROM work WHERE work.n = attempts.delivery AND work.n > ?1 AND work.n <= ?2)",
            values![after, end.unwrap_or(below - 1)],
        )
        .await?;
    Ok(Slice::of(rows, end))
}

/// Those of a replay or a fan-out that came later than the others: their keys say so, and their event's age counts.
async fn late_deliveries(tx: &mut Tx<'_>, below: i64) -> Result<Slice> {
    let late = tx
        .rows(
            "SELECT n FROM deliveries WHERE event < ?1 ORDER BY event LIMIT ?2",
            values![below, BATCH_ROWS],
            |row| row.int(0),
        )
        .await?;
    for n in &late {
        tx.execute("DELETE FROM attempts WHERE delivery = ?1", values![*n])
            .await?;
        tx.execute_one("DELETE FROM deliveries WHERE n = ?1", values![*n])
            .await?;
    }
    let full = i64::try_from(late.len()).is_ok_and(|rows| rows == BATCH_ROWS);
    Ok(Slice::of(late.len(), full.then_some(0)))
}

/// Their keys tell when they were asked for. One that has taken long is kept for as long after its end as any other.
async fn replays(tx: &mut Tx<'_>, below: i64, after: i64) -> Result<Slice> {
    let end = tx
        .row(
            "SELECT n FROM jobs WHERE n > ?1 AND n < ?2 ORDER BY n LIMIT 1 OFFSET ?3",
            values![after, below, BATCH_ROWS - 1],
            |row| row.int(0),
        )
        .await?;
    let rows = tx
        .execute(
            "DELETE FROM jobs WHERE n > ?1 AND n <= ?2 AND swept_at IS NOT NULL AND finished_at < ?3",
            values![after, end.unwrap_or(below - 1), Id { n: below, tag: 0 }.made_at()],
        )
        .await?;
    Ok(Slice::of(rows, end))
}
