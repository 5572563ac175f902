//! The embedded engine: one file, one writer thread, a few readers.
//!
//! - `connection`, `migrate`: a file opened, locked and brought up to date;
//! - `queue`, `writer`: what waits to be written, and the thread that writes it in groups;
//! - `accept`, `claim`, `finish`: the members of a group;
//! - `readers`, `checkpoint`: questions beside the writer, and emptying its log.
//!
//! Here the parts are put together and taken apart, and a start takes over what an earlier life has left.

mod accept;
mod checkpoint;
mod claim;
mod connection;
mod finish;
mod migrate;
mod queue;
mod readers;
mod writer;

pub use writer::Recorded;
pub(crate) use writer::{Command, Effects, Hot, Reply, Writer};

use crate::config::Config;
use crate::error::{Result, StoreError};
use crate::fresh::{self, Fresh, Waiting};
use crate::key_uses::KeyUses;
use crate::seal::MasterKeys;
use crate::tx::Tx;
use crate::waiters::Waiters;
use checkpoint::Checkpointer;
use connection::{FileLock, open_reader, open_writer};
use parking_lot::Mutex;
use queue::Queue;
use readers::Readers;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use stentor_domain::id::Ids;
use stentor_domain::limits::SHARDS;
use stentor_domain::{Chance, Clock, Timestamp};

/// What the check value in the database says, sealed: a start with the wrong master key cannot open it.
const MASTER_CHECK: (&str, &[u8]) = ("master-key-check", b"stentor");

/// The tables whose keys are drawn from one sequence, and their columns.
const KEYED: [(&str, &str); 13] = [
    ("nodes", "epoch"),
    ("projects", "n"),
    ("api_keys", "n"),
    ("tenants", "n"),
    ("event_types", "n"),
    ("endpoints", "n"),
    ("secrets", "n"),
    ("header_sets", "n"),
    ("events", "n"),
    ("work", "n"),
    ("deliveries", "n"),
    ("audit", "n"),
    ("jobs", "n"),
];

/// How to open an embedded store.
pub struct Options {
    /// The database file; made where there is none.
    pub path: PathBuf,
    /// What seals secrets.
    pub master: MasterKeys,
    /// Dates what is stored.
    pub clock: Arc<dyn Clock>,
    /// Draws ids and secrets.
    pub chance: Arc<dyn Chance>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// An open embedded store.
pub(crate) struct Sqlite {
    pub(crate) path: PathBuf,
    pub(crate) queue: Arc<Queue<Command>>,
    pub(crate) readers: Arc<Readers>,
    pub(crate) config: Arc<Config>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) key_uses: KeyUses,
    pub(crate) ids: Ids,
    pub(crate) master: MasterKeys,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Arc<dyn Chance>,
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
    pub(crate) fn open(options: Options) -> Result<(Self, Fresh)> {
        let Options {
            path,
            master,
            clock,
            chance,
        } = options;
        let lock = FileLock::take(&path)?;
        let mut connection = open_writer(&path)?;
        migrate::migrate(&mut connection)?;
        check_master_key(&connection, &master, &*chance)?;
        let ids = Ids::new(0, greatest_key(&connection)?);
        let epoch = ids.next(clock.now(), &*chance).n;
        take_over(&mut connection, epoch, clock.now())?;
        let checkpointer = Arc::new(Checkpointer::default());
        checkpointer.watch(&mut connection)?;
        let health = read_health(&connection)?;

        let mut tx = Tx::Sqlite(connection);
        let config = Arc::new(Config::new(master.clone()));
        config.refresh(&mut tx)?;
        let queue: Arc<Queue<Command>> = Arc::new(Queue::new());
        let (sender, fresh) = fresh::channel(give_back(&queue));
        let waiters = Arc::new(Waiters::default());
        let writer = Writer {
            tx,
            epoch,
            fresh: sender,
            config: Arc::clone(&config),
            waiters: Arc::clone(&waiters),
            health,
            clock: Arc::clone(&clock),
            checkpointer: Arc::clone(&checkpointer),
        };
        let threads = vec![
            start_writer(writer, &queue)?,
            start_checkpointer(&checkpointer, &path)?,
        ];
        let store = Self {
            readers: Arc::new(Readers::new(&path)),
            path,
            queue,
            config,
            waiters,
            key_uses: KeyUses::default(),
            ids,
            master,
            clock,
            chance,
            checkpointer,
            threads: Mutex::new(threads),
            _lock: lock,
        };
        Ok((store, fresh))
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
    spawn("stentor-checkpointer", move || checkpointer.run(&connection))
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(work);
    thread.map_err(|error| StoreError::Unavailable(format!("{name} cannot start: {error}")))
}

fn check_master_key(connection: &Connection, master: &MasterKeys, chance: &dyn Chance) -> Result<()> {
    let (name, content) = MASTER_CHECK;
    let known = connection.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| {
        row.get::<_, Vec<u8>>(0)
    });
    match known.optional()? {
        Some(sealed) => master.open(name, &sealed).map(drop).map_err(|_| {
            StoreError::Unavailable(
                "the master key does not fit this database; configure the key that it was made with \
                 (by default the file master.key in the data folder)"
                    .into(),
            )
        }),
        None => {
            let sealed = master.seal(name, content, chance)?;
            connection.execute(
                "INSERT INTO meta (name, value) VALUES (?1, ?2)",
                params![name, sealed],
            )?;
            Ok(())
        }
    }
}

