//! A whole Stentor on one stepped clock: a real database, the real engine and dispatcher, simulated receivers.
//!
//! Here is its life: starts, ends, and the passing of time. What people do with it is in [`deeds`] and [`replays`], what
//! they see of it in [`views`].

mod deeds;
mod replays;
mod views;

pub use deeds::order_paid;
pub use replays::all_of;

use crate::{Receivers, SeededChance, StepClock, TestDatabase};
use std::sync::Arc;
use std::time::Duration;
use stentor_delivery::attempt::Attempting;
use stentor_delivery::dispatch::{DispatchLimits, Dispatcher, InMemory};
use stentor_domain::limits::{DISABLE_AFTER_DAYS, IN_FLIGHT_MAX, IN_FLIGHT_PER_ENDPOINT_MAX};
use stentor_domain::{Chance, Clock, Timestamp};
use stentor_engine::{Caller, Engine, Settings};
use stentor_store::{Fresh, MasterKey, MasterKeys, Options, Purpose, Store, StoreError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Rounds after which something that should come to rest has not.
const ROUNDS_MAX: usize = 10_000;

/// A whole Stentor, to be stepped.
#[derive(Debug)]
pub struct World {
    /// Its clock.
    pub clock: Arc<StepClock>,
    /// Its store.
    pub store: Store,
    /// Its engine.
    pub engine: Engine,
    /// Its receivers.
    pub receivers: Arc<Receivers>,
    /// A caller with the root key of the first start.
    pub root: Caller,
    setup: Setup,
    dispatcher: Arc<Dispatcher>,
    fresh: Option<Fresh>,
    flight: Option<JoinHandle<Result<Option<Fresh>, StoreError>>>,
    running: Option<(watch::Sender<bool>, JoinHandle<()>)>,
    database: TestDatabase,
}

/// What an operator sets.
#[derive(Clone, Debug)]
pub struct Setup {
    /// About the engine.
    pub settings: Settings,
    /// About the dispatcher.
    pub limits: DispatchLimits,
    /// What seals secrets. Every clone is the same keys: a restart knows those that were used last.
    pub master: MasterKeys,
    /// How long an endpoint may fail without one success before it is disabled; `None` is for ever.
    pub patience: Option<Duration>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            limits: DispatchLimits {
                in_flight_max: IN_FLIGHT_MAX,
                in_flight_per_endpoint_max: IN_FLIGHT_PER_ENDPOINT_MAX,
            },
            master: MasterKeys::new(MasterKey::new([7; 32]), vec![]),
            patience: Some(Duration::from_secs(u64::from(DISABLE_AFTER_DAYS) * 24 * 3600)),
        }
    }
}

/// What outlives a process.
struct Kept {
    database: TestDatabase,
    clock: Arc<StepClock>,
    receivers: Arc<Receivers>,
    root: Option<Caller>,
    setup: Setup,
}

impl World {
    /// A first start on an empty database.
    pub async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    /// The same by an operator who has set something.
    pub async fn with(setup: Setup) -> Self {
        Self::on(TestDatabase::new(), setup).await
    }

    /// The same on this database.
    pub async fn on(database: TestDatabase, setup: Setup) -> Self {
        let clock = Arc::default();
        let kept = Kept {
            database,
            receivers: Arc::new(Receivers::new(Arc::clone(&clock))),
            clock,
            root: None,
            setup,
        };
        Self::start(kept).await
    }

    /// The same with everything in memory lost and nothing recorded any more, as after a `kill -9`, started again.
    pub async fn kill_and_restart(self) -> Self {
        self.kill_and_restart_after(|_| ()).await
    }

    /// The same by an operator who sets something else meanwhile.
    pub async fn kill_and_restart_with(mut self, change: impl FnOnce(&mut Setup)) -> Self {
        change(&mut self.setup);
        self.kill_and_restart().await
    }

    /// The same, `meanwhile` done to the database before the next start.
    pub async fn kill_and_restart_after(self, meanwhile: impl FnOnce(&TestDatabase)) -> Self {
        let kept = self.kill().await;
        meanwhile(&kept.database);
        Self::start(kept).await
    }

    /// Everything in memory is lost; what is left is the database.
    pub async fn leave_database(self) -> TestDatabase {
        self.kill().await.database
    }

    async fn kill(self) -> Kept {
        let Self {
            clock,
            store,
            engine,
            receivers,
            root,
            setup,
            dispatcher,
            fresh,
            flight,
            running,
            database,
        } = self;
        // Closed before anything else ends: nobody can give back or record any more.
        store.close().await;
        if let Some(flight) = flight {
            flight.abort();
            drop(flight.await);
        }
        if let Some((_, run)) = running {
            run.abort();
            drop(run.await);
        }
        drop((dispatcher, fresh, engine, store));
        // Somebody had connections of their own to the receivers, which are closed now.
        receivers.speak();
        Kept {
            database,
            clock,
            receivers,
            root: Some(root),
            setup,
        }
    }

