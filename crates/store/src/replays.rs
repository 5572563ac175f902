//! Replays: what is stored of them, what callers do with them, and their slices.
//!
//! A replay is a row of `jobs`. Its background work (`engine::jobs::replay`) is made of slices, each one transaction that moves
//! deliveries **and** the place that the replay has come to, so that after a crash none is replayed twice and none is left out:
//!
//! | step | what it writes | if the process dies |
//! |---|---|---|
//! | asked for | the row, `queued`, with all that it will look at: what has a key below `before` | before: the caller got no answer |
//! | [`start_replay`](Store::start_replay) | `running`, with a total and the unfinished ones as skipped | before: it is started by the next one |
//! | [`reopen_replayed`](Store::reopen_replayed) | up to a slice of deliveries back into `work`, the place behind them | the whole slice was written, or none of it |
//! | [`insert_missing`](Store::insert_missing) | up to a slice of new deliveries, the place behind their events | the same |
//! | the last slice | `done` with it | the same |
//! | [`cancel_replay`](Store::cancel_replay) | `cancelled`; from now on no slice finds it running | - |
//! | [`end_replayed`](Store::end_replayed) | a slice of what it brought and is unfinished: ended, or asked to end with its attempt | the rest is still found by its replay |
//!
//! Every step raises the configuration's clock first, as the retry of a single delivery does: nobody can cancel the replay, disable
//! or delete its endpoint, or retry one of its deliveries by hand while it is being made.
//!
//! - `rows`: a row of `jobs` as a replay;
//! - `change`: asking for one and cancelling it;
//! - `look`: what lies before a replay, without changing anything;
//! - `slice`: the background's steps.

mod change;
mod look;
mod rows;
mod slice;

#[cfg(test)]
mod tests;

use crate::Store;
use crate::change::By;
use crate::error::{Result, StoreError};
use crate::fresh::Waiting;
use crate::hot::NewDelivery;
use crate::once::{Done, Once};
use stentor_domain::Timestamp;
use stentor_domain::channels::Channels;
use stentor_domain::delivery::Reason;
use stentor_domain::id::{EndpointId, EventId, Id, ReplayId, TenantId};
use stentor_domain::key::Scope;
use stentor_domain::name::EventTypeName;
use stentor_domain::replay::{Replay, ReplaySpec, ReplayState};

/// A replay to be made.
#[derive(Clone, Debug)]
pub struct NewReplay {
    /// Its id, made by the caller: what has a later one did not exist when it was asked for.
    pub id: ReplayId,
    /// Where it sends to.
    pub endpoint: EndpointId,
    /// What it sends again.
    pub spec: ReplaySpec,
}

/// Why a replay could not be made or cancelled.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no such replay in the caller's scope.
    #[error("there is no such replay")]
    NotFound,
    /// There is no such endpoint.
    #[error("there is no such endpoint")]
    NoEndpoint,
    /// Its endpoint is disabled.
    #[error("the endpoint is disabled")]
    EndpointDisabled,
    /// So many of the endpoint's replays have not ended.
    #[error("the endpoint has {0} replays that have not ended")]
    TooMany(u32),
    /// It has ended already.
    #[error("the replay has ended")]
    Finished,
    /// The store's own fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a replay looks at: one kind, then the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Deliveries that have ended.
    Finished,
    /// Events that may have no delivery.
    Missing,
}

/// A range of keys: those above `after`, and below `before`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The key that was looked at last, or the one before the first.
    pub after: i64,
    /// The first key that is not looked at.
    pub before: i64,
}

impl Keys {
    /// The keys of what a replay asked for at `at`, whose id has the key `asked`, looks at.
    pub fn of(spec: &ReplaySpec, asked: i64, at: Timestamp) -> Self {
        // Made in the same millisecond is made before where its key is lower.
        let before = if spec.until >= at {
            asked
        } else {
            Id::least_key_at(spec.until).min(asked)
        };
        Self {
            after: Id::least_key_at(spec.since) - 1,
            before,
        }
    }
}

