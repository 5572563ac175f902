//! `stentor migrate`: brings the database to the layout of this version.

use std::io::Write as _;

use crate::config::StoreConfig;
use crate::data_folder;
use crate::failure::Failure;

/// Runs the migrations that are missing, and tells which.
pub(crate) async fn run(config: StoreConfig) -> Result<(), Failure> {
    data_folder::make(&config)?;
    let versions = stentor_store::migrate(&config.database)
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let (before, after) = (versions.start, versions.end);
    let told = if before == after {
        format!("The database is at schema version {after} already.")
    } else {
        format!("The database went from schema version {before} to {after}.")
    };
    let _ = writeln!(std::io::stdout(), "{told}");
    Ok(())
}
