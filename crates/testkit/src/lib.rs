//! A simulated world for tests: time that is stepped and chance that is repeated. Only ever a dev-dependency.
//!
//! - [`StepClock`]: stands still until a test steps it;
//! - [`SeededChance`]: random numbers from a seed;
//! - [`Receivers`]: the outgoing side of HTTP, without sockets;
//! - [`TestDatabase`]: a database of a test's own, on the engine that the run is about;
//! - [`World`]: a whole Stentor of them, on a real database, with the words that stories are told in.

#![expect(
    clippy::panic,
    reason = "a panic is how a test fails, in what tests share too"
)]

mod chance;
mod clock;
mod database;
mod receivers;
mod world;

pub use chance::SeededChance;
pub use clock::StepClock;
pub use database::{Place, TestDatabase};
pub use receivers::{Call, Received, Receivers, Reply, Told};
pub use stentor_engine::endpoints::EndpointFields;
pub use stentor_engine::publish::Publication;
pub use stentor_engine::replays::ReplayFields;
pub use world::{Setup, World, all_of, order_paid};
