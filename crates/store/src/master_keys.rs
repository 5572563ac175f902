//! Master keys: which one seals, which ones are needed, and how one takes the place of another while everything goes on.
//!
//! The database says which key seals: the one that the check value in `meta` is sealed with. Every change that seals
//! something asks for it. The first key of a process is only the one that *shall* seal. What is needed is the key that seals,
//! and every key that some row is still sealed with; a start without one of them is refused.
//!
//! A rotation, state by state. Each is what the database and the operator's list of keys say, so that a process that dies in
//! one goes on from there at its next start, and nothing has to be undone:
//! 1. **known**: the new key stands first in the list of a process, the earlier one behind it. Nothing is sealed with the new
//!    one yet: a start with the earlier one alone is still a good one.
//! 2. **awaited**: a node says in `nodes` which keys it knows. While one that is alive does not know the new key, nothing is
//!    sealed with it, since that node could not open it.
//! 3. **seals**: the node that owns the shards seals the check value with the new key. It does so in a change that has raised
//!    the configuration's clock, as every change has that seals something: what is sealed with the earlier key is committed
//!    before, and seen from here, and from this commit on nothing more is. Both keys are needed.
//! 4. **sealed anew**: row after row in slices, a transaction each, found by the key that they are sealed with. A slice that a
//!    crash interrupts is found again.
//! 5. **done**: no row is found. The earlier key is needed for nothing, and may leave the lists of keys. A process does not
//!    forget a key that is needed, whatever its list says ([`Store::use_master_keys`]).

use crate::Store;
use crate::change::{Audit, By, record, tick};
use crate::database::Database;
use crate::endpoints::{header_sets, secrets};
use crate::error::{Result, StoreError};
use crate::seal::{MasterKeyId, MasterKeys, Sealer};
use crate::tx::{Tx, values};
use crate::{postgres, sqlite};
use std::collections::BTreeSet;
use stentor_domain::Chance;
use stentor_domain::id::AuditId;
use stentor_domain::key::Actor;
use stentor_domain::limits::RESEALED_ROWS_MAX;

/// What the check value in the database says, sealed: its key is the one that seals.
const CHECK: (&str, &[u8]) = ("master-key-check", b"stentor");

/// A table with sealed values.
struct Table {
    /// Some rows that are sealed with another key: by the index, on either side of that key.
    others: &'static str,
    /// Writes one anew, unless somebody else has.
    write: &'static str,
    /// What binds a value to its row.
    identity: fn(i64) -> String,
}

const TABLES: [Table; 2] = [
    Table {
        others: "SELECT n, sealed FROM secrets WHERE master_key < ?1 UNION ALL
                 SELECT n, sealed FROM secrets WHERE master_key > ?1 LIMIT ?2",
        write: "UPDATE secrets SET master_key = ?2, sealed = ?3 WHERE n = ?1 AND master_key = ?4",
        identity: secrets::identity,
    },
    Table {
        others: "SELECT n, sealed FROM header_sets WHERE master_key < ?1 UNION ALL
                 SELECT n, sealed FROM header_sets WHERE master_key > ?1 LIMIT ?2",
        write: "UPDATE header_sets SET master_key = ?2, sealed = ?3 WHERE n = ?1 AND master_key = ?4",
        identity: header_sets::identity,
    },
];

/// The keys that rows are sealed with, from key to key by the index, however many rows there are.
const KEYS_OF_ROWS: [&str; 2] = [
    "WITH RECURSIVE found (id) AS (
       SELECT (SELECT min(master_key) FROM secrets) UNION ALL
       SELECT (SELECT min(master_key) FROM secrets WHERE master_key > f.id) FROM found f WHERE f.id IS NOT NULL
     ) SELECT id FROM found WHERE id IS NOT NULL",
    "WITH RECURSIVE found (id) AS (
       SELECT (SELECT min(master_key) FROM header_sets) UNION ALL
       SELECT (SELECT min(master_key) FROM header_sets WHERE master_key > f.id) FROM found f WHERE f.id IS NOT NULL
     ) SELECT id FROM found WHERE id IS NOT NULL",
];

