//! What a start finds out and does on any database, before anybody may ask for anything.

use crate::error::{Result, StoreError};
use crate::ordering;
use crate::seal::MasterKeys;
use crate::tx::{Tx, values};
use stentor_domain::{Chance, Timestamp};

/// What the check value in the database says, sealed: a start with the wrong master key cannot open it.
const MASTER_CHECK: (&str, &[u8]) = ("master-key-check", b"stentor");

/// The greatest keys of the tables whose keys are drawn from one sequence.
const GREATEST_KEYS: [&str; 13] = [
    "SELECT coalesce(max(epoch), 0) FROM nodes",
    "SELECT coalesce(max(n), 0) FROM projects",
    "SELECT coalesce(max(n), 0) FROM api_keys",
    "SELECT coalesce(max(n), 0) FROM tenants",
    "SELECT coalesce(max(n), 0) FROM event_types",
    "SELECT coalesce(max(n), 0) FROM endpoints",
    "SELECT coalesce(max(n), 0) FROM secrets",
    "SELECT coalesce(max(n), 0) FROM header_sets",
    "SELECT coalesce(max(n), 0) FROM events",
    "SELECT coalesce(max(n), 0) FROM work",
    "SELECT coalesce(max(n), 0) FROM deliveries",
    "SELECT coalesce(max(n), 0) FROM audit",
    "SELECT coalesce(max(n), 0) FROM jobs",
];

/// Checks that `master` opens what the database was sealed with; seals the check value where this is the first start.
pub(crate) async fn check_master_key(
    tx: &mut Tx<'_>,
    master: &MasterKeys,
    chance: &dyn Chance,
) -> Result<()> {
    let (name, content) = MASTER_CHECK;
    if sealed_check(tx).await?.is_none() {
        let sealed = master.seal(name, content, chance)?;
        // Of several first starts at once one seals, and the others must have the same key.
        tx.execute(
            "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            values![name, &sealed[..]],
        )
        .await?;
    }
    let sealed = sealed_check(tx).await?.unwrap_or_default();
    master.open(name, &sealed).map(drop).map_err(|_| {
        StoreError::Unavailable(
            "the master key does not fit this database; configure the key that it was made with \
             (by default the file master.key in the data folder)"
                .into(),
        )
    })
}

/// The check value, if the database was ever opened with a master key.
pub(crate) async fn sealed_check(tx: &mut Tx<'_>) -> Result<Option<Vec<u8>>> {
    tx.row(
        "SELECT value FROM meta WHERE name = ?1",
        values![MASTER_CHECK.0],
        |row| row.bytes(0),
    )
    .await
}

/// The greatest key in use, so that ids go on from there even if the clock has been set back.
pub(crate) async fn greatest_key(tx: &mut Tx<'_>) -> Result<i64> {
    let mut greatest = 0;
    for question in GREATEST_KEYS {
        let key = tx.row(question, values![], |row| row.int(0)).await?;
        greatest = greatest.max(key.unwrap_or(0));
    }
    Ok(greatest)
}

/// Makes the node `epoch` the owner of every shard: what lives that are over had claimed waits again, at once.
pub(crate) async fn take_over(tx: &mut Tx<'_>, epoch: i64, now: Timestamp) -> Result<()> {
    end_abandoned(tx, true, now).await?;
    give_back(tx).await?;
    tx.execute(
        "UPDATE shards SET owner_epoch = ?1, term = term + 1",
        values![epoch],
    )
    .await?;
    Ok(())
}

/// What lives that are over, those that are no nodes any more, had claimed waits again.
pub(crate) async fn bury(tx: &mut Tx<'_>, now: Timestamp) -> Result<()> {
    end_abandoned(tx, false, now).await?;
    give_back(tx).await
}

/// What somebody wanted to end while it was in flight ends here: its attempt's record did not survive to decide. So does a
/// test, for which nobody waits any more. `waiting` are those that nobody has claimed too: at a start, nobody ever will.
async fn end_abandoned(tx: &mut Tx<'_>, waiting: bool, now: Timestamp) -> Result<()> {
    let waiting = i64::from(waiting);
    tx.execute(
        "INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, reason, cause, attempts, finished_at)
         SELECT n, tag, event, endpoint, tenant, CASE cancel_requested WHEN 1 THEN 'cancelled' ELSE 'exhausted' END,
                CASE cancel_requested WHEN 1 THEN 'requested' ELSE 'test_failed' END, cause, attempt - 1, ?1
         FROM work WHERE (owner NOT IN (SELECT epoch FROM nodes) OR (owner IS NULL AND ?2 = 1))
                     AND (cancel_requested = 1 OR cause = 'test')",
        values![now, waiting],
    )
    .await?;
    // Only those that are kept above: on PostgreSQL somebody may want to end another one between the two statements.
    tx.execute(
        "DELETE FROM work WHERE (owner NOT IN (SELECT epoch FROM nodes) OR (owner IS NULL AND ?1 = 1))
                            AND (cancel_requested = 1 OR cause = 'test')
                            AND EXISTS (SELECT 1 FROM deliveries WHERE deliveries.n = work.n)",
        values![waiting],
    )
    .await?;
    Ok(())
}

async fn give_back(tx: &mut Tx<'_>) -> Result<()> {
    tx.execute(
        concat!(
            "UPDATE work SET owner = NULL, seq = ",
            ordering::place!(),
            " WHERE owner NOT IN (SELECT epoch FROM nodes)"
        ),
        values![],
    )
    .await?;
    // What was in memory when its endpoint was deleted waits again: the endpoint is swept once more.
    tx.execute(
        "UPDATE endpoints SET swept_at = NULL WHERE swept_at IS NOT NULL AND EXISTS
           (SELECT 1 FROM work WHERE shard = endpoints.shard AND endpoint = endpoints.n AND owner IS NULL)",
        values![],
    )
    .await?;
    Ok(())
}
