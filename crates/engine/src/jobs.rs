//! The background work, each kind a `tick()` that does one bounded slice and tells how much it did. Everything is durable:
//! a slice that a crash interrupts is done again.

mod notices;
mod replay;
pub mod retention;

use crate::Engine;
use crate::error::Result;
use crate::filter::payload::Lazy;
use crate::matching::{self, Candidate};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::id::DeliveryId;
use stentor_domain::key::Scope;
use stentor_domain::limits::FANOUT_INLINE_MAX;
use stentor_store::background::Fanout;
use stentor_store::config::EndpointConfig;
use stentor_store::hot::NewDelivery;
use stentor_store::master_keys::Resealed;
use tokio::sync::watch;

/// How long to rest once nothing is left to do.
const REST: Duration = Duration::from_secs(1);
/// How often a purge takes a slice: most who publish meet none, and the disk has time for its pages. Of 700 rows and more each, these are
/// some 40,000 a second.
const PURGE_EVERY: Duration = Duration::from_millis(20);
/// The least that a purge rests after a slice, whatever that took.
const PURGE_REST: Duration = Duration::from_millis(10);
/// How often the uses of keys are written.
const KEY_USES_EVERY: Duration = Duration::from_secs(60);
/// How often room is made for the days to come, of which there are several in advance.
const DAYS_EVERY: Duration = Duration::from_secs(3_600);

impl Engine {
    /// One slice of every kind, where this process works for all. Tells how many rows it wrote in all, about: where that is none,
    /// nothing is left to do, or it has to wait for something.
    pub async fn tick_jobs(&self) -> Result<usize> {
        Ok(self.tick_purge().await? + self.tick_work().await?)
    }

    /// The same of what is not a purge.
    async fn tick_work(&self) -> Result<usize> {
        if !self.store.owns_shards() {
            return Ok(0);
        }
        Ok(self.fan_out().await?
            + self.sweep().await?
            + self.forget().await?
            + self.replay().await?
            + self.fold_stats().await?
            + self.reseal().await?
            + self.tell().await?)
    }

    /// The same of what expires and what is erased. Apart, so that what makes room goes on where there is none for more events.
    async fn tick_purge(&self) -> Result<usize> {
        if !self.store.owns_shards() {
            return Ok(0);
        }
        self.purge().await
    }

    /// Continues the fan-out of an event that matched more endpoints than its own transaction wrote: to those that existed
    /// when it was accepted, and want it now.
    async fn fan_out(&self) -> Result<usize> {
        let Some(fanout) = self.store.next_fanout().await? else {
            return Ok(0);
        };
        let tenant = self.store.config().tenant(fanout.tenant);
        let endpoints = tenant.as_ref().map_or(&[][..], |tenant| {
            tenant.endpoints_between(fanout.after_endpoint, fanout.event.n())
        });
        let payload = self.payload_to_filter(&fanout, endpoints).await?;
        let event = Candidate {
            event_type: &fanout.event_type,
            channels: &fanout.channels,
            payload: &Lazy::new(&payload),
        };
        let deliveries: Vec<_> = endpoints
            .iter()
            .filter(|configured| matching::check(configured, event).is_ok())
            .take(FANOUT_INLINE_MAX)
            .map(|configured| NewDelivery {
                id: DeliveryId(self.store.next_id()),
                endpoint: configured.endpoint.id.n(),
                shard: configured.shard,
            })
            .collect();
        let written = deliveries.len();
        self.store.continue_fanout(fanout, self.now(), deliveries).await?;
        Ok(written.max(1))
    }

    /// The event's payload, where a filter will ask for it. Of one that is gone no filter finds anything: nothing could be
    /// delivered of it either.
    async fn payload_to_filter(&self, fanout: &Fanout, endpoints: &[Arc<EndpointConfig>]) -> Result<Bytes> {
        let filters = |configured: &Arc<EndpointConfig>| configured.endpoint.settings.filter.is_some();
        if !endpoints.iter().any(filters) {
            return Ok(Bytes::new());
        }
        let found = self.store.event(Scope::Root, fanout.event).await?;
        Ok(found.and_then(|(_, payload)| payload).unwrap_or_default())
    }