const COUNTS: &str = "SELECT master_key, count(*)
     FROM (SELECT master_key FROM secrets UNION ALL SELECT master_key FROM header_sets) AS sealed
     GROUP BY master_key ORDER BY master_key";

/// The nodes that may be alive. On PostgreSQL one whose beat has stood still for three leases is not waited for.
const NODES: &str = "SELECT name, master_keys FROM nodes";
const NODES_ALIVE: &str = "SELECT name, master_keys FROM nodes
     WHERE beat_at > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - 9000000";

/// What one step of a rotation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resealed {
    /// Everything is sealed with the first key.
    Nothing,
    /// These nodes do not know the first key yet.
    Awaits(Vec<String>),
    /// The first key seals from now on.
    Seals(MasterKeyId),
    /// So many rows were sealed with it, anew.
    Rows {
        /// How many.
        rows: usize,
        /// Are there more?
        more: bool,
    },
}

impl Resealed {
    /// How many rows were written.
    pub fn rows(&self) -> usize {
        match self {
            Self::Nothing | Self::Awaits(_) => 0,
            Self::Seals(_) => 1,
            Self::Rows { rows, .. } => *rows,
        }
    }
}

/// How far a rotation is, as anybody sees it who has the database and no key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealedWith {
    /// The key that seals; none where the database was never opened with one.
    pub sealing: Option<MasterKeyId>,
    /// How many values are sealed with each key.
    pub values: Vec<(MasterKeyId, u64)>,
    /// The nodes that may be alive, by name, and the keys that they know.
    pub nodes: Vec<(String, Vec<MasterKeyId>)>,
}

impl SealedWith {
    /// The keys without which something cannot be opened.
    pub fn needed(&self) -> BTreeSet<MasterKeyId> {
        let with_values = self.values.iter().map(|(id, _)| *id);
        with_values.chain(self.sealing).collect()
    }

    /// How many values are sealed with `id`.
    pub fn count(&self, id: MasterKeyId) -> u64 {
        let found = self.values.iter().find(|(key, _)| *key == id);
        found.map_or(0, |(_, count)| *count)
    }

    /// How many values are sealed at all.
    pub fn total(&self) -> u64 {
        self.values.iter().map(|(_, count)| count).sum()
    }

    /// The nodes that do not know `id`.
    pub fn unaware_of(&self, id: MasterKeyId) -> Vec<&str> {
        let unaware = self.nodes.iter().filter(|(_, keys)| !keys.contains(&id));
        unaware.map(|(name, _)| name.as_str()).collect()
    }
}

/// How far a rotation is, asked beside a server that may be running.
pub async fn sealed_with(database: &Database) -> Result<SealedWith> {
    match database {
        Database::File(path) => sqlite::sealed_with(path),
        Database::Postgres(address) => postgres::sealed_with(address).await,
    }
}

/// Whether another process has the database for itself: on PostgreSQL nobody ever has.
pub fn is_held(database: &Database) -> bool {
    match database {
        Database::File(path) => sqlite::is_held(path),
        Database::Postgres(_) => false,
    }
}

impl Store {
    /// Takes one step towards a database that is sealed with the first of the master keys alone.
    pub async fn reseal(&self) -> Result<Resealed> {
        let Some(wanted) = self.master().ids().first().copied() else {
            return Ok(Resealed::Nothing);
        };
        if !self.ask(move |tx| Box::pin(is_due(tx, wanted))).await? {
            return Ok(Resealed::Nothing);
        }
        let sealer = self.sealer();
        let by = By {
            actor: Actor::SERVER,
            at: self.clock().now(),
            audit: AuditId(self.next_id()),
        };
        self.change(move |tx| Box::pin(async move { advance(tx, &sealer, wanted, &by).await }))
            .await
    }

    /// Knows these master keys from now on, and no others. Where one that is needed is not among them, that is an error,
    /// and all are known: those from before and these.
    pub async fn use_master_keys(&self, keys: MasterKeys) -> Result<()> {
        let master = self.master();
        master.learn(&keys);
        let (epoch, known) = (self.epoch(), keys.clone());
        self.change(move |tx| {
            Box::pin(async move {
                lock(tx).await?;
                refuse_missing(tx, &known).await?;
                tell(tx, epoch, &known).await
            })
        })
        .await?;
        master.become_like(&keys);
        Ok(())
    }
}

