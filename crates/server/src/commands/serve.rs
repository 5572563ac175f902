//! `stentor serve`: the server.

use crate::config::ServeConfig;
use crate::failure::Failure;

/// Serves until it is told to stop. `open_files` is the limit in force, for `open_files::share`.
pub(crate) async fn run(_config: ServeConfig, _open_files: u64) -> Result<(), Failure> {
    Err(super::not_wired("serve"))
}
