//! Emptying the write-ahead log into the database file, away from the commits.
//!
//! The log's space is used again from its begin only when all of it was copied and nobody reads it; while commits follow one
//! another, its end keeps moving. So it is emptied in two steps: a thread copies nearly all of it while the writer goes on, and
//! the writer itself, between two groups, the few pages that came meanwhile. Its next commit then begins anew.
//!
//! The writer's step ends with the file on disk, and whoever publishes waits for it: a hundred pages here and there take 2 ms.
//! Small commits write few different pages, so that what they wrote is copied and brought to the disk every
//! [`COMMITS_OF_PART`] of them, and the end finds little left. Large ones fill the log before they are so many, each with
//! other pages: copied in parts, these would only be copied more often.
//!
//! The log's states:
//! 1. filling: nobody copies. The thread is woken after [`COMMITS_OF_PART`] commits, and at [`LOG_BYTES_TO_START`];
//! 2. a part being copied: the thread is at it, and the log grows on. Then it is filling again;
//! 3. all being copied: what comes meanwhile is copied too, until it is little;
//! 4. copied, but for what came meanwhile: the writer's turn. Where a reader or a backup still needs the log, it grows on, and
//!    all of this is tried again when it has grown by [`LOG_BYTES_MORE`].
//!
//! In any of them the log may become longer than [`LOG_BYTES_MAX`], where the disk is slower than what is written or somebody
//! reads for long. Then the writer waits, for the thread as long as it takes, for readers [`READERS_MAX`]: those who publish wait,
//! the log does not grow. A process that dies leaves a log that the next one reads; no state is kept on disk.

use super::connection::PAGE_BYTES;
use super::slow_disk::waited_for_disk;
use crate::error::{Result, StoreError};
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use rusqlite::hooks::Wal;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Commits after which the thread copies what they wrote: some 1 MiB, where each is small.
const COMMITS_OF_PART: u32 = 48;
/// The length at which the thread copies all. Pages that change with every commit are copied once for each run, so that fewer
/// runs copy less.
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
    BeingCopied(Extent),
    Copied,
}

/// How much of the log the thread is asked to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    Part,
    All,
}

/// What is known of the log.
#[derive(Debug, Default)]
struct Log {
    stage: Stage,
    /// How long it was when it was emptied last, unless it has begun anew since.
    emptied_at: u32,
    /// Commits since the thread was woken last.
    commits: u32,
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
    /// What the writer does after a commit, where the log has so many `bytes`.
    fn next(&mut self, bytes: u32) -> Step {
        if bytes < self.emptied_at {
            self.emptied_at = 0;
        }
        self.commits = self.commits.saturating_add(1);
        let grown = self.emptied_at.saturating_add(LOG_BYTES_MORE);
        match self.stage {
            _ if bytes >= LOG_BYTES_MAX.max(grown) => Step::Wait,
            Stage::Filling if bytes >= LOG_BYTES_TO_START.max(grown) => self.wake_for(Extent::All),
            Stage::Filling if bytes < LOG_BYTES_TO_START && self.commits >= COMMITS_OF_PART => {
                self.wake_for(Extent::Part)
            }
            Stage::Copied => Step::CopyRest,
            Stage::Filling | Stage::BeingCopied(_) => Step::GoOn,
        }
    }

    fn wake_for(&mut self, extent: Extent) -> Step {
        self.stage = Stage::BeingCopied(extent);
        self.commits = 0;
        Step::WakeThread
    }

    /// The thread has copied what it was woken for.
    fn copied(&mut self, extent: Extent) {
        // The writer may have waited, and have emptied it by now.
        if self.stage == Stage::BeingCopied(extent) {
            self.stage = match extent {
                Extent::Part => Stage::Filling,
                Extent::All => Stage::Copied,
            };
        }
    }

