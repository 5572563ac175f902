//! The engine on a PostgreSQL server.
//!
//! - [`address`], `tls`, [`pooler`]: where the server is, how it is reached, and whether it is one that can be worked with;
//! - [`session`], [`pool`]: one connection, and a few for changes and questions;
//! - [`mod@migrate`], [`days`]: the schema, and the partitions of events and deliveries;
//! - [`lane`], and its words [`accept`], [`finish`], [`claim`]: the hot path, in groups, each kind through a connection of its
//!   own;
//! - [`node`], [`lease`], [`inherit`], [`follow`]: this process among others on the same database;
//! - [`measure`]: what a measurement needs of a server.
//!
//! Here the parts are put together and taken apart.

mod accept;
mod address;
mod claim;
mod days;
mod finish;
mod follow;
mod inherit;
mod lane;
mod lease;
pub mod measure;
mod migrate;
mod node;
mod pool;
mod pooler;
mod session;
mod tls;

pub use address::PostgresAddress;
pub use days::DaysDropped;
pub(crate) use session::Session;

use crate::common::{Common, Seams};
use crate::config::Config;
use crate::database::Purpose;
use crate::effects::{Effects, Outside};
use crate::error::{Result, StoreError};
use crate::fresh::{self, Fresh};
use crate::health::{self, Healths};
use crate::hot::Release;
use crate::master_keys::{self, SealedWith};
use crate::member::{Hot, Reply};
use crate::metrics::Metrics;
use crate::tx::Tx;
use crate::waiters::Waiters;
use futures_util::future::BoxFuture;
use lane::{Kind, Lane};
use lease::Lease;
use parking_lot::Mutex;
use pool::{Pool, Taken};
use session::within;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use stentor_domain::{Clock, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Connections for changes of the control plane, which are made one after the other in any case.
const CHANGES: usize = 4;
/// Connections for questions.
const QUESTIONS: usize = 8;
/// How long a question may take with its several statements; a change, with the wait for its connection; and what follows a
/// change: its commit, and then the snapshot. Nobody who asks while the database stands still waits longer.
const ANSWER_MAX: Duration = Duration::from_secs(4);

/// What every connection sets first, with its own settings. Acknowledged is durable: a server, or a role, that was told to
/// commit without waiting for the disk is told otherwise here. The isolation is the one that statements need which wait for a
/// lock and then look again.
macro_rules! settings {
    ($own:literal) => {
        concat!(
            "SET default_transaction_isolation = 'read committed'; SET jit = off; ",
            "SET idle_in_transaction_session_timeout = '15s'; ",
            $own,
            "; SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
    };
}

/// Changes and questions. Their statements are written for one way through the tables, whatever is asked, and whatever the
/// statistics say of a table that is empty at one moment and full at the next: planned once, by keys. Nor by bitmaps: these
/// read everything that a list is of, to sort it and to show a page.
pub(crate) const CONTROL_SETTINGS: &str = settings!(
    "SET statement_timeout = '4s'; SET lock_timeout = '3s'; SET plan_cache_mode = force_generic_plan; \
     SET enable_seqscan = off; SET enable_bitmapscan = off"
);
/// Migrations and starts, which take as long as they take.
const START_SETTINGS: &str = settings!("SET statement_timeout = 0; SET lock_timeout = '30s'");
/// Committers, whose few statements are planned once, for any size of group: tables of the hot path are always gone through
/// by their keys, whatever the statistics of a table say that is empty at one moment and full at the next.
const HOT_SETTINGS: &str = settings!(
    "SET statement_timeout = '3s'; SET lock_timeout = '2s'; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off"
);

/// An open store on a PostgreSQL server.
pub(crate) struct Postgres {
    core: Arc<Core>,
    node: Mutex<Option<JoinHandle<()>>>,
    /// The committers.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres")
            .field("address", &self.core.address)
            .finish_non_exhaustive()
    }
}

/// What the parts share.
pub(crate) struct Core {
    address: PostgresAddress,
    clock: Arc<dyn Clock>,
    outside: Outside,
    /// This life of this process among the nodes.
    epoch: i64,
    lease: Lease,
    owns_shards: AtomicBool,
    /// Why this process must not go on, once it must not.
    evicted: watch::Sender<Option<String>>,
    closed: watch::Sender<bool>,
    accepts: Arc<Lane>,
    finishes: Arc<Lane>,
    claims: Arc<Lane>,
    changes: Pool,
    questions: Pool,
    /// The snapshot of the configuration is brought up to date by one at a time.
    refreshing: tokio::sync::Mutex<()>,
    connections: AtomicU64,
}

/// Brings the schema up to date, with no server running.
pub(crate) async fn migrate(address: &PostgresAddress) -> Result<Range<usize>> {
    pooler::check(address).await?;
    let session = Session::open(address, "stentor migrate".into(), START_SETTINGS).await?;
    migrate::migrate(&session).await
}

/// Whether the database was ever opened with a master key.
pub(crate) async fn is_sealed(address: &PostgresAddress) -> Result<bool> {
    pooler::check(address).await?;
    let mut session = Session::open(address, "stentor start".into(), START_SETTINGS).await?;
    if !migrate::is_there(&session).await? {
        return Ok(false);
    }
    Ok(master_keys::check_value(&mut Tx::Postgres(&mut session))
        .await?
        .is_some())
}

/// How far a rotation of master keys is, beside nodes that may be running.
pub(crate) async fn sealed_with(address: &PostgresAddress) -> Result<SealedWith> {
    pooler::check(address).await?;
    let mut session = Session::open(address, "stentor master-key".into(), START_SETTINGS).await?;
    if !migrate::is_there(&session).await? {
        return Ok(SealedWith::default());
    }
    master_keys::read(&mut Tx::Postgres(&mut session)).await
}

/// What an error says, its cause included: alone it says only that there is one.
pub(crate) fn words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(answer) if pooler::is_of_a_pool(answer) => pooler::SHARED.to_owned(),
        _ => address::unfolded(error),
    }
}

