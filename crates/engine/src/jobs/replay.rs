//! Replays, a slice at a time. What a slice writes, and what becomes of it if the process dies, is in `stentor_store::replays`.
//!
//! One replay of each endpoint has a turn: the oldest that leaves something to be done. A tick goes round them from where the last
//! one stopped, and ends with the first that could do something, so that the largest replay delays another one by a slice.
//!
//! What a turn does depends on where the replay is:
//!
//! | it is | and | then |
//! |---|---|---|
//! | not ended | its endpoint or tenant was deleted | it is cancelled; the sweeper ends its deliveries |
//! | not ended | its endpoint is disabled | it waits |
//! | queued | | it starts: what lies before it is counted |
//! | running | enough of its endpoint's deliveries are due, or unfinished | it waits: replayed deliveries go at the endpoint's own pace, and what is published meanwhile does not come behind a million of them |
//! | running | it looks at deliveries that have ended | the next slice of them is due |
//! | running | it looks for events without a delivery | the next slice of events; those that the endpoint wants now get one |
//! | cancelled | what it brought is unfinished | the next slice of that is ended |

use crate::Engine;
use crate::error::Result;
use std::sync::atomic::Ordering;
use stentor_domain::delivery::Reason;
use stentor_domain::id::{DeliveryId, ReplayId};
use stentor_domain::limits::{REPLAY_DUE_MAX, REPLAY_SLICE_ROWS, REPLAY_UNFINISHED_MAX};
use stentor_domain::replay::ReplayState;
use stentor_store::config::EndpointConfig;
use stentor_store::hot::NewDelivery;
use stentor_store::replays::{Candidate, Missing, Phase, Turn};

/// Replays that a tick looks at before it gives up: all the others wait for their endpoints.
const TURNS_MAX: u32 = 100;

impl Engine {
    /// The turn of one replay that can do something. Tells about how many rows it wrote.
    pub(super) async fn replay(&self) -> Result<usize> {
        let last = self.replay_turn.load(Ordering::Relaxed);
        for id in self.store.replays_to_do(last, TURNS_MAX).await? {
            // One that fails must not have its turn again at once.
            self.replay_turn.store(id.n(), Ordering::Relaxed);
            let written = self.take_turn(id).await?;
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }

    async fn take_turn(&self, id: ReplayId) -> Result<usize> {
        let now = self.now();
        let Some(turn) = self.store.replay_turn(id, now).await? else {
            return Ok(0);
        };
        let waits_for_endpoint = turn.due >= REPLAY_DUE_MAX || turn.unfinished >= REPLAY_UNFINISHED_MAX;
        match (turn.stored, turn.replay.reason) {
            (ReplayState::Done, _) => Ok(0),
            (ReplayState::Cancelled, _) => Ok(self.store.end_replayed(turn, now).await?),
            (_, Some(reason @ (Reason::EndpointDeleted | Reason::TenantDeleted))) => {
                Ok(self.store.close_replay(turn, reason, now).await?)
            }
            (_, Some(Reason::EndpointDisabled)) => Ok(0),
            (ReplayState::Queued, _) => {
                let extent = self.store.replay_extent(turn.clone()).await?;
                Ok(self.store.start_replay(turn, extent).await?)
            }
            (ReplayState::Running, _) if waits_for_endpoint => Ok(0),
            (ReplayState::Running, _) => match turn.phase {
                Phase::Finished => Ok(self.store.reopen_replayed(turn, now).await?),
                Phase::Missing => self.replay_missing(turn).await,
            },
        }
    }

    async fn replay_missing(&self, turn: Turn) -> Result<usize> {
        let Some(configured) = self.store.config().endpoint(turn.replay.endpoint.n()) else {
            return Ok(0);
        };
        let looked = self.store.look_for_missing(
            turn.replay.tenant,
            turn.replay.endpoint,
            turn.keys,
            REPLAY_SLICE_ROWS,
        );
        let Some(candidates) = looked.await? else {
            return Ok(0);
        };
        let missing = self.missing_among(&candidates, &turn, &configured).await?;
        Ok(self.store.insert_missing(turn, missing, self.now()).await?)
    }

    async fn missing_among(
        &self,
        candidates: &[Candidate],
        turn: &Turn,
        configured: &EndpointConfig,
    ) -> Result<Missing> {
        let considered = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
        let mut missing = Missing {
            considered,
            last: candidates.last().map(|last| last.id.n()),
            complete: considered < REPLAY_SLICE_ROWS,
            ..Missing::default()
        };
        for event in candidates {
            if !self.lacks(configured, &turn.replay.spec, event).await? {
                continue;
            }
            if event.payload_gone {
                missing.skipped += 1;
                continue;
            }
            let delivery = NewDelivery {
                id: DeliveryId(self.store.next_id()),
                endpoint: turn.replay.endpoint.n(),
                shard: turn.shard,
            };
            missing.deliveries.push((event.id.n(), delivery));
        }
        Ok(missing)
    }
}
