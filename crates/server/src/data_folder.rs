//! The data folder: the database, and the master keys where none are configured.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;

use crate::config::StoreConfig;
use crate::failure::Failure;

const ONLY_OWNER_FOLDER: u32 = 0o700;

/// Makes the data folder where there is none, readable by its owner only.
pub(crate) fn make(config: &StoreConfig) -> Result<(), Failure> {
    let made = DirBuilder::new()
        .recursive(true)
        .mode(ONLY_OWNER_FOLDER)
        .create(&config.data);
    made.map_err(|error| {
        let folder = config.data.display();
        Failure::Failed(format!(
            "the data folder {folder} cannot be made: {error}; choose another with --data"
        ))
    })
}