/// The key that seals, as of this transaction.
pub(crate) async fn sealing(tx: &mut Tx<'_>) -> Result<MasterKeyId> {
    let sealed = check_value(tx).await?;
    MasterKeyId::of_sealed(&sealed.unwrap_or_default()).ok_or_else(unreadable_check)
}

/// The check value, if the database was ever opened with a master key.
pub(crate) async fn check_value(tx: &mut Tx<'_>) -> Result<Option<Vec<u8>>> {
    tx.row(
        "SELECT value FROM meta WHERE name = ?1",
        values![CHECK.0],
        |row| row.bytes(0),
    )
    .await
}

/// Checks that `master` has every key that is needed; seals the check value where this is the first start. Until this
/// transaction ends no other key begins to seal.
pub(crate) async fn check(tx: &mut Tx<'_>, master: &MasterKeys, chance: &dyn Chance) -> Result<()> {
    if let (None, Some(&first)) = (check_value(tx).await?, master.ids().first()) {
        let sealed = master.seal(first, CHECK.0, CHECK.1, chance)?;
        // Of several first starts at once one seals, and the others must have the same key.
        tx.execute(
            "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            values![CHECK.0, &sealed[..]],
        )
        .await?;
    }
    let sealed = lock(tx).await?;
    refuse_missing(tx, master).await?;
    master.open(CHECK.0, &sealed).map(drop)
}

/// Tells the other nodes which keys the node `epoch` knows.
pub(crate) async fn tell(tx: &mut Tx<'_>, epoch: i64, master: &MasterKeys) -> Result<()> {
    let ids: Vec<String> = master.ids().iter().map(|id| id.number().to_string()).collect();
    tx.execute(
        "UPDATE nodes SET master_keys = ?2 WHERE epoch = ?1",
        values![epoch, &*ids.join(",")],
    )
    .await?;
    Ok(())
}

/// How far a rotation is.
pub(crate) async fn read(tx: &mut Tx<'_>) -> Result<SealedWith> {
    let sealed = check_value(tx).await?;
    let values = tx
        .rows(COUNTS, values![], |row| {
            let count = u64::try_from(row.int(1)?).unwrap_or(0);
            Ok((MasterKeyId::of_number(row.int(0)?), count))
        })
        .await?;
    Ok(SealedWith {
        sealing: sealed.as_deref().and_then(MasterKeyId::of_sealed),
        values,
        nodes: nodes(tx).await?,
    })
}

/// The check value. Until this transaction ends no other key begins to seal, and no other slice is written.
async fn lock(tx: &mut Tx<'_>) -> Result<Vec<u8>> {
    tx.row(
        "UPDATE meta SET value = value WHERE name = ?1 RETURNING value",
        values![CHECK.0],
        |row| row.bytes(0),
    )
    .await?
    .ok_or_else(unreadable_check)
}

fn unreadable_check() -> StoreError {
    StoreError::Unreadable(format!("meta has no {}", CHECK.0))
}

async fn refuse_missing(tx: &mut Tx<'_>, master: &MasterKeys) -> Result<()> {
    let known = master.ids();
    let mut needed = BTreeSet::from([sealing(tx).await?]);
    for question in KEYS_OF_ROWS {
        let ids = tx.rows(question, values![], |row| row.int(0)).await?;
        needed.extend(ids.into_iter().map(MasterKeyId::of_number));
    }
    needed.retain(|id| !known.contains(id));
    if needed.is_empty() {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!(
        "the master key does not fit this database: what is sealed in it needs {}, and there is {}; put the missing key \
         back (by default into the file master.key in the data folder, behind a comma)",
        words(&needed.into_iter().collect::<Vec<_>>()),
        words(&known),
    )))
}

fn words(ids: &[MasterKeyId]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    format!("key {}", ids.join(" and key "))
}

