//! `stentor key create`: makes an API key without a running server.

use crate::cli::KeyOptions;
use crate::config::StoreConfig;
use crate::failure::Failure;

/// Makes the key and prints it once to standard output.
pub(crate) async fn run(_options: KeyOptions, _store: StoreConfig) -> Result<(), Failure> {
    Err(super::not_wired("key create"))
}
