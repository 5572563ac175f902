//! What can go wrong with the store itself. What a caller did wrong is a value, not an error (see the operations).

use rusqlite::{ErrorCode, ffi};

/// A fault of the store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full. Nothing was written; reading still works.
    #[error("the database's disk is full: {0}")]
    Full(String),
    /// The database cannot be reached or is too slow. Nothing was written; on PostgreSQL that is certain only where the server
    /// said so itself: after an answer that was lost, what was to be written may be there.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// A question took longer than a snapshot may be held.
    #[error("the question was too expensive and was stopped")]
    TooExpensive,
    /// What is stored cannot be read: a damaged row, or a master key that is not configured any more.
    #[error("stored content cannot be read: {0}")]
    Unreadable(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// The result of a question to the store, or of a change.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            _ if is_disk_full(&error) => Self::Full(error.to_string()),
            Some(ErrorCode::OperationInterrupted) => Self::TooExpensive,
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Unavailable(crate::postgres::words(&error))
    }
}

/// Whether there was no room: for a page, or for the log's index, which SQLite calls an I/O error of its own. Both leave the
/// database as it was before the transaction: what a failed commit put into the log is overwritten by the next one.
pub(crate) fn is_disk_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        error.code == ErrorCode::DiskFull || error.extended_code == ffi::SQLITE_IOERR_SHMSIZE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(code: i32) -> StoreError {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into()
    }

    #[test]
    fn no_room_for_the_logs_index_is_a_full_disk_and_no_broken_one() {
        assert!(matches!(fault(ffi::SQLITE_FULL), StoreError::Full(_)));
        assert!(matches!(fault(ffi::SQLITE_IOERR_SHMSIZE), StoreError::Full(_)));
        for broken in [
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_CORRUPT,
        ] {
            assert!(matches!(fault(broken), StoreError::Unavailable(_)), "{broken}");
        }
    }
}