async fn nodes(tx: &mut Tx<'_>) -> Result<Vec<(String, Vec<MasterKeyId>)>> {
    let question = match tx {
        Tx::Sqlite(_) => NODES,
        Tx::Postgres(_) => NODES_ALIVE,
    };
    tx.rows(question, values![], |row| {
        let ids = row.text(1)?;
        let ids = ids.split(',').filter_map(|id| id.parse().ok());
        Ok((row.text(0)?, ids.map(MasterKeyId::of_number).collect()))
    })
    .await
}

/// Is there anything to do until all is sealed with `wanted`?
async fn is_due(tx: &mut Tx<'_>, wanted: MasterKeyId) -> Result<bool> {
    if sealing(tx).await? != wanted {
        return Ok(true);
    }
    any_other(tx, wanted).await
}

async fn any_other(tx: &mut Tx<'_>, wanted: MasterKeyId) -> Result<bool> {
    for table in &TABLES {
        let one = tx
            .row(table.others, values![wanted.number(), 1_u32], |row| row.int(0))
            .await?;
        if one.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn advance(tx: &mut Tx<'_>, sealer: &Sealer, wanted: MasterKeyId, by: &By) -> Result<Resealed> {
    if sealing(tx).await? != wanted {
        let unaware = unaware_of(tx, wanted).await?;
        if !unaware.is_empty() {
            return Ok(Resealed::Awaits(unaware));
        }
    }
    // Changes and steps are one after the other: none is sealing anything at this moment, and none is at the same rows.
    tick(tx).await?;
    let with = MasterKeyId::of_sealed(&lock(tx).await?).ok_or_else(unreadable_check)?;
    if with != wanted {
        return begin(tx, sealer, wanted, by).await;
    }
    let mut rows = 0;
    for table in &TABLES {
        let room = RESEALED_ROWS_MAX.saturating_sub(u32::try_from(rows).unwrap_or(u32::MAX));
        rows += slice(tx, sealer, table, (with, room)).await?;
    }
    Ok(Resealed::Rows {
        rows,
        more: any_other(tx, with).await?,
    })
}

/// Lets `wanted` seal from this commit on, where every node knows it.
async fn begin(tx: &mut Tx<'_>, sealer: &Sealer, wanted: MasterKeyId, by: &By) -> Result<Resealed> {
    // Asked again: from here on no node comes.
    let unaware = unaware_of(tx, wanted).await?;
    if !unaware.is_empty() {
        return Ok(Resealed::Awaits(unaware));
    }
    let sealed = sealer.master.seal(wanted, CHECK.0, CHECK.1, &*sealer.chance)?;
    tx.execute_one(
        "UPDATE meta SET value = ?2 WHERE name = ?1",
        values![CHECK.0, &sealed[..]],
    )
    .await?;
    let audit = Audit {
        action: "master_key.rotated",
        object: &wanted.to_string(),
        project: None,
        tenant: None,
        detail: None,
    };
    record(tx, by, audit).await?;
    Ok(Resealed::Seals(wanted))
}

/// The nodes that do not know `wanted`.
async fn unaware_of(tx: &mut Tx<'_>, wanted: MasterKeyId) -> Result<Vec<String>> {
    let nodes = nodes(tx).await?;
    let unaware = nodes.into_iter().filter(|(_, keys)| !keys.contains(&wanted));
    Ok(unaware.map(|(name, _)| name).collect())
}

/// Seals at most `room` rows of a table anew with the key `with`.
async fn slice(
    tx: &mut Tx<'_>,
    sealer: &Sealer,
    table: &Table,
    (with, room): (MasterKeyId, u32),
) -> Result<usize> {
    let found = tx
        .rows(table.others, values![with.number(), room], |row| {
            Ok((row.int(0)?, row.bytes(1)?))
        })
        .await?;
    let mut rows = 0;
    for (n, sealed) in found {
        let row = (table.identity)(n);
        let plain = sealer.master.open(&row, &sealed)?;
        let anew = sealer.master.seal(with, &row, &plain, &*sealer.chance)?;
        let before = MasterKeyId::of_sealed(&sealed).map_or(0, MasterKeyId::number);
        rows += tx
            .execute(table.write, values![n, with.number(), &anew[..], before])
            .await?;
    }
    Ok(rows)
}
