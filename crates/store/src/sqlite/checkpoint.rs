//! Emptying the write-ahead log into the database file, away from the commits.
//!
//! The log's space is used again from its begin only when all of it was copied and nobody reads it; while commits follow one
//! another, its end keeps moving. So it is emptied in two steps: a thread copies nearly all of it while the writer goes on, and
//! the writer itself, between two groups, the few pages that came meanwhile. Its next commit then begins anew.
//!
//! The log's states:
//! 1. filling: nobody copies. From [`LOG_BYTES_TO_START`] on the thread is woken;
//! 2. being copied: the thread is at it, and the log grows on; what comes meanwhile is copied too, until it is little;
//! 3. copied, but for what came meanwhile: the writer's turn. Where a reader or a backup still needs the log, it grows on, and
//!    all of this is tried again when it has grown by [`LOG_BYTES_MORE`].
//!
//! In any of them the log may become longer than [`LOG_BYTES_MAX`], where the disk is slower than what is written or somebody
//! reads for long. Then the writer waits, for the thread as long as it takes, for readers [`READERS_MAX`]: those who publish wait,
//! the log does not grow. A process that dies leaves a log that the next one reads; no state is kept on disk.

use super::connection::PAGE_BYTES;
use super::slow_disk::waited_for_disk;
use crate::error::Result;
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use rusqlite::hooks::Wal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The length at which the thread starts. Pages that change with every commit are copied once for each run, so that fewer runs
/// copy less.
const LOG_BYTES_TO_START: u32 = 8 * 1024 * 1024;
/// The length at which the writer waits for the log to be emptied.
const LOG_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// What a log that was copied and could not begin anew grows by before it is copied again.
const LOG_BYTES_MORE: u32 = 1024 * 1024;
/// Pages that may be left to the writer to copy.
const REST_PAGES: u32 = 32;
/// How often the thread copies, where so many come while it does.
const COPIES_MAX: usize = 4;
/// How long the writer waits, in front of a log that is too long, for those who read it.
const READERS_MAX: Duration = Duration::from_millis(100);

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
    log: Log,
    closed: bool,
}

/// Who empties the log next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Filling,
    BeingCopied,
    Copied,
}

/// What is known of the log.
#[derive(Debug, Default)]
struct Log {
    stage: Stage,
    /// How long it was when it was emptied last, unless it has begun anew since.
    emptied_at: u32,
}

/// What the writer does between two groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    GoOn,
    WakeThread,
    CopyRest,
    Wait,
}

impl Log {
    /// What the writer does where the log has so many `bytes` after a commit.
    fn next(&mut self, bytes: u32) -> Step {
        if bytes < self.emptied_at {
            self.emptied_at = 0;
        }
        let grown = self.emptied_at.saturating_add(LOG_BYTES_MORE);
        match self.stage {
            _ if bytes >= LOG_BYTES_MAX.max(grown) => Step::Wait,
            Stage::Filling if bytes >= LOG_BYTES_TO_START.max(grown) => {
                self.stage = Stage::BeingCopied;
                Step::WakeThread
            }
            Stage::Copied => Step::CopyRest,
            Stage::Filling | Stage::BeingCopied => Step::GoOn,
        }
    }

    /// The writer has emptied it, as far as readers let it.
    fn emptied(&mut self, bytes: u32) {
        *self = Self {
            stage: Stage::Filling,
            emptied_at: bytes,
        };
    }
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

    /// The thread: copies the log whenever that is wanted, until the store is closed.
    pub(crate) fn run(&self, connection: &Connection) {
        let mut fails = false;
        loop {
            {
                let mut state = self.state.lock();
                while state.log.stage != Stage::BeingCopied && !state.closed {
                    self.wanted.wait(&mut state);
                }
                if state.closed {
                    return;
                }
            }
            // On a full disk every commit leads here; once is enough to say so.
            match self.copy(connection) {
                Ok(()) => fails = false,
                Err(error) if !fails => {
                    tracing::warn!(%error, "the write-ahead log could not be emptied; it is tried again");
                    fails = true;
                }
                Err(_) => {}
            }
            let log = &mut self.state.lock().log;
            // The writer may have waited, and have emptied it by now.
            if log.stage == Stage::BeingCopied {
                log.stage = Stage::Copied;
            }
        }
    }