    /// Ends what waits for deleted endpoints.
    async fn sweep(&self) -> Result<usize> {
        Ok(self.store.sweep_deleted(self.now()).await?)
    }

    /// Forgets idempotency keys that have ended.
    async fn forget(&self) -> Result<usize> {
        Ok(self.store.forget_idempotency_keys(self.now()).await?)
    }

    /// Adds what has changed of the counts to them.
    async fn fold_stats(&self) -> Result<usize> {
        Ok(self.store.fold_stats(self.now()).await?)
    }

    /// Takes one step of a rotation of master keys.
    async fn reseal(&self) -> Result<usize> {
        let step = self.store.reseal().await?;
        match &step {
            Resealed::Nothing | Resealed::Rows { more: true, .. } => {}
            Resealed::Awaits(nodes) => {
                tracing::debug!(?nodes, "a new master key waits until all nodes know it");
            }
            Resealed::Seals(key) => {
                tracing::info!(%key, "a new master key seals; what others have sealed is sealed anew");
            }
            Resealed::Rows { more: false, .. } => {
                tracing::info!("everything is sealed with the new master key; no other one is needed");
            }
        }
        Ok(step.rows())
    }

    /// Makes room for the days to come.
    async fn make_days(&self) {
        match self.store.make_days(self.now()).await {
            Ok(0) => {}
            Ok(made) => tracing::info!(made, "made partitions for the days to come"),
            Err(error) => {
                tracing::error!(%error, "partitions for the days to come could not be made; it is tried again");
            }
        }
    }

    /// Writes when keys were last used. What cannot be written is written the next time.
    async fn write_key_uses(&self) {
        loop {
            match self.store.write_key_uses().await {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    return tracing::warn!(%error, "the uses of keys could not be written; it is tried again");
                }
            }
        }
    }
}

/// Ticks until `stop` turns true.
pub async fn run(engine: Engine, stop: watch::Receiver<bool>) {
    tokio::join!(work_on(&engine, stop.clone()), purge_on(&engine, stop));
    engine.write_key_uses().await;
}

async fn work_on(engine: &Engine, mut stop: watch::Receiver<bool>) {
    let mut key_uses_due = engine.now().plus(KEY_USES_EVERY);
    let mut days_due = engine.now().plus(DAYS_EVERY);
    loop {
        if engine.now() >= days_due {
            days_due = engine.now().plus(DAYS_EVERY);
            engine.make_days().await;
        }
        if engine.now() >= key_uses_due {
            key_uses_due = engine.now().plus(KEY_USES_EVERY);
            engine.write_key_uses().await;
        }
        let has_done = did_something(engine.tick_work().await);
        tokio::select! {
            () = rest(if has_done { Duration::ZERO } else { REST }) => {}
            () = engine.jobs_woken.notified() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

async fn purge_on(engine: &Engine, mut stop: watch::Receiver<bool>) {
    loop {
        let began = engine.store.clock().monotonic();
        let has_done = did_something(engine.tick_purge().await);
        let took = engine.store.clock().monotonic().saturating_sub(began);
        let pause = if has_done {
            PURGE_EVERY.saturating_sub(took).max(PURGE_REST)
        } else {
            REST
        };
        tokio::select! {
            () = rest(pause) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

fn did_something(tick: Result<usize>) -> bool {
    match tick {
        Ok(rows) => rows > 0,
        Err(error) => {
            tracing::error!(%error, "background work failed; it is tried again");
            false
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the loops' own rest, between two ticks; tests call the ticks"
)]
fn rest(time: Duration) -> tokio::time::Sleep {
    tokio::time::sleep(time)
}
