//! The scenarios. Each makes what it needs, measures, and says what it showed and which bars that meets.
//!
//! - `steady`: what a delivery costs, beside the relay;
//! - `latency`: how long one takes while there is room;
//! - `batch`: how much is accepted while nothing can be sent;
//! - `isolation`: what endpoints that hang cost another one;
//! - `backlog`: what a million deliveries that wait cost, and how fast they go;
//! - `purge`: what removing old ones costs;
//! - `slow_disk`: what a slower disk costs.

mod backlog;
mod batch;
mod isolation;
mod latency;
mod purge;
mod slow_disk;
mod steady;

use super::report::Outcome;
use super::stand::Stand;
use super::subject::Place;
use crate::cli::BenchScenario;
use crate::failure::Failure;

/// Why a scenario cannot be run at a place; `None` where it can.
pub(super) fn obstacle(scenario: BenchScenario, place: &Place) -> Option<&'static str> {
    match (scenario, place) {
        (BenchScenario::Purge | BenchScenario::SlowDisk, Place::Postgres(_)) => Some(
            "purge and slow-disk are about the file that `serve` keeps without --database-url; leave it out",
        ),
        (BenchScenario::Backlog | BenchScenario::Purge | BenchScenario::SlowDisk, Place::Running(_)) => Some(
            "backlog, purge and slow-disk need a server that they can start and stop; leave out --target",
        ),
        _ => None,
    }
}

/// Runs one.
pub(super) async fn run(scenario: BenchScenario, stand: &Stand) -> Result<Outcome, Failure> {
    match scenario {
        BenchScenario::Steady => steady::run(stand).await,
        BenchScenario::Latency => latency::run(stand).await,
        BenchScenario::Batch => batch::run(stand).await,
        BenchScenario::Isolation => isolation::run(stand).await,
        BenchScenario::Backlog => backlog::run(stand).await,
        BenchScenario::Purge => purge::run(stand).await,
        BenchScenario::SlowDisk => slow_disk::run(stand).await,
    }
}