    /// The writer, between two groups.
    pub(crate) fn between_groups(&self, writer: &Connection) {
        let pages = self.log_pages.load(Ordering::Relaxed);
        let bytes = pages.saturating_mul(PAGE_BYTES);
        let step = self.state.lock().log.next(bytes);
        let emptied = match step {
            Step::GoOn => return,
            Step::WakeThread => {
                self.wanted.notify_one();
                return;
            }
            Step::CopyRest => self.checkpoint(writer, "PASSIVE").map(drop),
            Step::Wait => self.wait_for_room(writer),
        };
        if let Err(error) = emptied {
            tracing::warn!(%error, pages, "the write-ahead log is long and could not be emptied");
        }
        self.state.lock().log.emptied(bytes);
    }

    fn wait_for_room(&self, writer: &Connection) -> Result<()> {
        let usual = super::connection::BUSY_TIMEOUT;
        writer.busy_timeout(READERS_MAX)?;
        let emptied = self.checkpoint(writer, "RESTART");
        writer.busy_timeout(usual)?;
        emptied.map(drop)
    }

    /// Copies the log, and again what has come meanwhile, until the writer's part is short: those who publish wait for it.
    fn copy(&self, connection: &Connection) -> Result<()> {
        for _ in 0..COPIES_MAX {
            let copied = self.checkpoint(connection, "PASSIVE")?;
            let length = self.log_pages.load(Ordering::Relaxed);
            if length.saturating_sub(copied) <= REST_PAGES {
                break;
            }
        }
        Ok(())
    }

    /// Empties the log as far as `how` can. Tells how many of its pages are copied.
    fn checkpoint(&self, connection: &Connection, how: &str) -> Result<u32> {
        let _emptying = self.emptying.lock();
        let mut statement = connection.prepare_cached(match how {
            "PASSIVE" => "PRAGMA wal_checkpoint(PASSIVE)",
            _ => "PRAGMA wal_checkpoint(RESTART)",
        })?;
        let copied: i64 = statement.query_row([], |row| row.get(2))?;
        waited_for_disk(2);
        Ok(u32::try_from(copied).unwrap_or(0))
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.wanted.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u32 = LOG_BYTES_TO_START;

    #[test]
    fn the_thread_copies_a_log_that_has_grown_and_the_writer_what_came_meanwhile() {
        let mut log = Log::default();
        assert_eq!(log.next(START - 1), Step::GoOn);
        assert_eq!(log.next(START), Step::WakeThread);
        assert_eq!(log.next(START + 1), Step::GoOn, "the thread is at it");
        log.stage = Stage::Copied;
        assert_eq!(log.next(START + 2), Step::CopyRest);
        log.emptied(START + 2);
        assert_eq!(log.next(1), Step::GoOn, "it has begun anew");
        assert_eq!(log.next(START), Step::WakeThread);
    }

    #[test]
    fn a_log_that_somebody_reads_is_copied_again_only_when_it_has_grown() {
        let mut log = Log::default();
        log.emptied(START);
        assert_eq!(log.next(START + 1), Step::GoOn);
        assert_eq!(log.next(START + LOG_BYTES_MORE), Step::WakeThread);
    }

    #[test]
    fn the_writer_waits_in_front_of_a_log_that_is_too_long_and_not_with_every_commit() {
        for stage in [Stage::Filling, Stage::BeingCopied, Stage::Copied] {
            let mut log = Log {
                stage,
                emptied_at: START,
            };
            assert_eq!(log.next(LOG_BYTES_MAX), Step::Wait);
            log.emptied(LOG_BYTES_MAX);
            assert_eq!(log.next(LOG_BYTES_MAX + 1), Step::GoOn);
            assert_eq!(log.next(LOG_BYTES_MAX + LOG_BYTES_MORE), Step::Wait);
        }
    }
}
