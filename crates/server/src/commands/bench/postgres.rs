//! The PostgreSQL server that a measurement was sent to: a database for each round, what the server spends meanwhile, and
//! what it has counted in the end.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use stentor_domain::Chance as _;
use stentor_store::measure::{self, Observer, ServerFacts};

use super::process::Family;
use super::spent::Spent;
use crate::commands::wait;
use crate::config::BenchServer;
use crate::failure::Failure;
use crate::system::SystemChance;

const NAME_PREFIX: &str = "stentor_bench_";
/// How long the connections of a process that has ended may take to go.
const ALONE_MAX_LOOKS: u32 = 500;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The server, and which of its databases are ours. Cheap to clone.
#[derive(Clone)]
pub(super) struct Server {
    config: Arc<BenchServer>,
    made: Arc<Mutex<Vec<String>>>,
}

/// A database of one round.
pub(super) struct OwnDatabase {
    server: Server,
    name: String,
    observer: Observer,
    facts: ServerFacts,
    /// PostgreSQL's processes, where they are on this machine.
    family: Option<Family>,
}

/// What the server had spent at a moment.
pub(super) struct Meter {
    cpu: Option<Duration>,
    wal_bytes: u64,
}

impl Server {
    pub(super) fn new(config: BenchServer) -> Self {
        Self {
            config: Arc::new(config),
            made: Arc::default(),
        }
    }

    /// Makes an empty database.
    pub(super) async fn make(&self) -> Result<OwnDatabase, Failure> {
        let name = format!("{NAME_PREFIX}{:016x}", SystemChance.u64());
        // Noted first: an interruption may come between its making and the answer.
        self.made.lock().push(name.clone());
        measure::make_database(&self.config.address, &name)
            .await
            .map_err(failed)?;
        let address = self.config.address.clone().with_database(&name);
        let observer = Observer::connect(&address).await.map_err(failed)?;
        let facts = observer.facts().await.map_err(failed)?;
        let family = Family::of(facts.backend, &name);
        Ok(OwnDatabase {
            server: self.clone(),
            name,
            observer,
            facts,
            family,
        })
    }

    /// Drops what is left, however the measurement ended.
    pub(super) async fn clean_up(&self) {
        let left = std::mem::take(&mut *self.made.lock());
        for name in left {
            if let Err(error) = measure::drop_database(&self.config.address, &name).await {
                tracing::error!(%error, "the database {name} may be left behind; drop it");
            }
        }
    }
}

impl OwnDatabase {
    /// What leads the measured server here, as variables of its environment.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let config = &self.server.config;
        let password = config.password.as_ref();
        let url = [("STENTOR_DATABASE_URL", config.url_of(&self.name))];
        url.into_iter()
            .chain(password.map(|password| ("STENTOR_DATABASE_PASSWORD", password.expose().to_owned())))
            .collect()
    }

    /// Reads the meter.
    pub(super) async fn meter(&self) -> Result<Meter, Failure> {
        Ok(Meter {
            cpu: self.family.and_then(Family::cpu),
            wal_bytes: self.observer.wal_bytes().await.map_err(failed)?,
        })
    }

    /// Tells what was spent between two readings, and what became of the rows by `deliveries`, all that there were. The
    /// measured server has ended. Drops the database.
    pub(super) async fn close(
        self,
        before: &Meter,
        after: &Meter,
        deliveries: u64,
    ) -> Result<Spent, Failure> {
        for _ in 0..ALONE_MAX_LOOKS {
            if self.observer.is_alone().await.map_err(failed)? {
                break;
            }
            wait(LOOK_EVERY).await;
        }
        let tables = self.observer.counts().await.map_err(failed)?;
        let Self {
            server,
            name,
            observer,
            facts,
            ..
        } = self;
        drop(observer);
        measure::drop_database(&server.config.address, &name)
            .await
            .map_err(failed)?;
        server.made.lock().retain(|made| *made != name);
        let both = before.cpu.zip(after.cpu);
        Ok(Spent {
            facts,
            cpu: both.map(|(before, after)| after.saturating_sub(before)),
            wal_bytes: after.wal_bytes.saturating_sub(before.wal_bytes),
            deliveries,
            tables: tables
                .into_iter()
                .map(|counts| (counts.table.clone(), counts))
                .collect(),
        })
    }
}

fn failed(error: stentor_store::StoreError) -> Failure {
    Failure::Failed(format!("the PostgreSQL server: {error}"))
}
