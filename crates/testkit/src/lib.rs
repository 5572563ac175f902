//! A simulated world for tests: time that is stepped and chance that is repeated. Only ever a dev-dependency.
//!
//! - [`StepClock`]: stands still until a test steps it;
//! - [`SeededChance`]: random numbers from a seed.

mod chance;
mod clock;

pub use chance::SeededChance;
pub use clock::StepClock;
