//! Durable state, and the only crate that knows SQL.
//!
//! In reading order:
//! - [`database`], `tx`, [`error`]: which database there is, one transaction on it, and what can go wrong;
//! - [`hot`], `member`, [`fresh`], `effects`: the words of the hot path (accept, claim, finish), a word with its answer, the
//!   handing over to the dispatcher, and what else a commit lets out;
//! - [`health`], [`notices`]: what is known of the endpoints' health, and what those who run Stentor should hear of;
//! - `ordering`: the places of deliveries in the order of ordered endpoints;
//! - `outcome`, `exchange`, `wish`, `waiters`: how an attempt is kept, why a delivery is to end with it, who waits for a test;
//! - `migrations`, `start`, `common`: the schema, what a start does on any database, and what every store has in memory;
//! - `sqlite`: the embedded engine: the writer thread with its group commit, readers, checkpoints, migrations;
//! - `postgres`: the engine on a PostgreSQL server: connections, committers, the node's lease, partitions, migrations;
//! - [`config`]: the snapshot of the configuration that matching, authentication and sending read;
//! - [`change`], [`once`], [`seal`]: what all changes of the control plane share: clock, audit, idempotency, sealing;
//! - [`master_keys`]: which key seals, and how another one takes its place while everything goes on;
//! - [`authenticator`]: knowing again what was given out, such as where a list goes on;
//! - [`period`]: what questions about events and deliveries share: the scope and the span of acceptance they look at;
//!   `of_owner`: how what a tenant or an endpoint has is found; `channels`: how channels are a column;
//! - [`metrics`], [`backlog`]: what a process counts of itself, and how far sending is behind;
//! - `tally`, [`stats`]: what a transaction changes of the counts, and the counts;
//! - [`background`], [`retention`]: bounded slices of the work that nobody waits for; what is removed when, and erased;
//! - [`projects`], [`keys`], [`key_uses`], [`tenants`], [`event_types`], [`endpoints`], [`operational`], [`events`], [`deliveries`],
//!   [`replays`], [`audit`]: the operations, a method of [`Store`] for each transaction.

pub mod audit;
pub mod authenticator;
pub mod background;
pub mod backlog;
mod backpressure;
pub mod change;
pub mod config;
pub mod database;
pub mod deliveries;
pub mod endpoints;
pub mod error;
pub mod event_types;
pub mod events;
pub mod fresh;
pub mod health;
pub mod hot;
pub mod key_uses;
pub mod keys;
pub mod master_keys;
pub mod metrics;
pub mod notices;
pub mod once;
pub mod operational;
pub mod period;
pub mod projects;
pub mod replays;
pub mod retention;
pub mod seal;
pub mod stats;
pub mod tenants;

mod channels;
mod common;
mod effects;
mod exchange;
mod member;
mod migrations;
mod of_owner;
mod ordering;
mod outcome;
mod postgres;
mod room;
mod sqlite;
mod start;
mod tally;
mod tx;
mod waiters;
mod wish;

pub use backpressure::Backpressure;
pub use config::Config;
pub use database::{Database, Options, Purpose};
pub use error::{Result, StoreError};
pub use fresh::{Fresh, Handover, Waiting};
pub use member::Recorded;
pub use postgres::{DaysDropped, PostgresAddress, measure};
pub use room::{Room, RoomTicket};
pub use seal::{MasterKey, MasterKeyId, MasterKeys};
pub use sqlite::back_up_file;
/// What measuring needs of an embedded database, as [`measure`] is what it needs of the other.
pub mod measure_file {
    pub use crate::sqlite::{AGED_ATTEMPTS_OF_EVENT, aged_left, slow_down_the_disk, write_aged};
}

use crate::authenticator::Authenticator;
use crate::common::{Common, Seams};
use crate::effects::Effects;
use crate::health::Known;
use crate::hot::{Accept, Accepted, Cancel, Claim, ClaimedDue, Finish, NewEvent, Release};
use crate::member::{Hot, Reply};
use crate::metrics::Metrics;
use crate::postgres::Postgres;
use crate::seal::Sealer;
use crate::sqlite::Sqlite;
use crate::tx::Tx;
use futures_util::future::BoxFuture;
use std::ops::Range;
use std::sync::Arc;
use stentor_domain::attempt::Trigger;
use stentor_domain::id::{DeliveryId, Id};
use stentor_domain::{Chance, Clock, Timestamp};

/// The store. Cheap to clone; every clone is the same store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    common: Common,
    engine: Engine,
}

/// Which database does the work.
#[derive(Debug)]
enum Engine {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.0.engine).finish()
    }
}

