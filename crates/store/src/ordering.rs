//! The order of ordered endpoints: each of their deliveries has a place in it, `work.seq`.
//!
//! The place is drawn in the transaction that accepts the delivery, or that takes it back to `work`. The row of `orders` that it
//! is drawn from is locked until that commits, so that the places are in the order of the commits, which keys made
//! beforehand are not. What was accepted before the endpoint was made ordered has its key as its place: places that
//! are drawn begin above every key there is. What is in a node's memory at that moment gets it when it comes back.
//!
//! So nothing of an ordered endpoint waits without a place, and a claim takes the one with the least.

use crate::error::Result;
use crate::tx::{Tx, values};
use stentor_domain::limits::UNORDERED_MAX;
use stentor_domain::name::Invalid;

/// The place of a row of `work` that waits from now on: its own, or its key where its endpoint was made ordered while it was in
/// memory.
macro_rules! place {
    () => {
        "coalesce(work.seq, (SELECT work.n FROM orders WHERE orders.endpoint = work.endpoint))"
    };
}
pub(crate) use place;

/// Gives their places to deliveries that wait for an endpoint without one, at most so many.
pub(crate) const PLACE_SOME: &str = "UPDATE work SET seq = n WHERE owner IS NULL AND seq IS NULL AND n IN
       (SELECT n FROM work WHERE shard = ?1 AND endpoint = ?2 AND owner IS NULL AND seq IS NULL LIMIT ?3)";

/// The next places at an endpoint, so many; gives the first of them, `None` where the endpoint is not ordered.
pub(crate) async fn draw(tx: &mut Tx<'_>, endpoint: i64, places: usize) -> Result<Option<i64>> {
    let places = i64::try_from(places).unwrap_or(i64::MAX);
    tx.row(
        "UPDATE orders SET next_seq = next_seq + ?2 WHERE endpoint = ?1 RETURNING next_seq - ?2",
        values![endpoint, places],
        |row| row.int(0),
    )
    .await
}

/// Whether an endpoint is ordered.
pub(crate) async fn is_ordered(tx: &mut Tx<'_>, endpoint: i64) -> Result<bool> {
    let sql = "SELECT next_seq FROM orders WHERE endpoint = ?1";
    Ok(tx.row(sql, values![endpoint], |row| row.int(0)).await?.is_some())
}

/// Begins the order of an endpoint. Who publishes to its tenant must be held off until this is committed.
pub(crate) async fn begin(tx: &mut Tx<'_>, endpoint: i64) -> Result<()> {
    // Above the places of an earlier order, too.
    tx.execute_one(
        "INSERT INTO orders (endpoint, next_seq)
         SELECT ?1, coalesce(max(n), 0) + 1
         FROM (SELECT max(n) AS n FROM work
               UNION ALL SELECT max(seq) FROM work WHERE endpoint = ?1 AND seq IS NOT NULL) AS known",
        values![endpoint],
    )
    .await
}

/// Gives a place to all that waits for an endpoint whose order begins, unless that is too much for one change.
pub(crate) async fn place_backlog(
    tx: &mut Tx<'_>,
    shard: u16,
    endpoint: i64,
) -> Result<std::result::Result<(), Invalid>> {
    let shard = i64::from(shard);
    let backlog = tx
        .row(
            "SELECT count(*) FROM (SELECT n FROM work WHERE shard = ?1 AND endpoint = ?2 AND owner IS NULL AND seq IS NULL
                                   LIMIT ?3) AS waiting",
            values![shard, endpoint, UNORDERED_MAX + 1],
            |row| row.int(0),
        )
        .await?;
    if backlog.unwrap_or(0) > i64::from(UNORDERED_MAX) {
        let rule = format!(
            "cannot be switched on while more than {UNORDERED_MAX} of its deliveries wait; let them be delivered, or cancel \
             them, first"
        );
        return Ok(Err(Invalid::new("ordered", rule)));
    }
    tx.execute(PLACE_SOME, values![shard, endpoint, UNORDERED_MAX])
        .await?;
    Ok(Ok(()))
}

/// Ends the order of an endpoint. Places that were given stay, and mean nothing until it is ordered again.
pub(crate) async fn end(tx: &mut Tx<'_>, endpoint: i64) -> Result<()> {
    tx.execute("DELETE FROM orders WHERE endpoint = ?1", values![endpoint])
        .await?;
    Ok(())
}
