//! The schema's versions: embedded, forward-only. A database that is newer than this binary is refused.

use crate::error::{Result, StoreError};

/// The migrations in order, in the words of both engines; the first makes version 1.
pub(crate) const MIGRATIONS: [&str; 1] = [include_str!("../migrations/0001_first.sql")];

/// The version that a database says it has, if this binary knows it.
pub(crate) fn known(version: i64) -> Result<usize> {
    let newest = MIGRATIONS.len();
    usize::try_from(version)
        .ok()
        .filter(|&version| version <= newest)
        .ok_or_else(|| {
            StoreError::Unavailable(format!(
                "the database has schema version {version}, this program knows versions up to {newest}; \
                 run the newer program that wrote it, or restore a backup from before it"
            ))
        })
}