    async fn start(kept: Kept) -> Self {
        let Kept {
            database,
            clock,
            receivers,
            root,
            setup,
        } = kept;
        let chance: Arc<dyn Chance> = Arc::new(SeededChance::new(clock.now().micros().cast_unsigned()));
        let options = Options {
            database: database.location(),
            purpose: Purpose::Run,
            master: setup.master.clone(),
            clock: Arc::clone(&clock) as _,
            chance: Arc::clone(&chance),
        };
        let (store, fresh) = Store::open(options).await.expect("the store opens");
        let engine = Engine::new(store.clone(), setup.settings.clone());
        let made = engine.prepare(None).await.expect("the first project and key");
        let root = match (root, made) {
            (Some(root), _) => root,
            (None, Some(text)) => Caller {
                key: engine.authenticate(text.expose()).expect("the root key is valid"),
                address: None,
                project_named: None,
                tenant_named: None,
            },
            (None, None) => panic!("a first start makes a root key"),
        };
        let attempting = Attempting::new(
            Arc::clone(&receivers) as _,
            Arc::clone(&clock) as _,
            chance,
            setup.settings.allow.clone(),
            setup.patience,
        );
        let dispatcher = Dispatcher::new(store.clone(), Arc::clone(&clock) as _, attempting, setup.limits);
        Self {
            clock,
            store,
            engine,
            receivers,
            root,
            setup,
            dispatcher,
            fresh: Some(fresh),
            flight: None,
            running: None,
            database,
        }
    }

    /// Drops what the store hands over: from now on the dispatcher has only its own looks into the store. Returns once what
    /// was handed over is given back.
    pub async fn drop_fresh(&mut self) {
        self.fresh = None;
        // Goes the way of what is given back, behind it.
        self.store
            .release(Vec::new())
            .await
            .expect("the store takes back");
    }

    /// What the dispatcher has in its memory.
    pub fn in_memory(&self) -> InMemory {
        self.dispatcher.in_memory()
    }

    /// What its clock says.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Its database.
    pub fn database(&self) -> &TestDatabase {
        &self.database
    }

    /// Ticks everything until there is nothing left to do at this moment. Tells how many attempts were made or deliveries
    /// ended.
    pub async fn settle(&mut self) -> usize {
        self.settle_looking(|_| ()).await
    }

    /// The same, with a look at it after every round.
    pub async fn settle_looking(&mut self, mut look: impl FnMut(&Self)) -> usize {
        let mut attempted = 0;
        for _ in 0..ROUNDS_MAX {
            let jobs = self.tick_jobs().await;
            let round = match &mut self.fresh {
                Some(fresh) => self.dispatcher.tick(fresh).await,
                None => self.dispatcher.tick_without_fresh().await,
            };
            let round = round.expect("a round");
            attempted += round.attempted;
            look(self);
            if jobs == 0 && round.taken_in + round.claimed + round.attempted == 0 {
                return attempted;
            }
        }
        panic!("the world does not come to rest");
    }

    /// One slice of the background work, without the dispatcher. Tells how many rows it wrote.
    pub async fn tick_jobs(&self) -> usize {
        self.engine.tick_jobs().await.expect("background work")
    }

    /// Lets `wait` pass, then settles.
    pub async fn after(&mut self, wait: Duration) -> usize {
        self.clock.step(wait);
        self.settle().await
    }

    /// Lets the receivers fall silent and starts what may start; returns once `count` requests are open.
    pub async fn launch(&mut self, count: usize) {
        self.receivers.fall_silent();
        let (dispatcher, mut fresh) = (Arc::clone(&self.dispatcher), self.fresh.take());
        self.flight = Some(tokio::spawn(async move {
            loop {
                let round = match &mut fresh {
                    Some(fresh) => dispatcher.tick(fresh).await,
                    None => dispatcher.tick_without_fresh().await,
                }?;
                // What is committed may still be on its way to being handed over.
                if round.attempted > 0 || count == 0 {
                    return Ok(fresh);
                }
                tokio::task::yield_now().await;
            }
        }));
        self.receivers.open(count).await;
    }

    /// The same with as many as start; returns once they are open, or nothing was to be started.
    pub async fn launch_some(&mut self) {
        self.launch(0).await;
        while self.receivers.open_now().is_empty() && !self.flight_has_landed() {
            tokio::task::yield_now().await;
        }
    }

    fn flight_has_landed(&self) -> bool {
        self.flight.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Lets the receivers answer, and returns once what was in flight is recorded; what follows waits for
    /// [`settle`](Self::settle).
    pub async fn land(&mut self) {
        self.receivers.speak();
        if let Some(flight) = self.flight.take() {
            let landed = flight.await.expect("what was in flight lands");
            self.fresh = landed.expect("a round");
        }
    }

    /// Lets the dispatcher work by itself from now on, as a server does, until [`stop`](Self::stop).
    pub fn run(&mut self) {
        let fresh = self.fresh.take().expect("nobody has dropped what is handed over");
        let (stop, stopped) = watch::channel(false);
        let run = tokio::spawn(Arc::clone(&self.dispatcher).run(fresh, stopped));
        self.running = Some((stop, run));
    }

    /// Ends what [`run`](Self::run) began, in good order: what is in flight lands, what waits is given back.
    pub async fn stop(&mut self) {
        if let Some((stop, run)) = self.running.take() {
            stop.send_replace(true);
            run.await.expect("the dispatcher stops");
            self.dispatcher.finish(std::future::pending()).await;
        }
    }

    /// Ends in good order while requests are open that nobody will answer in time, and starts again.
    pub async fn stop_and_restart(mut self) -> Self {
        self.dispatcher.finish(std::future::ready(())).await;
        self.land().await;
        self.drop_fresh().await;
        self.kill_and_restart().await
    }
}
