//! `stentor demo`: a server, a receiver and a producer in one process, on a directory that is thrown away.

use std::net::SocketAddr;

use crate::cli::DemoOptions;
use crate::failure::Failure;

/// Serves the demonstration at `listen`, for ever or until one round is done.
pub(crate) async fn run(_options: DemoOptions, _listen: SocketAddr, _open_files: u64) -> Result<(), Failure> {
    Err(super::not_wired("demo"))
}