/// What the next step of a replay depends on.
#[derive(Clone, Debug)]
pub struct Turn {
    /// The replay, as anybody sees it.
    pub replay: Replay,
    /// Its state as it is stored: that its endpoint is deleted may be yet to be written down.
    pub stored: ReplayState,
    /// The endpoint's shard.
    pub shard: u16,
    /// What it looks at now.
    pub phase: Phase,
    /// Where it looks next.
    pub keys: Keys,
    /// Deliveries that are due at the endpoint and wait for it; counted to the limit.
    pub due: u32,
    /// Replayed deliveries of the endpoint that are unfinished; counted to the limit.
    pub unfinished: u32,
}

impl Turn {
    fn waiting(&self, due_at: Timestamp) -> Waiting {
        Waiting {
            endpoint: self.replay.endpoint.n(),
            shard: self.shard,
            due_at,
        }
    }
}

/// How much lies before a replay that starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// What it will look at; `None` where there is too much to count.
    pub total: Option<u64>,
    /// Unfinished deliveries, which it skips.
    pub unfinished: u64,
}

/// A look at some of what lies before a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// How many were looked at; fewer than asked for: there are no more.
    pub considered: u32,
    /// Those that would be replayed.
    pub replayable: u32,
    /// The key of the last one.
    pub last: Option<i64>,
}

/// An event that a replay for missing deliveries looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The event.
    pub id: EventId,
    /// Its type.
    pub event_type: EventTypeName,
    /// Its channels.
    pub channels: Channels,
    /// Is its payload gone?
    pub payload_gone: bool,
    /// Does it have a delivery for the endpoint, whatever its state, or is it the event of a test?
    pub delivered: bool,
}

/// What a slice found missing among the events that it looked at.
#[derive(Clone, Debug, Default)]
pub struct Missing {
    /// The deliveries to be made, each with its event's key.
    pub deliveries: Vec<(i64, NewDelivery)>,
    /// Events that were looked at.
    pub considered: u32,
    /// Those that want a delivery and have no payload any more.
    pub skipped: u32,
    /// The key of the last one; `None` where none was left.
    pub last: Option<i64>,
    /// Were these all that were left?
    pub complete: bool,
}

impl Store {
    /// Makes a replay, queued behind those of its endpoint that have not ended.
    pub async fn create_replay(
        &self,
        by: By,
        new: NewReplay,
        once: Option<Once<Replay>>,
    ) -> Result<Done<Replay>, ReplayError> {
        self.change(move |tx| Box::pin(change::create(tx, by, new, once)))
            .await
    }

    /// The replay with this id.
    pub async fn replay(&self, scope: Scope, id: ReplayId) -> Result<Option<Replay>> {
        self.ask(move |tx| {
            Box::pin(async move { Ok(rows::find(tx, scope, id).await?.map(|job| job.replay)) })
        })
        .await
    }

    /// Replays in `scope`, newest first, those older than `before`; at most `limit`.
    pub async fn replays(&self, scope: Scope, before: Option<i64>, limit: u32) -> Result<Vec<Replay>> {
        self.ask(move |tx| Box::pin(rows::page(tx, scope, before, limit)))
            .await
    }

    /// Ends a replay: nothing more is replayed from this moment on. What it has brought and is unfinished is ended by the
    /// background, see [`end_replayed`](Self::end_replayed).
    pub async fn cancel_replay(
        &self,
        by: By,
        scope: Scope,
        id: ReplayId,
        once: Option<Once<Replay>>,
    ) -> Result<Done<Replay>, ReplayError> {
        self.change(move |tx| Box::pin(change::cancel(tx, by, scope, id, once)))
            .await
    }

    /// Replays whose turn it can be, of each endpoint the oldest: those after the one with the key `after`, then from the first on;
    /// at most `limit`.
    pub async fn replays_to_do(&self, after: i64, limit: u32) -> Result<Vec<ReplayId>> {
        self.ask(move |tx| Box::pin(rows::to_do(tx, after, limit))).await
    }

    /// What the next step of a replay depends on; `None` where nothing is left to be done for it.
    pub async fn replay_turn(&self, id: ReplayId, now: Timestamp) -> Result<Option<Turn>> {
        self.ask(move |tx| Box::pin(look::turn(tx, id, now))).await
    }

