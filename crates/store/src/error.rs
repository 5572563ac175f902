//! What can go wrong with the store itself. What a caller did wrong is a value, not an error (see the operations).

/// A fault of the store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full. Nothing was written; reading still works.
    #[error("the database's disk is full: {0}")]
    Full(String),
    /// The database cannot be reached or is too slow; nothing was written.
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
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(error.to_string()),
            Some(ErrorCode::OperationInterrupted) => Self::TooExpensive,
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