/// The greatest key in use, so that ids go on from there even if the clock has been set back.
fn greatest_key(connection: &Connection) -> Result<i64> {
    let mut greatest = 0;
    for (table, column) in KEYED {
        let sql = format!("SELECT coalesce(max({column}), 0) FROM {table}");
        let key: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
        greatest = greatest.max(key);
    }
    Ok(greatest)
}

/// Makes this life of the process the node that owns everything: what an earlier life had claimed waits again, at once.
fn take_over(connection: &mut Connection, epoch: i64, now: Timestamp) -> Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM nodes", [])?;
    transaction.execute(
        "INSERT INTO nodes (epoch, number, name, started_at, beat_at) VALUES (?1, 0, 'embedded', ?2, ?2)",
        params![epoch, now.micros()],
    )?;
    // What somebody wanted to end while it was in flight ends here: its attempt's record did not survive to decide. So does
    // a test, for which nobody waits any more.
    transaction.execute(
        "INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, reason, cause, attempts, finished_at)
         SELECT n, tag, event, endpoint, tenant, CASE cancel_requested WHEN 1 THEN 'cancelled' ELSE 'exhausted' END,
                CASE cancel_requested WHEN 1 THEN 'requested' ELSE 'test_failed' END, cause, attempt - 1, ?1
         FROM work WHERE cancel_requested = 1 OR cause = 'test'",
        [now.micros()],
    )?;
    transaction.execute(
        "DELETE FROM work WHERE cancel_requested = 1 OR cause = 'test'",
        [],
    )?;
    transaction.execute("UPDATE work SET owner = NULL WHERE owner IS NOT NULL", [])?;
    // What was in memory when its endpoint was deleted waits again: the endpoint is swept once more.
    transaction.execute(
        "UPDATE endpoints SET swept_at = NULL WHERE swept_at IS NOT NULL AND EXISTS
           (SELECT 1 FROM work WHERE shard = endpoints.shard AND endpoint = endpoints.n AND owner IS NULL)",
        [],
    )?;
    for shard in 0..SHARDS {
        transaction.execute(
            "INSERT INTO shards (shard, owner_epoch, term) VALUES (?1, ?2, 1)
             ON CONFLICT (shard) DO UPDATE SET owner_epoch = ?2, term = term + 1",
            params![shard, epoch],
        )?;
    }
    transaction.commit()?;
    Ok(())
}

fn read_health(connection: &Connection) -> Result<HashMap<i64, u32>> {
    let mut statement = connection.prepare(
        "SELECT endpoint, consecutive_failures FROM endpoint_health WHERE consecutive_failures > 0",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Steps from endpoint to endpoint through the index of what waits, one look-up for each.
pub(crate) fn waiting_endpoints(tx: &mut Tx, after: (u16, i64), limit: usize) -> Result<Vec<Waiting>> {
    let Tx::Sqlite(connection) = tx;
    let mut statement = connection.prepare_cached(
        "SELECT shard, endpoint, due_at FROM work WHERE owner IS NULL AND (shard, endpoint) > (?1, ?2)
         ORDER BY shard, endpoint, due_at LIMIT 1",
    )?;
    let mut waiting: Vec<Waiting> = Vec::new();
    let mut last = after;
    while waiting.len() < limit {
        let next = statement.query_row(params![last.0, last.1], |row| {
            Ok(Waiting {
                shard: row.get(0)?,
                endpoint: row.get(1)?,
                due_at: Timestamp::from_micros(row.get(2)?),
            })
        });
        let Some(next) = next.optional()? else { break };
        last = (next.shard, next.endpoint);
        waiting.push(next);
    }
    Ok(waiting)
}

/// Copies the database at `from`, as it is at one moment, to the new file `to`; a server may be running on it.
pub fn back_up_file(from: &Path, to: &Path) -> Result<()> {
    let broken = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", to.display()));
    // Refuses to overwrite: a backup that replaces the last good one is none.
    File::options()
        .write(true)
        .create_new(true)
        .open(to)
        .map_err(broken)?;
    let source = open_reader(from)?;
    let mut target = Connection::open(to)?;
    let backup = rusqlite::backup::Backup::new(&source, &mut target)?;
    // One step copies one snapshot; a backup in several steps would begin anew after every commit of the writer.
    backup.step(-1)?;
    drop(backup);
    target.close().map_err(|(_, error)| error)?;
    File::open(to).and_then(|file| file.sync_all()).map_err(broken)
}

/// Tells whether the database at `path` was ever opened with a master key, so that no other key will do. One that does not
/// exist, or was only migrated, was not.
pub fn is_sealed(path: &Path) -> Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let connection = open_reader(path)?;
    let has_tables = connection.table_exists(None, "meta")?;
    Ok(has_tables
        && connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM meta WHERE name = ?1)",
            [MASTER_CHECK.0],
            |row| row.get(0),
        )?)
}

/// Brings the schema of the database file at `path` up to date, with no server running. Tells the versions it had and
/// has.
pub fn migrate_file(path: &Path) -> Result<Range<usize>> {
    let _lock = FileLock::take(path)?;
    migrate::migrate(&mut open_writer(path)?)
}
