//! The embedded engine: one file, one writer thread, a few readers.
//!
//! - `connection`, `migrate`: a file opened, locked and brought up to date;
//! - `queue`, `writer`: what waits to be written, and the thread that writes it in groups;
//! - `accept`, `claim`, `finish`: the members of a group;
//! - `lists`: what tenants and endpoints have, listed for many groups at once;
//! - `readers`, `checkpoint`: questions beside the writer, and emptying its log;
//! - `aged`, `slow_disk`: what `stentor bench` needs to measure a purge, and a disk that is slower.
//!
//! Here the parts are put together and taken apart, and a start takes over what an earlier life has left.

mod accept;
mod aged;
mod checkpoint;
mod claim;
mod connection;
mod finish;
mod lists;
mod migrate;
mod queue;
mod readers;
mod slow_disk;
mod writer;

use crate::common::{Common, Seams};
use crate::config::Config;
use crate::effects::{Effects, Outside};
use crate::error::{Result, StoreError};
use crate::fresh::{self, Fresh};
use crate::health::{self, Healths};
use crate::master_keys::{self, SealedWith};
use crate::member::{Hot, Reply};
use crate::metrics::Metrics;
use crate::start;
use crate::tx::{Tx, values};
use crate::waiters::Waiters;
use checkpoint::Checkpointer;
use connection::{FileLock, open_reader, open_writer, unavailable};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lists::Listing;
use parking_lot::Mutex;
use queue::Queue;
use readers::Readers;
use rusqlite::Connection;
use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use stentor_domain::Timestamp;
use stentor_domain::id::Ids;
use writer::{Command, Writer};

pub use aged::{AGED_ATTEMPTS_OF_EVENT, aged_left, write_aged};
#[cfg(test)]
pub(crate) use migrate::empty;
pub use slow_disk::slow_down_the_disk;

/// An open embedded store.
pub(crate) struct Sqlite {
    path: PathBuf,
    epoch: i64,
    queue: Arc<Queue<Command>>,
    readers: Arc<Readers>,
    checkpointer: Arc<Checkpointer>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    _lock: FileLock,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Opens the file at `path`, and takes back what a killed process had claimed.
    pub(crate) fn open(path: PathBuf, keys: Seams) -> Result<(Self, Common, Fresh)> {
        let Seams {
            master,
            clock,
            chance,
        } = keys;
        let lock = FileLock::take(&path)?;
        let mut connection = open_writer(&path)?;
        migrate::migrate(&mut connection)?;
        let (ids, epoch) = in_transaction(&mut connection, async |tx| {
            master_keys::check(tx, &master, &*chance).await?;
            let ids = Ids::new(0, start::greatest_key(tx).await?);
            let epoch = ids.next(clock.now(), &*chance).n;
            register(tx, epoch, clock.now()).await?;
            master_keys::tell(tx, epoch, &master).await?;
            start::take_over(tx, epoch, clock.now()).await?;
            Ok((ids, epoch))
        })?;
        let checkpointer = Arc::new(Checkpointer::default());
        checkpointer.watch(&mut connection)?;

        let config = Arc::new(Config::new(master.clone()));
        let health = at_once(async {
            let mut tx = Tx::Sqlite(&mut connection);
            config.refresh(&mut tx).await?;
            health::all(&mut tx).await
        })?;
        let queue: Arc<Queue<Command>> = Arc::new(Queue::new());
        let (sender, fresh) = fresh::channel(give_back(&queue));
        let waiters = Arc::new(Waiters::default());
        let healths = Arc::new(Healths::new(health));
        let metrics = Arc::new(Metrics::default());
        let outside = Outside::new(
            sender,
            Arc::clone(&config),
            Arc::clone(&waiters),
            Arc::clone(&healths),
            Arc::clone(&metrics),
        );
        let writer = Writer {
            connection,
            epoch,
            outside,
            tenant_versions: HashMap::new(),
            clock: Arc::clone(&clock),
            checkpointer: Arc::clone(&checkpointer),
            listing: Listing::default(),
        };
        let threads = vec![
            start_writer(writer, &queue)?,
            start_checkpointer(&checkpointer, &path)?,
        ];
        let engine = Self {
            readers: Arc::new(Readers::new(&path)),
            path,
            epoch,
            queue,
            checkpointer,
            threads: Mutex::new(threads),
            _lock: lock,
        };
        let common = Common::new(
            config,
            waiters,
            healths,
            metrics,
            ids,
            Seams {
                master,
                clock,
                chance,
            },
        );
        Ok((engine, common, fresh))
    }

    /// This life of this process.
    pub(crate) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Puts a member of the hot path into the writer's queue.
    pub(crate) fn push(&self, member: Hot) -> Result<()> {
        self.queue
            .push(Command::Hot(member))
            .map_err(|_| StoreError::Closed)
    }

