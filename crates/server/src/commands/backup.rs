//! `stentor backup`: copies the database, while a server runs too.

use crate::cli::BackupOptions;
use crate::config::StoreConfig;
use crate::failure::Failure;

/// Copies the database into the file of the options.
pub(crate) async fn run(_options: BackupOptions, _store: StoreConfig) -> Result<(), Failure> {
    Err(super::not_wired("backup"))
}
