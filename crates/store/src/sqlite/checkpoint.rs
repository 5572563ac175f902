//! Emptying the write-ahead log into the database file, away from the commits.
//!
//! A thread of its own runs PASSIVE checkpoints whenever the log has grown by a few MiB. That alone is not enough: while
//! commits follow one another without a pause, the log's end keeps moving and its space is never used again. So the
//! writer itself finishes with a RESTART, between two groups, once the log is longer than [`LOG_PAGES_MAX`]: by then the
//! thread has done most of the work, and the writer waits for a few pages only. Where the disk is slower than what is
//! written, the thread is still at it, and the writer waits for that first: those who publish wait, the log does not grow.

use super::slow_disk::waited_for_disk;
use crate::error::Result;
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use rusqlite::hooks::Wal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Pages in the log at which the thread starts: 8 MiB. Pages that change with every commit are copied once for each run, so
/// that fewer runs copy less.
const LOG_PAGES_TO_START: u32 = 2_048;
/// Pages in the log at which the writer waits for it to be emptied: 16 MiB.
const LOG_PAGES_MAX: u32 = 4_096;

/// The thread's side and the writer's side of checkpointing.
#[derive(Debug, Default)]
pub(crate) struct Checkpointer {
    /// Pages in the log after the latest commit.
    log_pages: Arc<AtomicU32>,
    state: Mutex<State>,
    wanted: Condvar,
    /// Held by whoever empties the log.
    emptying: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    wanted: bool,
    closed: bool,
}

impl Checkpointer {
    /// Asks SQLite to tell, after every commit on `writer`, how long the log is.
    pub(crate) fn watch(&self, writer: &mut Connection) -> Result<()> {
        let log_pages = Arc::clone(&self.log_pages);
        writer.wal_hook(Some(move |_: &mut Wal, pages| {
            log_pages.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            waited_for_disk(1);
            Ok(())
        }))?;
        Ok(())
    }

    /// The thread: empties the log whenever that is wanted, until the store is closed.
    pub(crate) fn run(&self, connection: &Connection) {
        let mut fails = false;
        loop {
            {
                let mut state = self.state.lock();
                while !state.wanted && !state.closed {
                    self.wanted.wait(&mut state);
                }
                if state.closed {
                    return;
                }
                state.wanted = false;
            }
            // On a full disk every commit leads here; once is enough to say so.
            match self.checkpoint(connection, "PASSIVE") {
                Ok(()) => fails = false,
                Err(error) if !fails => {
                    tracing::warn!(%error, "the write-ahead log could not be emptied; it is tried again");
                    fails = true;
                }
                Err(_) => {}
            }
        }
    }

    /// The writer, between two groups.
    pub(crate) fn between_groups(&self, writer: &Connection) {
        match self.log_pages.load(Ordering::Relaxed) {
            pages if pages >= LOG_PAGES_MAX => {
                // Where a reader or a backup holds the log open, the wait ends with the busy timeout; the log grows on.
                if let Err(error) = self.checkpoint(writer, "RESTART") {
                    tracing::warn!(%error, pages, "the write-ahead log is long and could not be emptied");
                }
                self.log_pages.store(0, Ordering::Relaxed);
            }
            pages if pages >= LOG_PAGES_TO_START => {
                self.state.lock().wanted = true;
                self.wanted.notify_one();
            }
            _ => {}
        }
    }

    fn checkpoint(&self, connection: &Connection, how: &str) -> Result<()> {
        let _emptying = self.emptying.lock();
        let mut statement = connection.prepare_cached(match how {
            "PASSIVE" => "PRAGMA wal_checkpoint(PASSIVE)",
            _ => "PRAGMA wal_checkpoint(RESTART)",
        })?;
        statement.query_row([], |_| Ok(()))?;
        waited_for_disk(2);
        Ok(())
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.wanted.notify_one();
    }
}
