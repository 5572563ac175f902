//! Lists: what a tenant or an endpoint has, each in the order of the keys.
//!
//! An index would do, were it not for what it costs: of neighbours in `events` and `deliveries` each belongs to somebody else, so that
//! every commit would write a page of the index for nearly every row. Here the rows of many commits are listed at once, in the
//! order of their owners, which takes a page for each owner instead: the tables `listed_events` and `listed_deliveries`, and the
//! row of `listed` that tells up to which keys they are complete. What is above is found in the tables themselves, of which it
//! is the end; `of_owner` has the statement that looks at both.
//!
//! The states of a row of `events`, or of `deliveries`, and the failure at each step:
//! 1. above: its key is above the one in `listed`. It is looked for there, among no more than come in [`SETTLES`] and with
//!    twice [`CHANGES`];
//! 2. listed: [`Writer::list_more`] adds its key and moves the one in `listed` past it, at the end of some transaction. The process
//!    dies before the commit - it is still above;
//! 3. late: a row with a key below, of a delivery that took longer, is listed in the transaction that writes it, by a trigger;
//! 4. taken back: a delivery that is sent again leaves the table and its list at once, by a trigger;
//! 5. expired: a purge takes the rows in their order, then the lists in theirs. In between, and where the process dies
//!    there, keys are listed that have no row, all of them below what `retention` says is kept.

use super::writer::Writer;
use crate::error::Result;
use rusqlite::params;
use std::time::Duration;
use stentor_domain::id::Id;

/// Rows that change, in all tables, until what has settled of one is listed, then of the other: an event that is delivered once
/// changes four, so that some 1,000 of each are listed at once. Whoever publishes may have to wait for that.
const CHANGES: u64 = 2_048;
/// The most of a table that one transaction lists, whose callers wait for it: after a crash, or where a large backlog is ended, more may
/// be there.
const LISTED_MAX: u32 = 4_096;
/// How much older than the newest key one has to be to be listed: most deliveries have ended by then, and need not come late.
const SETTLES: Duration = Duration::from_millis(250);

/// When rows are to be listed next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Listing {
    /// The changes that the connection had counted when it was done last; nothing where there is more to do at once. What an earlier
    /// life has left is not known.
    done_at: Option<u64>,
    /// Whose turn it is.
    turn: Turn,
}

#[derive(Clone, Copy, Debug, Default)]
enum Turn {
    #[default]
    Events,
    Deliveries,
}

/// How a table's rows are listed.
struct List {
    /// The newest key.
    newest: &'static str,
    /// The last key to be listed, of those above the present one and up to ?1; at most ?2 of them.
    end: &'static str,
    /// Lists what is above the present one, up to ?1.
    add: &'static str,
    /// Moves the present one to ?1.
    move_up: &'static str,
}

macro_rules! list {
    ($table:literal, $owner:literal) => {
        List {
            newest: concat!("SELECT max(n) FROM ", $table),
            end: concat!(
                "SELECT max(n) FROM (SELECT n FROM ",
                $table,
                " WHERE n > (SELECT ",
                $table,
                " FROM listed WHERE one = 1) AND n <= ?1 ORDER BY n LIMIT ?2)"
            ),
            add: concat!(
                "INSERT OR IGNORE INTO listed_",
                $table,
                " (",
                $owner,
                ", n) SELECT ",
                $owner,
                ", n FROM ",
                $table,
                " WHERE n > (SELECT ",
                $table,
                " FROM listed WHERE one = 1) AND n <= ?1 ORDER BY ",
                $owner,
                ", n"
            ),
            move_up: concat!("UPDATE listed SET ", $table, " = ?1 WHERE one = 1"),
        }
    };
}

const EVENTS: List = list!("events", "tenant");
const DELIVERIES: List = list!("deliveries", "endpoint");

impl Writer {
    /// Lists what has settled, once enough has changed.
    pub(crate) fn list_more(&mut self) -> Result<()> {
        let changes = self.connection.total_changes();
        if let Some(done_at) = self.listing.done_at
            && changes.saturating_sub(done_at) < CHANGES
        {
            return Ok(());
        }
        // What fails with this, on a full disk say, is tried again without it: a purge must go on.
        self.listing.done_at = Some(changes);
        let (list, next) = match self.listing.turn {
            Turn::Events => (&EVENTS, Turn::Deliveries),
            Turn::Deliveries => (&DELIVERIES, Turn::Events),
        };
        let done = self.list(list)?;
        self.listing = Listing {
            done_at: done.then(|| self.connection.total_changes()),
            turn: if done { next } else { self.listing.turn },
        };
        Ok(())
    }

    /// Tells whether nothing was left.
    fn list(&self, list: &List) -> Result<bool> {
        let newest: Option<i64> = self
            .connection
            .prepare_cached(list.newest)?
            .query_row([], |row| row.get(0))?;
        let newest = Id {
            n: newest.unwrap_or(0),
            tag: 0,
        };
        let settled = Id::least_key_at(newest.made_at().minus(SETTLES)) - 1;
        let end: Option<i64> = self
            .connection
            .prepare_cached(list.end)?
            .query_row(params![settled, LISTED_MAX], |row| row.get(0))?;
        let Some(end) = end else { return Ok(true) };
        let listed = self.connection.prepare_cached(list.add)?.execute([end])?;
        self.connection.prepare_cached(list.move_up)?.execute([end])?;
        Ok(u32::try_from(listed).is_ok_and(|listed| listed < LISTED_MAX))
    }
}
