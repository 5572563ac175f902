//! Reading the embedded database: a small pool of connections, each used by one question at a time, for at most a second.

use super::connection::open_reader;
use crate::error::{Result, StoreError};
use crate::tx::Tx;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Questions answered at once.
const READERS: usize = 4;
/// How long a question may hold its snapshot: the log cannot be emptied past the oldest one. Counted in steps of
/// SQLite's virtual machine, since a clock read at every step would cost more than the question: about a second.
const STEPS_MAX: u32 = 20_000;
const STEP_OPERATIONS: i32 = 1_000;

/// The connections for reading.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Tx>>,
    permits: Semaphore,
}

impl Readers {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            idle: Mutex::new(Vec::new()),
            permits: Semaphore::new(READERS),
        }
    }

    /// Runs `question` on a connection of its own, in one snapshot, on a thread that may block.
    pub(crate) async fn ask<T: Send + 'static>(
        self: Arc<Self>,
        question: impl FnOnce(&mut Tx) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _permit = self.permits.acquire().await.map_err(|_| StoreError::Closed)?;
        let readers = Arc::clone(&self);
        let asked = tokio::task::spawn_blocking(move || readers.ask_here(question)).await;
        asked.map_err(|error| StoreError::Unavailable(format!("a question failed: {error}")))?
    }

    fn ask_here<T>(&self, question: impl FnOnce(&mut Tx) -> Result<T>) -> Result<T> {
        let mut tx = match self.idle.lock().pop() {
            Some(tx) => tx,
            None => Tx::Sqlite(open_reader(&self.path)?),
        };
        let answer = in_snapshot(&mut tx, question);
        let mut idle = self.idle.lock();
        if idle.len() < READERS {
            idle.push(tx);
        }
        answer
    }
}

fn in_snapshot<T>(tx: &mut Tx, question: impl FnOnce(&mut Tx) -> Result<T>) -> Result<T> {
    let Tx::Sqlite(connection) = tx;
    let mut steps = 0;
    let count = move || {
        steps += 1;
        steps > STEPS_MAX
    };
    connection.progress_handler(STEP_OPERATIONS, Some(count))?;
    connection.execute_batch("BEGIN")?;
    let answer = question(tx);
    let Tx::Sqlite(connection) = tx;
    connection.execute_batch("ROLLBACK")?;
    answer
}
