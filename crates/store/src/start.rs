//! What a start finds out and does on any database, before anybody may ask for anything.

use crate::error::Result;
use crate::ordering;
use crate::tally;
use crate::tx::{Tx, values};
use stentor_domain::Timestamp;

/// The greatest keys of the tables whose keys are drawn from one sequence.
const GREATEST_KEYS: [&str; 14] = [
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
    // What is purged may have had the greatest key.
    "SELECT CASE WHEN payloads_below > deliveries_below THEN payloads_below ELSE deliveries_below END FROM retention WHERE one = 1",
];

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
    let ended = tx.rows(
        "INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, reason, cause, attempts, finished_at)
         SELECT n, tag, event, endpoint, tenant, CASE cancel_requested WHEN 0 THEN 'exhausted' ELSE 'cancelled' END,
                CASE cancel_requested WHEN 0 THEN 'test_failed' WHEN 2 THEN 'payload_expired' ELSE 'requested' END, cause, attempt - 1, ?1
         FROM work WHERE (owner NOT IN (SELECT epoch FROM nodes) OR (owner IS NULL AND ?2 = 1))
                     AND (cancel_requested > 0 OR cause = 'test')
         RETURNING endpoint, n, CASE WHEN cause = 'test' THEN 1 ELSE 0 END",
        values![now, waiting],
        tally::read_ended,
    )
    .await?;
    tally::keep_cancelled(tx, &ended, now).await?;
    // Only those that are kept above: on PostgreSQL somebody may want to end another one between the two statements.
    tx.execute(
        "DELETE FROM work WHERE (owner NOT IN (SELECT epoch FROM nodes) OR (owner IS NULL AND ?1 = 1))
                            AND (cancel_requested > 0 OR cause = 'test')
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