    /// How much lies before a replay that starts.
    pub async fn replay_extent(&self, turn: Turn) -> Result<Extent> {
        self.ask(move |tx| Box::pin(async move { look::extent(tx, &turn).await }))
            .await
    }

    /// Looks at the next deliveries of an endpoint that have ended, at most `limit`.
    pub async fn look_at_finished(
        &self,
        endpoint: EndpointId,
        spec: ReplaySpec,
        keys: Keys,
        limit: u32,
    ) -> Result<Looked> {
        self.ask(move |tx| {
            Box::pin(async move {
                let rows = look::finished(tx, endpoint.n(), &spec, keys, limit).await?;
                Ok(Looked {
                    considered: look::count(rows.len()),
                    replayable: look::count(rows.iter().filter(|row| row.replayable()).count()),
                    last: rows.last().map(|row| row.n),
                })
            })
        })
        .await
    }

    /// The next events of a tenant, at most `limit`, and whether each has a delivery for the endpoint. What has none then is given
    /// none later but by the replay itself: a fan-out that still goes on is waited for. `None` while there is one.
    pub async fn look_for_missing(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        keys: Keys,
        limit: u32,
    ) -> Result<Option<Vec<Candidate>>> {
        self.ask(move |tx| Box::pin(look::candidates(tx, tenant.n(), endpoint.n(), keys, limit)))
            .await
    }

    /// Starts a replay that is queued. Tells whether it did.
    pub async fn start_replay(&self, turn: Turn, extent: Extent) -> Result<usize> {
        self.change(move |tx| Box::pin(async move { slice::start(tx, &turn, extent).await }))
            .await
    }

    /// Makes the next deliveries due that have ended. Tells how many it looked at, or at least that it wrote something; none: the
    /// replay is not where the turn saw it.
    pub async fn reopen_replayed(&self, turn: Turn, now: Timestamp) -> Result<usize> {
        let waiting = turn.waiting(now);
        self.change_and(
            move |tx| Box::pin(async move { slice::reopen(tx, &turn, now).await }),
            move |written: &usize, effects| effects.waiting.extend((*written > 0).then_some(waiting)),
        )
        .await
    }

    /// Makes deliveries that were missing, due now. Tells as [`reopen_replayed`](Self::reopen_replayed) does.
    pub async fn insert_missing(&self, turn: Turn, missing: Missing, now: Timestamp) -> Result<usize> {
        let waiting = turn.waiting(now);
        self.change_and(
            move |tx| Box::pin(async move { slice::insert(tx, &turn, missing, now).await }),
            move |written: &usize, effects| effects.waiting.extend((*written > 0).then_some(waiting)),
        )
        .await
    }

    /// Ends unfinished deliveries that a cancelled replay has brought: at once those that wait, with their attempts those that a node
    /// owns. Tells how many rows it wrote; at last that nothing is left is one.
    pub async fn end_replayed(&self, turn: Turn, now: Timestamp) -> Result<usize> {
        let waiting = turn.waiting(now);
        let written = self
            .change_and(
                move |tx| Box::pin(async move { slice::end(tx, &turn, now).await }),
                move |ended: &slice::Ended, effects| {
                    // At an ordered endpoint it may be another one's turn now.
                    effects.reordered.push(waiting.endpoint);
                    effects.waiting.push(waiting);
                    effects.ended.extend(&ended.at_once);
                    let wishes = ended.with_their_attempts.iter();
                    effects
                        .cancel_requested
                        .extend(wishes.map(|delivery| (*delivery, Reason::Requested)));
                },
            )
            .await?;
        Ok(written.rows())
    }

    /// Writes down that a replay was cancelled because its endpoint, or its tenant, was deleted. Its deliveries are the sweeper's.
    pub async fn close_replay(&self, turn: Turn, reason: Reason, now: Timestamp) -> Result<usize> {
        self.change(move |tx| Box::pin(async move { slice::close(tx, &turn, reason, now).await }))
            .await
    }
}
