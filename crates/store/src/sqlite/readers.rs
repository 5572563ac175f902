//! Reading the embedded database: a small pool of connections, each used by one question at a time, for at most a second.

use super::connection::open_reader;
use crate::error::{Result, StoreError};
use crate::tx::Tx;
use parking_lot::Mutex;
use rusqlite::Connection;
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
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(READERS)),
        }
    }

    /// Runs `question` on a connection of its own, in one snapshot, on a thread that may block.
    pub(crate) async fn ask<T: Send + 'static>(
        self: Arc<Self>,
        question: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permits = Arc::clone(&self.permits);
        let permit = permits.acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let asked = tokio::task::spawn_blocking(move || {
            // Held to the end of the question, which goes on when whoever asked has gone.
            let _permit = permit;
            self.ask_here(question)
        })
        .await;
        asked.map_err(|error| StoreError::Unavailable(format!("a question failed: {error}")))?
    }

    fn ask_here<T>(&self, question: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
        let idle = self.idle.lock().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => open_reader(&self.path)?,
        };
        let answer = in_snapshot(&mut connection, question);
        // One that could not leave its snapshot would hold the log open and answer nothing any more.
        if connection.is_autocommit() {
            self.idle.lock().push(connection);
        }
        answer
    }
}

fn in_snapshot<T>(connection: &mut Connection, question: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
    let mut steps = 0;
    let count = move || {
        steps += 1;
        steps > STEPS_MAX
    };
    connection.progress_handler(STEP_OPERATIONS, Some(count))?;
    connection.execute_batch("BEGIN")?;
    let answer = question(&mut Tx::Sqlite(connection));
    connection.execute_batch("ROLLBACK")?;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::sync::mpsc;

    #[tokio::test]
    async fn a_question_counts_until_its_end_even_where_nobody_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stentor.db");
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE t (n)")
            .unwrap();
        let readers = Arc::new(Readers::new(&path));
        let (end, ended) = mpsc::channel::<()>();
        let asked = Arc::clone(&readers).ask(move |_| {
            let _ = ended.recv();
            Ok(())
        });
        // Polled once and dropped, as when a client goes away.
        assert!(asked.now_or_never().is_none());
        assert_eq!(readers.permits.available_permits(), READERS - 1);
        drop(end);
        drop(
            readers
                .permits
                .acquire_many(u32::try_from(READERS).unwrap())
                .await,
        );
    }
}
