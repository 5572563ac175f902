//! What is removed by age, and what somebody asked to erase.
//!
//! An event's payload has an age, and what is finished of it another; both count from the event's acceptance, so that both are
//! bounds for keys. A pass over everything older, a slice at a time:
//! 1. raised: [`Store::raise_retention`] writes the bounds down. From this moment nothing shows, claims or retries a payload below
//!    them, whatever is still in the tables. The process dies before - nothing has happened; after - the next start begins the
//!    pass anew, and finds less to do;
//! 2. ended: [`Store::end_without_payload`] ends unfinished deliveries of such events as `payload_expired`, those that wait at
//!    once, those in a node's memory with their attempt. The process dies - what was in memory is ended by the start; the rest
//!    reads as ended already, and a claim would end it too: never an empty body;
//! 3. removed: [`Store::remove`], and [`Store::drop_days`] where days have partitions. Each slice is a transaction that leaves what
//!    is below its end removed; on SQLite what owners have follows, in rounds. The process dies - the slice is done again;
//! 4. given back: [`Store::give_back_space`].
//!
//! An erasure goes the same way, for one event or for a tenant's: the wish is a row in `erasures`, from whose commit on the
//! content is gone for everybody, and sweeping follows it (see [`erasure`]).
//!
//! - `unfinished`: the second step;
//! - `removal`: the third and the fourth;
//! - [`erasure`]: wishes, and what follows them.

pub mod erasure;
mod removal;
mod unfinished;

pub use removal::Removal;
pub use unfinished::{Doomed, Walked};

use crate::Store;
use crate::error::Result;
use crate::tx::{Row, values};
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::delivery::PayloadGone;
use stentor_domain::{Clock, Timestamp};

/// Time that a slice may take before its commit, which somebody who publishes may wait for.
const SLICE_WORK_MAX: Duration = Duration::from_micros(500);
/// Rows that a slice may write, however fast that goes.
const SLICE_ROWS_MAX: usize = 4_000;

/// Keys that a pass goes up to; 0 is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    /// Events below lose their payload.
    pub payloads: i64,
    /// What is finished of events below goes.
    pub finished: i64,
}

impl Cuts {
    /// Events below go whole: neither age keeps anything of them.
    pub fn whole(self) -> i64 {
        self.payloads.min(self.finished)
    }
}

/// What a slice has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Rows that it wrote or removed.
    pub rows: usize,
    /// How many owners it passed by that have more to go: once `next` is `None`, a walk that found any begins again.
    pub left: usize,
    /// After which key the next one goes on; `None` where nothing is left behind it.
    pub next: Option<i64>,
}

impl Slice {
    /// Of what has no owners to pass by.
    pub(crate) fn of(rows: usize, next: Option<i64>) -> Self {
        Self { rows, left: 0, next }
    }
}

/// A slice's time and rows. Counted from when it runs, not from when it was asked for.
pub(crate) struct Budget {
    clock: Arc<dyn Clock>,
    started: Duration,
}

impl Budget {
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self {
            started: clock.monotonic(),
            clock: Arc::clone(clock),
        }
    }

    pub(crate) fn allows(&self, rows: usize) -> bool {
        rows < SLICE_ROWS_MAX && self.clock.monotonic().saturating_sub(self.started) < SLICE_WORK_MAX
    }
}

/// Why an event, `events` being `v` and its tenant `t`, has no payload any more, as a [`PayloadGone`]'s word; NULL while it has
/// one. The tables follow a little later.
macro_rules! payload_gone {
    () => {
        "CASE WHEN v.erased_at IS NOT NULL OR v.n < t.content_erased_below THEN 'erased'
              WHEN v.payload IS NULL OR v.n < (SELECT payloads_below FROM retention WHERE one = 1) THEN 'expired' END"
    };
}
pub(crate) use payload_gone;

/// Reads the word of `payload_gone`.
pub(crate) fn read_gone(row: &Row<'_>, at: usize) -> Result<Option<PayloadGone>> {
    match row.text_or_null(at)? {
        Some(_) => row.word(at, PayloadGone::parse).map(Some),
        None => Ok(None),
    }
}

impl Store {
    /// Writes down how far ages have come, which they never take back: what has gone does not return where they are set longer.
    pub async fn raise_retention(&self, cuts: Cuts, now: Timestamp) -> Result<()> {
        self.in_background(move |tx| {
            Box::pin(async move {
                tx.execute(
                    "UPDATE retention SET
                       payloads_below = CASE WHEN payloads_below < ?1 THEN ?1 ELSE payloads_below END,
                       deliveries_below = CASE WHEN deliveries_below < ?2 THEN ?2 ELSE deliveries_below END,
                       raised_at = ?3
                     WHERE payloads_below < ?1 OR deliveries_below < ?2",
                    values![cuts.payloads, cuts.finished, now],
                )
                .await?;
                Ok(())
            })
        })
        .await
    }
}