    /// The writer has emptied it, as far as readers let it.
    fn emptied(&mut self, bytes: u32) {
        *self = Self {
            emptied_at: bytes,
            ..Self::default()
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

    /// The thread: copies the log into `file`, that of the database, whenever that is wanted, until the store is closed.
    pub(crate) fn run(&self, connection: &Connection, file: &File) {
        let mut fails = false;
        while let Some(extent) = self.wait_for_work() {
            let copied = match extent {
                Extent::Part => self.copy_part(connection, file),
                Extent::All => self.copy_all(connection),
            };
            // On a full disk every commit leads here; once is enough to say so.
            match copied {
                Ok(()) => fails = false,
                Err(error) if !fails => {
                    tracing::warn!(%error, "the write-ahead log could not be emptied; it is tried again");
                    fails = true;
                }
                Err(_) => {}
            }
            self.state.lock().log.copied(extent);
        }
    }

    /// What the thread is to copy next; nothing, when the store is closed.
    fn wait_for_work(&self) -> Option<Extent> {
        let mut state = self.state.lock();
        loop {
            match state.log.stage {
                _ if state.closed => return None,
                Stage::BeingCopied(extent) => return Some(extent),
                Stage::Filling | Stage::Copied => self.wanted.wait(&mut state),
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

    /// Copies what the log has by now, and brings it to the disk: SQLite does that only for a log that was copied to its end.
    fn copy_part(&self, connection: &Connection, file: &File) -> Result<()> {
        self.checkpoint(connection, "PASSIVE")?;
        file.sync_data()
            .map_err(|error| StoreError::Unavailable(format!("the database file: {error}")))?;
        waited_for_disk(1);
        Ok(())
    }

    /// Copies the log, and again what has come meanwhile, until the writer's part is short: those who publish wait for it.
    fn copy_all(&self, connection: &Connection) -> Result<()> {
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
        log.copied(Extent::All);
        assert_eq!(log.next(START + 2), Step::CopyRest);
        log.emptied(START + 2);
        assert_eq!(log.next(1), Step::GoOn, "it has begun anew");
        assert_eq!(log.next(START), Step::WakeThread);
    }

    #[test]
    fn what_small_commits_write_is_copied_long_before_the_log_is_emptied() {
        let mut log = Log::default();
        for commit in 1..COMMITS_OF_PART {
            assert_eq!(log.next(commit), Step::GoOn);
        }
        assert_eq!(log.next(COMMITS_OF_PART), Step::WakeThread);
        assert_eq!(log.stage, Stage::BeingCopied(Extent::Part));
        assert_eq!(log.next(START), Step::GoOn, "the thread is at it");
        log.copied(Extent::Part);
        assert_eq!(log.next(START), Step::WakeThread);
        assert_eq!(log.stage, Stage::BeingCopied(Extent::All));
    }

    #[test]
    fn a_part_that_was_copied_while_the_writer_emptied_the_log_changes_nothing() {
        let mut log = Log::default();
        assert_eq!(log.wake_for(Extent::Part), Step::WakeThread);
        assert_eq!(log.next(LOG_BYTES_MAX), Step::Wait);
        log.emptied(LOG_BYTES_MAX);
        assert_eq!(log.next(1), Step::GoOn, "it has begun anew");
        assert_eq!(log.next(START), Step::WakeThread);
        log.copied(Extent::Part);
        assert_eq!(log.stage, Stage::BeingCopied(Extent::All));
    }

    #[test]
    fn a_log_that_somebody_reads_is_copied_again_only_when_it_has_grown() {
        let mut log = Log::default();
        log.emptied(START);
        for _ in 0..COMMITS_OF_PART {
            assert_eq!(log.next(START + 1), Step::GoOn);
        }
        assert_eq!(log.next(START + LOG_BYTES_MORE), Step::WakeThread);
    }

    #[test]
    fn the_writer_waits_in_front_of_a_log_that_is_too_long_and_not_with_every_commit() {
        let being_copied = [Extent::Part, Extent::All].map(Stage::BeingCopied);
        for stage in being_copied.into_iter().chain([Stage::Filling, Stage::Copied]) {
            let mut log = Log {
                stage,
                emptied_at: START,
                ..Log::default()
            };
            assert_eq!(log.next(LOG_BYTES_MAX), Step::Wait);
            log.emptied(LOG_BYTES_MAX);
            assert_eq!(log.next(LOG_BYTES_MAX + 1), Step::GoOn);
            assert_eq!(log.next(LOG_BYTES_MAX + LOG_BYTES_MORE), Step::Wait);
        }
    }
}