/// Brings the schema of a database up to date, with no server running. Tells the versions it had and has.
pub async fn migrate(database: &Database) -> Result<Range<usize>> {
    match database {
        Database::File(path) => sqlite::migrate_file(path),
        Database::Postgres(address) => postgres::migrate(address).await,
    }
}

/// Tells whether a database was ever opened with a master key, so that no other key will do. One that does not exist, or
/// was only migrated, was not.
pub async fn is_sealed(database: &Database) -> Result<bool> {
    match database {
        Database::File(path) => sqlite::is_sealed(path),
        Database::Postgres(address) => postgres::is_sealed(address).await,
    }
}

impl Store {
    /// Opens the database, brings its schema up to date, takes back what a killed process had claimed, and starts to
    /// write. The [`Fresh`] is for the dispatcher.
    pub async fn open(options: Options) -> Result<(Self, Fresh)> {
        let Options {
            database,
            purpose,
            master,
            clock,
            chance,
        } = options;
        let seams = Seams {
            master,
            clock,
            chance,
        };
        let (engine, common, fresh) = match database {
            Database::File(path) => {
                let (engine, common, fresh) = Sqlite::open(path, seams)?;
                (Engine::Sqlite(engine), common, fresh)
            }
            Database::Postgres(address) => {
                let (engine, common, fresh) = Postgres::open(address, purpose, seams).await?;
                (Engine::Postgres(engine), common, fresh)
            }
        };
        Ok((Self(Arc::new(Inner { common, engine })), fresh))
    }

    /// The snapshot of the configuration.
    pub fn config(&self) -> &Config {
        &self.0.common.config
    }

    /// What this process counts and measures of itself.
    pub fn metrics(&self) -> &Metrics {
        &self.0.common.metrics
    }

    /// What is known of an endpoint's health, as the last commit left it.
    pub fn known(&self, endpoint: i64) -> Known {
        self.0.common.healths.get(endpoint)
    }

    /// A new id.
    pub fn next_id(&self) -> Id {
        let common = &self.0.common;
        common.ids.next(common.clock.now(), &*common.chance)
    }

