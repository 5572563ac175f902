//! `stentor migrate`: brings the database to the layout of this version.

use crate::config::StoreConfig;
use crate::failure::Failure;

/// Runs the migrations that are missing.
pub(crate) async fn run(_store: StoreConfig) -> Result<(), Failure> {
    Err(super::not_wired("migrate"))
}
