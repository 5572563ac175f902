//! A whole Stentor on one stepped clock: a real SQLite file, the real engine and dispatcher, simulated receivers.

use crate::{Receivers, SeededChance, StepClock};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use stentor_delivery::attempt::Attempting;
use stentor_delivery::dispatch::{DispatchLimits, Dispatcher};
use stentor_domain::address::AllowList;
use stentor_domain::limits::{IN_FLIGHT_MAX, IN_FLIGHT_PER_ENDPOINT_MAX};
use stentor_domain::{Chance, Clock};
use stentor_engine::{Caller, Engine, Settings};
use stentor_store::{Fresh, MasterKey, MasterKeys, Options, Store};
use tempfile::TempDir;

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
    dispatcher: Arc<Dispatcher>,
    fresh: Option<Fresh>,
    folder: TempDir,
}

impl World {
    /// A first start on an empty folder.
    pub async fn new() -> Self {
        Self::start(
            tempfile::tempdir().expect("a folder"),
            Arc::default(),
            Arc::default(),
            None,
        )
        .await
    }

    /// The same with everything in memory lost and nothing recorded any more, as after a `kill -9`, started again.
    pub async fn kill_and_restart(self) -> Self {
        let Self {
            clock,
            store,
            receivers,
            root,
            folder,
            dispatcher,
            fresh,
            engine,
        } = self;
        drop((dispatcher, fresh, engine));
        store.close().await;
        drop(store);
        Self::start(folder, clock, receivers, Some(root)).await
    }

    async fn start(
        folder: TempDir,
        clock: Arc<StepClock>,
        receivers: Arc<Receivers>,
        root: Option<Caller>,
    ) -> Self {
        let chance: Arc<dyn Chance> = Arc::new(SeededChance::new(clock.now().micros().cast_unsigned()));
        let path = folder.path().join("stentor.db");
        let master = MasterKeys::new(MasterKey::new([7; 32]), vec![]);
        let options = Options {
            path,
            master,
            clock: Arc::clone(&clock) as _,
            chance: Arc::clone(&chance),
        };
        let (store, fresh) = Store::open(options).expect("the store opens");
        let engine = Engine::new(store.clone(), Settings::default());
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
            AllowList::default(),
        );
        let limits = DispatchLimits {
            in_flight_max: IN_FLIGHT_MAX,
            in_flight_per_endpoint_max: IN_FLIGHT_PER_ENDPOINT_MAX,
        };
        let dispatcher = Dispatcher::new(store.clone(), Arc::clone(&clock) as _, attempting, limits);
        Self {
            clock,
            store,
            engine,
            receivers,
            root,
            dispatcher,
            fresh: Some(fresh),
            folder,
        }
    }

    /// Drops what the store hands over: from now on the dispatcher has only its own looks into the store.
    pub fn drop_fresh(&mut self) {
        self.fresh = None;
    }

    /// Where the database is.
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("stentor.db")
    }

    /// Ticks everything until there is nothing left to do at this moment. Tells how many attempts were made or deliveries
    /// ended.
    pub async fn settle(&mut self) -> usize {
        let mut attempted = 0;
        for _ in 0..ROUNDS_MAX {
            let jobs = self.engine.tick_jobs().await.expect("background work");
            let round = match &mut self.fresh {
                Some(fresh) => self.dispatcher.tick(fresh).await,
                None => self.dispatcher.tick_without_fresh().await,
            };
            let round = round.expect("a round");
            attempted += round.attempted;
            if jobs == 0 && round.taken_in + round.claimed + round.attempted == 0 {
                return attempted;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Lets `wait` pass, then settles.
    pub async fn after(&mut self, wait: Duration) -> usize {
        self.clock.step(wait);
        self.settle().await
    }
}
