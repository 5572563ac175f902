//! `stentor bench`: measures this version on this machine.

use crate::cli::BenchOptions;
use crate::failure::Failure;

/// Measures and prints. `open_files` is the limit in force.
pub(crate) async fn run(_options: BenchOptions, _open_files: u64) -> Result<(), Failure> {
    Err(super::not_wired("bench"))
}