impl Postgres {
    pub(crate) async fn open(
        address: PostgresAddress,
        purpose: Purpose,
        seams: Seams,
    ) -> Result<(Self, Common, Fresh)> {
        let name = format!("stentor on {}, process {}", host_name(), std::process::id());
        pooler::check(&address).await?;
        let mut session = Session::open(&address, "stentor start".into(), START_SETTINGS).await?;
        migrate::migrate(&session).await?;
        days::make(&session, seams.clock.now()).await?;
        days::look_for_strays(&session).await?;
        let wants_shards = purpose == Purpose::Run;
        let registered = node::register(&mut session, &name, wants_shards, &seams).await?;

        let config = Arc::new(Config::new(seams.master.clone()));
        let waiters = Arc::new(Waiters::default());
        let accepts = Arc::new(Lane::new(Kind::Accept));
        let finishes = Arc::new(Lane::new(Kind::Finish));
        let claims = Arc::new(Lane::new(Kind::Claim));
        let (sender, fresh) = fresh::channel(give_back(&claims));
        let healths = Arc::new(Healths::new(health::all(&mut Tx::Postgres(&mut session)).await?));
        let epoch = registered.epoch;
        let pool = |kind: &str, size| {
            Pool::new(
                address.clone(),
                format!("stentor {epoch:x} {kind}"),
                CONTROL_SETTINGS,
                size,
            )
        };
        let metrics = Arc::new(Metrics::default());
        let core = Arc::new(Core {
            clock: Arc::clone(&seams.clock),
            outside: Outside::new(
                sender,
                Arc::clone(&config),
                Arc::clone(&waiters),
                Arc::clone(&healths),
                Arc::clone(&metrics),
            ),
            epoch,
            lease: Lease::new(registered.beat_sent),
            owns_shards: AtomicBool::new(registered.owns),
            evicted: watch::Sender::new(None),
            closed: watch::Sender::new(false),
            accepts,
            finishes,
            claims,
            changes: pool("change", CHANGES),
            questions: pool("question", QUESTIONS),
            refreshing: tokio::sync::Mutex::new(()),
            connections: AtomicU64::new(0),
            address,
        });
        // It beats from now on, however long the rest of the start takes; dropped, it leaves.
        let engine = Self {
            node: Mutex::new(Some(tokio::spawn(node::run(Arc::clone(&core), wants_shards)))),
            tasks: Mutex::new(Vec::new()),
            core: Arc::clone(&core),
        };
        core.refresh(&mut session).await?;
        drop(session);
        for lane in [&core.accepts, &core.finishes, &core.claims] {
            let session = lane::connect(&core, lane.kind()).await?;
            let committing = lane::run(Arc::clone(&core), Arc::clone(lane), session);
            engine.tasks.lock().push(tokio::spawn(committing));
        }
        tokio::spawn(follow::run(core));
        let common = Common::new(config, waiters, healths, metrics, registered.ids, seams);
        Ok((engine, common, fresh))
    }

