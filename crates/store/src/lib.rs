//! Durable state, and the only crate that knows SQL.
//!
//! In reading order:
//! - `tx`, [`error`]: one transaction on whichever database there is, and what can go wrong;
//! - [`hot`], [`fresh`], `exchange`, `waiters`: the words of the hot path (accept, claim, finish), the handing over to the
//!   dispatcher, how an exchange is kept, and who waits for a test;
//! - [`sqlite`]: the embedded engine: the writer thread with its group commit, readers, checkpoints, migrations;
//! - [`config`]: the snapshot of the configuration that matching, authentication and sending read;
//! - [`change`], [`once`], [`seal`]: what all changes of the control plane share: clock, audit, idempotency, sealing;
//! - [`period`]: what questions about events and deliveries share: the scope and the span of acceptance they look at;
//! - [`background`]: bounded slices of the work that nobody waits for;
//! - [`projects`], [`keys`], [`key_uses`], [`tenants`], [`event_types`], [`endpoints`], [`events`], [`deliveries`], [`audit`]: the
//!   operations, a method of [`Store`] for each transaction.

pub mod audit;
pub mod background;
pub mod change;
pub mod config;
pub mod deliveries;
pub mod endpoints;
pub mod error;
pub mod event_types;
pub mod events;
pub mod fresh;
pub mod hot;
pub mod key_uses;
pub mod keys;
pub mod once;
pub mod period;
pub mod projects;
pub mod seal;
pub mod tenants;

mod exchange;
mod sqlite;
mod tx;
mod waiters;

pub use config::Config;
pub use error::{Result, StoreError};
pub use fresh::{Fresh, Handover, Waiting};
pub use seal::{MasterKey, MasterKeys};
pub use sqlite::{Options, Recorded, back_up_file, is_sealed, migrate_file};

use crate::hot::{Accept, Accepted, Cancel, Claim, ClaimedDue, Finish, Release};
use crate::seal::Sealer;
use crate::tx::Tx;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlite::{Command, Effects, Hot, Reply, Sqlite};
use std::sync::Arc;
use stentor_domain::id::{DeliveryId, Id};
use stentor_domain::{Chance, Clock};

/// The store. Cheap to clone; every clone is the same store.
#[derive(Clone, Debug)]
pub struct Store(Arc<Sqlite>);

impl Store {
    /// Opens the database, brings its schema up to date, takes back what a killed process had claimed, and starts the
    /// writer. The [`Fresh`] is for the dispatcher.
    pub fn open(options: Options) -> Result<(Self, Fresh)> {
        let (engine, fresh) = Sqlite::open(options)?;
        Ok((Self(Arc::new(engine)), fresh))
    }

    /// The snapshot of the configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// A new id.
    pub fn next_id(&self) -> Id {
        self.0.ids.next(self.0.clock.now(), &*self.0.chance)
    }

    /// The clock that dates what is stored.
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// The source of random numbers that ids and secrets are drawn from.
    pub fn chance(&self) -> &dyn Chance {
        &*self.0.chance
    }

    pub(crate) fn master(&self) -> &MasterKeys {
        &self.0.master
    }

    pub(crate) fn sealer(&self) -> Sealer {
        Sealer {
            master: self.0.master.clone(),
            chance: Arc::clone(&self.0.chance),
        }
    }

    /// Accepts events with their deliveries; answers once they are on disk, and handed over as far as there is room.
    pub async fn accept_events(&self, accept: Accept) -> Result<Accepted> {
        self.hot(|reply| Hot::Accept(Box::new(accept), reply)).await
    }

    /// Makes this node the owner of what is due for an endpoint. Not to be dropped before its answer: what was claimed would
    /// be in nobody's memory until the next start.
    pub async fn claim_due(&self, claim: Claim) -> Result<ClaimedDue> {
        self.hot(|reply| Hot::Claim(claim, reply)).await
    }

    /// Gives claimed deliveries back without an attempt.
    pub async fn release(&self, releases: Vec<Release>) -> Result<()> {
        self.hot(|reply| Hot::Release(releases, reply)).await
    }

    /// Ends a claimed delivery without an attempt.
    pub async fn cancel_claimed(&self, cancel: Cancel) -> Result<()> {
        self.hot(|reply| Hot::Cancel(cancel, reply)).await
    }

    /// Records an attempt and what follows from it. Shared, so that it can be tried again without a copy.
    pub async fn finish_attempt(&self, finish: impl Into<Arc<Finish>>) -> Result<Recorded> {
        self.hot(|reply| Hot::Finish(finish.into(), reply)).await
    }

    /// Endpoints with deliveries that wait, in the order of shard and endpoint, those after `after`; at most `limit`.
    /// The cost grows with the endpoints, not with their deliveries.
    pub async fn waiting_endpoints(&self, after: (u16, i64), limit: usize) -> Result<Vec<Waiting>> {
        self.ask(move |tx| Box::pin(async move { sqlite::waiting_endpoints(tx, after, limit) }))
            .await
    }

    /// Waits for the end of a delivery that is yet to be written: call this first, then write, then await.
    pub fn finished(&self, delivery: DeliveryId) -> tokio::sync::oneshot::Receiver<()> {
        self.0.waiters.register(delivery.n())
    }

    /// Writes what was asked for so far, then closes. What is to be written later gets [`StoreError::Closed`]; questions are
    /// still answered.
    pub async fn close(&self) {
        let engine = Arc::clone(&self.0);
        drop(tokio::task::spawn_blocking(move || engine.close()).await);
    }

    async fn hot<T>(&self, member: impl FnOnce(Reply<T>) -> Hot) -> Result<T> {
        let (reply, answer) = Reply::new();
        self.0
            .queue
            .push(Command::Hot(member(reply)))
            .map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs a change of the control plane in a transaction of its own: committed where it answers `Ok`, undone where it
    /// answers an error. The answer comes after the snapshot has the change.
    pub(crate) async fn change<T, E, W>(&self, work: W) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        W: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
    {
        self.change_and(work, |_, _| ()).await
    }

    /// The same, with what `follow` notes outside the database: the writer lets it out after the commit, whether or not
    /// the caller is still there to do so.
    pub(crate) async fn change_and<T, E, W, F>(&self, work: W, follow: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        W: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
        F: FnOnce(&T, &mut Effects) + Send + 'static,
    {
        let (sender, answer) = tokio::sync::oneshot::channel();
        let change = Box::new(move |writer: &mut sqlite::Writer| {
            let mut made = None;
            let outcome = writer.transaction(|writer, effects| {
                // On the embedded database no step ever waits.
                let done = work(&mut writer.tx)
                    .now_or_never()
                    .unwrap_or(Err(StoreError::Closed.into()));
                effects.configured = true;
                done.map(|value| {
                    follow(&value, effects);
                    made = Some(value);
                })
            });
            let answer = outcome.and_then(|()| made.ok_or_else(|| StoreError::Closed.into()));
            drop(sender.send(answer));
        });
        self.0
            .queue
            .push(Command::Change(change))
            .map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Asks a question in one snapshot of the database, beside the writer.
    pub(crate) async fn ask<T, W>(&self, question: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T>> + Send + 'static,
    {
        let readers = Arc::clone(&self.0.readers);
        readers
            .ask(move |tx| question(tx).now_or_never().unwrap_or(Err(StoreError::Closed)))
            .await
    }
}