    /// The clock that dates what is stored.
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.common.clock
    }

    /// The source of random numbers that ids and secrets are drawn from.
    pub fn chance(&self) -> &dyn Chance {
        &*self.0.common.chance
    }

    /// Knows again what this server has given out for `purpose`.
    pub fn authenticator(&self, purpose: &str) -> Authenticator {
        Authenticator::new(self.master(), purpose)
    }

    pub(crate) fn master(&self) -> &MasterKeys {
        &self.0.common.master
    }

    pub(crate) fn sealer(&self) -> Sealer {
        Sealer {
            master: self.0.common.master.clone(),
            chance: Arc::clone(&self.0.common.chance),
        }
    }

    /// This life of this process among the nodes.
    pub(crate) fn epoch(&self) -> i64 {
        match &self.0.engine {
            Engine::Sqlite(engine) => engine.epoch(),
            Engine::Postgres(engine) => engine.epoch(),
        }
    }

    /// Accepts events with their deliveries; answers once they are on disk, and handed over as far as there is room.
    pub async fn accept_events(&self, accept: Accept) -> Result<Accepted> {
        let tests = |event: &&NewEvent| event.trigger == Trigger::Test;
        let events = accept.events.len() - accept.events.iter().filter(tests).count();
        let accepted = self.hot(|reply| Hot::Accept(Box::new(accept), reply)).await?;
        if let Accepted::Written { existing } = &accepted {
            let new = events.saturating_sub(existing.len());
            self.metrics()
                .events_accepted
                .add(u64::try_from(new).unwrap_or(0));
        }
        if let (Accepted::Stale, Engine::Postgres(postgres)) = (&accepted, &self.0.engine) {
            // There the snapshot follows after the commit, and to match against the same one again would be in vain. In a
            // box of its own, as it is rare and large, and every accept would have to have room for it.
            Box::pin(postgres.catch_up()).await?;
        }
        Ok(accepted)
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

    /// Waits for the end of a delivery that is yet to be written: call this first, then write, then await.
    pub fn finished(&self, delivery: DeliveryId) -> tokio::sync::oneshot::Receiver<()> {
        self.0.common.waiters.register(delivery.n())
    }

    /// Whether this process works for all: it claims what is due, sweeps, and continues what others began. On PostgreSQL one
    /// process does, and another that has started beside it does not yet.
    pub fn owns_shards(&self) -> bool {
        match &self.0.engine {
            Engine::Sqlite(_) => true,
            Engine::Postgres(engine) => engine.owns_shards(),
        }
    }

    /// Whether this process may believe that what it has claimed is its own.
    pub fn holds_lease(&self) -> bool {
        match &self.0.engine {
            Engine::Sqlite(_) => true,
            Engine::Postgres(engine) => engine.holds_lease(),
        }
    }

    /// Waits until this process may believe that what it has claimed is its own: on PostgreSQL until its lease holds.
    pub async fn leased(&self) {
        match &self.0.engine {
            Engine::Sqlite(_) => {}
            Engine::Postgres(engine) => engine.leased().await,
        }
    }

    /// Waits until this process must not go on, since another one works on the same database, and tells why.
    pub async fn evicted(&self) -> String {
        match &self.0.engine {
            Engine::Sqlite(_) => std::future::pending().await,
            Engine::Postgres(engine) => engine.evicted().await,
        }
    }

    /// Makes room for the days to come, where days have partitions; tells how many were made.
    pub async fn make_days(&self, now: Timestamp) -> Result<usize> {
        match &self.0.engine {
            Engine::Sqlite(_) => Ok(0),
            Engine::Postgres(engine) => engine.make_days(now).await,
        }
    }

    /// Drops the days whose events, or finished deliveries, all have keys below these, where days have partitions. A day of
    /// events with an unfinished delivery stays, and so does one that somebody is just reading.
    pub async fn drop_days(&self, events_below: i64, deliveries_below: i64) -> Result<DaysDropped> {
        match &self.0.engine {
            Engine::Sqlite(_) => Ok(DaysDropped::default()),
            Engine::Postgres(engine) => engine.drop_days(events_below, deliveries_below).await,
        }
    }

    /// Writes what was asked for so far, then closes. What is to be written later gets [`StoreError::Closed`]; questions are
    /// still answered.
    pub async fn close(&self) {
        match &self.0.engine {
            Engine::Sqlite(_) => {
                let inner = Arc::clone(&self.0);
                let closing = tokio::task::spawn_blocking(move || {
                    if let Engine::Sqlite(engine) = &inner.engine {
                        engine.close();
                    }
                });
                drop(closing.await);
            }
            Engine::Postgres(engine) => engine.close().await,
        }
    }

    async fn hot<T>(&self, member: impl FnOnce(Reply<T>) -> Hot) -> Result<T> {
        let (reply, answer) = Reply::new();
        let member = member(reply);
        match &self.0.engine {
            Engine::Sqlite(engine) => engine.push(member)?,
            Engine::Postgres(engine) => engine.push(member)?,
        }
        self.noted(answer.await.map_err(|_| StoreError::Closed)?)
    }

    /// The same outcome; a fault is counted.
    fn noted<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.inspect_err(|error| self.metrics().note_error(error))
    }

    /// Runs a change of the control plane in a transaction of its own: committed where it answers `Ok`, undone where it
    /// answers an error. The answer comes after the snapshot has the change.
    pub(crate) async fn change<T, E, W>(&self, work: W) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        W: for<'a, 'c> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
    {
        self.change_and(work, |_, _| ()).await
    }

    /// The same, with what `follow` notes outside the database: it is let out after the commit, whether or not the caller
    /// is still there.
    pub(crate) async fn change_and<T, E, W, F>(&self, work: W, follow: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        W: for<'a, 'c> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
        F: FnOnce(&T, &mut Effects) + Send + 'static,
    {
        match &self.0.engine {
            Engine::Sqlite(engine) => engine.change(work, follow).await,
            Engine::Postgres(engine) => engine.change(work, follow).await,
        }
    }

    /// Runs a slice of background work in a transaction of its own, so that nobody who publishes waits long behind it.
    pub(crate) async fn in_background<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'a, 'c> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, Result<T>> + Send + 'static,
    {
        self.in_background_and(work, |_, _| ()).await
    }

    /// The same, with what `follow` notes outside the database.
    pub(crate) async fn in_background_and<T, W, F>(&self, work: W, follow: F) -> Result<T>
    where
        T: Send + 'static,
        W: for<'a, 'c> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, Result<T>> + Send + 'static,
        F: FnOnce(&T, &mut Effects) + Send + 'static,
    {
        self.noted(match &self.0.engine {
            Engine::Sqlite(engine) => engine.in_background(work, follow).await,
            // Writers do not wait for one another there, unless they want the same rows.
            Engine::Postgres(engine) => engine.change(work, follow).await,
        })
    }

    /// Asks a question in one snapshot of the database, beside whoever writes.
    pub(crate) async fn ask<T, W>(&self, question: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'a, 'c> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, Result<T>> + Send + 'static,
    {
        self.noted(match &self.0.engine {
            Engine::Sqlite(engine) => engine.ask(question).await,
            Engine::Postgres(engine) => engine.ask(question).await,
        })
    }
}
