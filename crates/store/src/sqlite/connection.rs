//! Opening connections to the embedded database, with the settings that durability and speed rest on.

use crate::error::{Result, StoreError};
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a connection waits for another one's lock. Only checkpoints and backups ever hold one.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements that a connection keeps prepared.
const STATEMENTS_KEPT: usize = 128;
/// Bytes of a page of a new file.
pub(super) const PAGE_BYTES: u32 = 4 * 1024;
/// Page cache of the writer, in KiB; readers use SQLite's default of 2 MiB.
const WRITER_CACHE_KIB: i64 = 8 * 1024;

/// The one connection that writes. Creates the file where there is none.
pub(crate) fn open_writer(path: &Path) -> Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages == 0 {
        // Both take effect only before the first table is made: purged space is given back page by page. Later it would still
        // write, and a database that turns out to be too new must be left as it is.
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // The checkpointer does this; inside a commit it would cost somebody 15 ms.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    // What is deleted is overwritten where that costs no further page; an erasure overwrites it everywhere.
    connection.pragma_update(None, "secure_delete", "FAST")?;
    settle(connection)
}

/// A connection that only reads.
pub(crate) fn open_reader(path: &Path) -> Result<Connection> {
    settle(Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?)
}

/// A connection that empties the write-ahead log, and does nothing else.
pub(crate) fn open_checkpointer(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    settle(Connection::open_with_flags(path, flags)?)
}

/// The file at `path`, to bring to the disk what was copied into it. It stays open as long as the process lives: who closes one
/// descriptor of a file gives up every lock that the process has on it, and with them those by which SQLite tells another
/// process, such as a backup, that the log is in use.
pub(crate) fn open_to_sync(path: &Path) -> Result<ManuallyDrop<File>> {
    Ok(ManuallyDrop::new(File::open(path).map_err(unavailable(path))?))
}

/// What is wrong with the file at `path`, as an error of the store.
pub(super) fn unavailable(path: &Path) -> impl Fn(std::io::Error) -> StoreError {
    move |error| StoreError::Unavailable(format!("{}: {error}", path.display()))
}

fn settle(connection: Connection) -> Result<Connection> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(connection)
}

/// Holds the database for this process: a second server on the same file is refused. The lock ends with the process,
/// however it ends.
#[derive(Debug)]
pub(crate) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock beside the database file `path`.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        let beside = lock_path(path);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&beside)
            .map_err(unavailable(&beside))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Unavailable(format!(
                "another process uses {}; stop it first, or choose another --data",
                path.display()
            ))),
            Err(std::fs::TryLockError::Error(error)) => Err(unavailable(&beside)(error)),
        }
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_a_database_that_exists_writes_nothing_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        open_writer(&path)
            .unwrap()
            .execute_batch("CREATE TABLE t (n)")
            .unwrap();
        let before = std::fs::read(&path).unwrap();
        drop(open_writer(&path).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn sqlite_is_compiled_as_the_project_asks() {
        let connection = Connection::open_in_memory().unwrap();
        let mut statement = connection.prepare("PRAGMA compile_options").unwrap();
        let options: Vec<String> = statement
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let has = |option: &str| options.iter().any(|one| one == option);
        assert!(
            has("DEFAULT_MEMSTATUS=0") && has("OMIT_LOAD_EXTENSION"),
            "{options:?}"
        );
        assert!(!has("ENABLE_STAT4") && !has("ENABLE_FTS5"), "{options:?}");
    }
}