    /// Runs a slice of background work in a transaction of its own, when the writer has nothing else to do, or it has waited long
    /// enough. It changes no configuration.
    pub(crate) async fn in_background<T, W, F>(&self, work: W, follow: F) -> Result<T>
    where
        T: Send + 'static,
        W: for<'a, 'c> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, Result<T>> + Send + 'static,
        F: FnOnce(&T, &mut Effects) + Send + 'static,
    {
        let (slice, answer) = change_of(work, follow, false);
        self.queue
            .push_background(slice)
            .map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs a change in a transaction of its own, in its place in the writer's queue.
    pub(crate) async fn change<T, E, W, F>(&self, work: W, follow: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        W: for<'a, 'c> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
        F: FnOnce(&T, &mut Effects) + Send + 'static,
    {
        let (change, answer) = change_of(work, follow, true);
        self.queue.push(change).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Asks a question in one snapshot, beside the writer.
    pub(crate) async fn ask<T, W>(&self, question: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'a, 'c> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, Result<T>> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        readers.ask(move |tx| at_once(question(tx))).await
    }

    /// Writes what waits, then ends the threads. Blocks.
    pub(crate) fn close(&self) {
        self.queue.close();
        self.checkpointer.close();
        for thread in self.threads.lock().drain(..) {
            drop(thread.join());
        }
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.close();
    }
}

/// A transaction of its own for the writer, and where its answer comes. `configured` says that the snapshot has to follow.
fn change_of<T, E, W, F>(
    work: W,
    follow: F,
    configured: bool,
) -> (Command, tokio::sync::oneshot::Receiver<Result<T, E>>)
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
    W: for<'a, 'c> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
    F: FnOnce(&T, &mut Effects) + Send + 'static,
{
    let (sender, answer) = tokio::sync::oneshot::channel();
    let change = Box::new(move |writer: &mut Writer| {
        let mut made = None;
        let outcome = writer.transaction(|writer, effects| {
            let done = at_once(work(&mut Tx::Sqlite(&mut writer.connection)));
            effects.configured = configured;
            done.map(|value| {
                follow(&value, effects);
                made = Some(value);
            })
        });
        let answer = outcome.and_then(|()| made.ok_or_else(|| StoreError::Closed.into()));
        drop(sender.send(answer));
    });
    (Command::Change(change), answer)
}

fn give_back(queue: &Arc<Queue<Command>>) -> fresh::GiveBack {
    let queue = Arc::clone(queue);
    Box::new(move |releases| {
        // A closed store needs nothing back: the next start recovers it.
        drop(queue.push(Command::Hot(Hot::Release(releases, Reply::new().0))));
    })
}

fn start_writer(writer: Writer, queue: &Arc<Queue<Command>>) -> Result<JoinHandle<()>> {
    let queue = Arc::clone(queue);
    spawn("stentor-writer", move || {
        let guard = EndWithTheWriter;
        writer.run(&queue);
        std::mem::forget(guard);
    })
}

/// Without its writer the process can accept nothing and record nothing; better that a supervisor starts it again.
struct EndWithTheWriter;

impl Drop for EndWithTheWriter {
    fn drop(&mut self) {
        tracing::error!("the writer of the database panicked; the process ends so that a restart recovers");
        std::process::abort();
    }
}

fn start_checkpointer(checkpointer: &Arc<Checkpointer>, path: &Path) -> Result<JoinHandle<()>> {
    let checkpointer = Arc::clone(checkpointer);
    let connection = connection::open_checkpointer(path)?;
    let file = connection::open_to_sync(path)?;
    spawn("stentor-checkpointer", move || {
        checkpointer.run(&connection, &file);
    })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(work);
    thread.map_err(|error| StoreError::Unavailable(format!("{name} cannot start: {error}")))
}

/// Makes this life of the process the only node there is.
async fn register(tx: &mut Tx<'_>, epoch: i64, now: Timestamp) -> Result<()> {
    tx.execute("DELETE FROM nodes", values![]).await?;
    tx.execute_one(
        "INSERT INTO nodes (epoch, number, name, started_at, beat_at) VALUES (?1, 0, 'embedded', ?2, ?2)",
        values![epoch, now],
    )
    .await
}

fn in_transaction<T>(
    connection: &mut Connection,
    work: impl AsyncFnOnce(&mut Tx<'_>) -> Result<T>,
) -> Result<T> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let done = at_once(work(&mut Tx::Sqlite(connection)));
    connection.execute_batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    done
}

/// The outcome of what was written for any database: on the embedded one no step ever waits.
fn at_once<T, E: From<StoreError>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    work.now_or_never()
        .unwrap_or_else(|| Err(StoreError::Closed.into()))
}

/// Copies the database at `from`, as it is at one moment, to the new file `to`; a server may be running on it.
pub fn back_up_file(from: &Path, to: &Path) -> Result<()> {
    // Refuses to overwrite: a backup that replaces the last good one is none.
    File::options()
        .write(true)
        .create_new(true)
        .open(to)
        .map_err(unavailable(to))?;
    let source = open_reader(from)?;
    let mut target = Connection::open(to)?;
    let backup = rusqlite::backup::Backup::new(&source, &mut target)?;
    // One step copies one snapshot; a backup in several steps would begin anew after every commit of the writer.
    backup.step(-1)?;
    drop(backup);
    target.close().map_err(|(_, error)| error)?;
    File::open(to)
        .and_then(|file| file.sync_all())
        .map_err(unavailable(to))
}

/// Tells whether the database at `path` was ever opened with a master key, so that no other key will do. One that does not
/// exist, or was only migrated, was not.
pub(crate) fn is_sealed(path: &Path) -> Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let mut connection = open_reader(path)?;
    let has_tables = connection.table_exists(None, "meta")?;
    Ok(has_tables && at_once(master_keys::check_value(&mut Tx::Sqlite(&mut connection)))?.is_some())
}

/// How far a rotation of master keys is in the database at `path`, beside a server that may be running.
pub(crate) fn sealed_with(path: &Path) -> Result<SealedWith> {
    if !is_sealed(path)? {
        return Ok(SealedWith::default());
    }
    let mut connection = open_reader(path)?;
    at_once(master_keys::read(&mut Tx::Sqlite(&mut connection)))
}

/// Whether another process works with the database at `path`.
pub(crate) fn is_held(path: &Path) -> bool {
    path.exists() && FileLock::take(path).is_err()
}

/// Brings the schema of the database file at `path` up to date, with no server running. Tells the versions it had and
/// has.
pub(crate) fn migrate_file(path: &Path) -> Result<Range<usize>> {
    let _lock = FileLock::take(path)?;
    migrate::migrate(&mut open_writer(path)?)
}
