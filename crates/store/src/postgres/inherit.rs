//! What dead nodes leave behind, and how it comes to this one.
//!
//! It happens on a connection of its own beside the beats: all that waits is gone through, which takes longer than a beat may
//! where there are millions. Done again where it fails, since the dead stay as they are.

use super::node::Seen;
use super::session::Session;
use super::{Core, START_SETTINGS};
use crate::error::Result;
use crate::health;
use crate::start;
use crate::tx::{Tx, values};

/// The owner of the shards, where it has a row.
const OWNER: &str = "SELECT n.epoch, n.beat_at, n.name FROM shards s JOIN nodes n ON n.epoch = s.owner_epoch WHERE s.shard = 0";

/// Becomes the owner, where `dead` is still the owner as it was seen, or nobody is.
pub(super) async fn take_over(core: &Core, dead: Option<&Seen>) -> Result<()> {
    let mut session = open(core).await?;
    if let Some(dead) = dead {
        end_sessions(&session, dead).await;
    }
    session.begin().await?;
    let mut tx = Tx::Postgres(&mut session);
    lock_shards(&mut tx).await?;
    if owner(&mut tx).await?.as_ref() != dead {
        return session.roll_back().await;
    }
    if let Some(dead) = dead {
        // Whoever writes as that node is done, or finds no row any more.
        tx.execute("DELETE FROM nodes WHERE epoch = ?1", values![dead.epoch])
            .await?;
    }
    start::take_over(&mut tx, core.epoch, core.clock.now()).await?;
    session.commit().await?;
    own(core, &mut session).await?;
    if let Some(dead) = dead {
        tracing::info!(node = %dead.name, "took over from a node that has ended without a word");
    }
    Ok(())
}

/// Works as the owner, which the database says that this node is.
pub(super) async fn own(core: &Core, session: &mut Session) -> Result<()> {
    let health = health::all(&mut Tx::Postgres(session)).await?;
    core.outside.healths.replace(health);
    core.own_shards();
    Ok(())
}

/// Gives back what a node had claimed that has died beside this one, where it is still as it was seen.
pub(super) async fn bury(core: &Core, dead: &Seen) -> Result<()> {
    let mut session = open(core).await?;
    end_sessions(&session, dead).await;
    session.begin().await?;
    let mut tx = Tx::Postgres(&mut session);
    let sql = "DELETE FROM nodes WHERE epoch = ?1 AND beat_at = ?2";
    if tx.execute(sql, values![dead.epoch, dead.beat_at]).await? == 0 {
        return session.roll_back().await;
    }
    start::bury(&mut tx, core.clock.now()).await?;
    session.commit().await?;
    tracing::info!(node = %dead.name, "a node has ended without a word; what it had accepted is sent from here");
    Ok(())
}

async fn open(core: &Core) -> Result<Session> {
    Session::open(&core.address, core.name_for("heir"), START_SETTINGS).await
}

/// The server may not know yet that nobody is at the other end of them (a machine that vanished or stands still), and a
/// transaction that was left open holds rows.
async fn end_sessions(session: &Session, dead: &Seen) {
    if let Err(error) = session.end_others(&format!("stentor {:x} %", dead.epoch)).await {
        tracing::warn!(%error, node = %dead.name, "the connections of a dead node could not be ended");
    }
}

/// Shards change hands, and the numbers of nodes are drawn, one at a time behind this lock.
pub(super) async fn lock_shards(tx: &mut Tx<'_>) -> Result<()> {
    let sql = "SELECT shard FROM shards WHERE shard = 0 FOR UPDATE";
    tx.row(sql, values![], |row| row.int(0)).await?;
    Ok(())
}

pub(super) async fn owner(tx: &mut Tx<'_>) -> Result<Option<Seen>> {
    tx.row(OWNER, values![], Seen::read).await
}