    /// Writes what waits, then closes all connections and leaves the nodes.
    pub(crate) async fn close(&self) {
        let core = &self.core;
        for lane in [&core.accepts, &core.finishes, &core.claims] {
            lane.close();
        }
        let committing = std::mem::take(&mut *self.tasks.lock());
        for task in committing {
            drop(task.await);
        }
        // What was written is written: now the node may go.
        core.closed.send_replace(true);
        let node = self.node.lock().take();
        if let Some(node) = node {
            drop(node.await);
        }
        core.changes.close();
    }

    /// This life of this process.
    pub(crate) fn epoch(&self) -> i64 {
        self.core.epoch
    }

    /// Lets a member of the hot path wait for its committer.
    pub(crate) fn push(&self, member: Hot) -> Result<()> {
        let lane = match member {
            Hot::Accept(..) => &self.core.accepts,
            Hot::Finish(..) => &self.core.finishes,
            Hot::Claim(..) | Hot::Release(..) | Hot::Cancel(..) => &self.core.claims,
        };
        lane.push(member)
    }

    /// Runs a change in a transaction of its own. It goes on where the caller does not wait for it any more, so that what
    /// follows from its commit is not lost.
    pub(crate) async fn change<T, E, W, F>(&self, work: W, follow: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        W: for<'a, 'c> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
        F: FnOnce(&T, &mut Effects) + Send + 'static,
    {
        if *self.core.closed.borrow() {
            return Err(StoreError::Closed.into());
        }
        let core = Arc::clone(&self.core);
        let changing = tokio::spawn(async move { core.change(work, follow).await });
        changing
            .await
            .unwrap_or_else(|error| Err(StoreError::Unavailable(format!("a change failed: {error}")).into()))
    }

    /// Asks a question in one snapshot, beside whoever writes.
    pub(crate) async fn ask<T, W>(&self, question: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'a, 'c> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, Result<T>> + Send + 'static,
    {
        let asking = async {
            let mut taken = self.core.questions.take().await?;
            taken.session.begin_question().await?;
            let answer = question(&mut Tx::Postgres(&mut taken.session)).await;
            taken.session.roll_back().await?;
            // After an answer, or a refusal in the server's own words, the connection is as it was.
            if !matches!(answer, Err(StoreError::Unavailable(_))) {
                taken.give_back();
            }
            answer
        };
        within(ANSWER_MAX, asking).await
    }

    /// Brings the snapshot of the configuration up to date, unless somebody else is just doing so.
    pub(crate) async fn catch_up(&self) -> Result<()> {
        let config = &self.core.outside.config;
        let before = config.applied();
        drop(within(ANSWER_MAX, async { Ok(self.core.refreshing.lock().await) }).await?);
        if config.applied() > before {
            return Ok(());
        }
        self.core.refresh_anew().await
    }

    /// Whether this node works for all: it claims, sweeps and continues what others began.
    pub(crate) fn owns_shards(&self) -> bool {
        self.core.owns_shards()
    }

    /// Whether this node may believe that what it has claimed is its own.
    pub(crate) fn holds_lease(&self) -> bool {
        self.core.lease.holds()
    }

    /// Waits until this node may believe that what it has claimed is its own.
    pub(crate) async fn leased(&self) {
        self.core.lease.held().await;
    }

    /// Waits until this process must not go on, and tells why.
    pub(crate) async fn evicted(&self) -> String {
        let mut evicted = self.core.evicted.subscribe();
        match evicted.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Makes the partitions of the days to come. Tells how many.
    pub(crate) async fn make_days(&self, now: Timestamp) -> Result<usize> {
        let session = Session::open(&self.core.address, self.core.name_for("days"), START_SETTINGS).await?;
        let made = days::make(&session, now).await?;
        days::look_for_strays(&session).await?;
        Ok(made)
    }

    /// Drops the days whose keys all are below.
    pub(crate) async fn drop_days(&self, events_below: i64, deliveries_below: i64) -> Result<DaysDropped> {
        let session = Session::open(&self.core.address, self.core.name_for("days"), START_SETTINGS).await?;
        days::drop_below(&session, events_below, deliveries_below).await
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        for lane in [&self.core.accepts, &self.core.finishes, &self.core.claims] {
            lane.close();
        }
        self.core.closed.send_replace(true);
    }
}

fn give_back(claims: &Arc<Lane>) -> fresh::GiveBack {
    let claims = Arc::clone(claims);
    Box::new(move |releases| {
        // A closed store needs nothing back: the next start recovers it.
        drop(claims.push(Hot::Release(releases, Reply::new().0)));
    })
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Core {
    /// A name that no other connection has, on this server or on another one that takes its place.
    fn name_for(&self, kind: &str) -> String {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        format!("stentor {:x} {kind} {number}", self.epoch)
    }

    fn owns_shards(&self) -> bool {
        self.owns_shards.load(Ordering::Acquire)
    }

    fn own_shards(&self) {
        self.owns_shards.store(true, Ordering::Release);
    }

    fn evict(&self, why: String) {
        self.owns_shards.store(false, Ordering::Release);
        self.evicted.send_if_modified(|evicted| {
            let first = evicted.is_none();
            evicted.get_or_insert(why);
            first
        });
    }

    fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Waits so long, or until the store is closed.
    async fn rest(&self, wait: Duration) {
        let mut closed = self.closed.subscribe();
        drop(tokio::time::timeout(wait, closed.wait_for(|closed| *closed)).await);
    }

    /// Lets out what a commit brought. What nobody listens for goes back.
    fn let_out(&self, effects: Effects) {
        let unsent: Vec<Release> = self.outside.let_out(effects);
        if !unsent.is_empty() {
            // A lane that is down forgets it: the next start recovers it.
            drop(self.claims.push(Hot::Release(unsent, Reply::new().0)));
        }
    }

    /// The same where the configuration may have changed.
    async fn let_out_configured(&self, effects: Effects) {
        if effects.configured {
            // Where it fails, the change is followed a little later, as if another process had made it.
            if let Err(error) = self.refresh_anew().await {
                tracing::warn!(%error, "the configuration is brought up to date a little later");
            }
        }
        self.let_out(effects);
    }

    /// Brings the snapshot of the configuration up to date through a connection of the pool.
    async fn refresh_anew(&self) -> Result<()> {
        let refreshing = async {
            let mut taken = self.changes.take().await?;
            self.refresh(&mut taken.session).await?;
            taken.give_back();
            Ok(())
        };
        within(ANSWER_MAX, refreshing).await
    }

    /// Brings the snapshot of the configuration up to what the database says.
    async fn refresh(&self, session: &mut Session) -> Result<()> {
        let _only = self.refreshing.lock().await;
        session
            .client()
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        let refreshed = self.outside.config.refresh(&mut Tx::Postgres(session)).await;
        session.roll_back().await?;
        refreshed
    }

    async fn change<T, E, W, F>(&self, work: W, follow: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        W: for<'a, 'c> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
        F: FnOnce(&T, &mut Effects) + Send + 'static,
    {
        let end = Instant::now() + ANSWER_MAX;
        let taking = async {
            let mut taken = self.changes.take().await?;
            taken.session.begin().await?;
            Ok(taken)
        };
        let mut taken = within(ANSWER_MAX, taking).await?;
        let worked = {
            let mut tx = Tx::Postgres(&mut taken.session);
            tokio::time::timeout_at(end, work(&mut tx)).await
        };
        let made = match worked {
            Ok(Ok(made)) => made,
            Ok(Err(refusal)) => {
                if within(ANSWER_MAX, taken.session.roll_back()).await.is_ok() {
                    taken.give_back();
                }
                return Err(refusal);
            }
            Err(_elapsed) => {
                let words = format!("the database did not carry out a change within {ANSWER_MAX:?}");
                return Err(StoreError::Unavailable(words).into());
            }
        };
        let mut effects = Effects::default();
        follow(&made, &mut effects);
        Box::pin(self.conclude(taken, effects)).await?;
        Ok(made)
    }

    /// Commits; the answer comes after the snapshot has the change. Where the connection ends in between, another one is
    /// asked: a change that was made and is answered 503 may be made twice.
    async fn conclude(&self, mut taken: Taken<'_>, effects: Effects) -> Result<()> {
        within(ANSWER_MAX, taken.session.commit()).await?;
        let refreshing = async {
            if self.refresh(&mut taken.session).await.is_ok() {
                taken.give_back();
                return Ok(());
            }
            drop(taken);
            Box::pin(self.refresh_anew()).await
        };
        let refreshed = within(ANSWER_MAX, refreshing).await;
        self.let_out(effects);
        refreshed
    }
}
