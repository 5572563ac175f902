//! This process as a node among others: its row, its beats, and who owns the shards.
//!
//! One node owns every shard: it claims, sweeps and continues fan-outs. Another one that starts beside it serves (accepts,
//! and sends what it has room for), and waits for its turn. A node's states:
//! 1. **registered**: it has a row in `nodes`, with a number of its own for the keys it makes, and beats. Killed: the row
//!    stays, and its beats end.
//! 2. **waiting**: the row of the shards' owner is still there. If that owner's beat stands still for a whole lease, while
//!    this node's own beats went through all that time, it is dead and this node takes over (a database that was paused stops
//!    all beats alike, and causes no theft). If the owner still beats after [`PATIENCE`], this process gives up and ends.
//! 3. **owner**: it has taken over, which gives back what the dead owned and removes the dead one's row, in one transaction. An
//!    owner that stopped in good order has removed its row itself, so that its successor need not wait. From then on it buries
//!    those that die beside it, by the same sign: what they had accepted waits for the owner.
//! 4. **evicted**: its row is gone, since another one took over while this one could not beat. What it writes from then on is
//!    refused by the statements themselves, which ask for the row; the process ends.

use super::lease::{LEASE, since_boot};
use super::session::{Session, within};
use super::{CONTROL_SETTINGS, Core};
use crate::error::{Result, StoreError};
use crate::start;
use crate::tx::{Tx, values};
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::id::Ids;
use stentor_domain::{Chance, Clock};

/// How often a node beats.
const BEAT_EVERY: Duration = Duration::from_millis(500);
/// How often a node asks whether somebody else has changed the configuration.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// How long a node waits for the owner before it: two leases.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long one beat may take.
const BEAT_MAX: Duration = Duration::from_secs(2);

/// The database's clock, in microseconds: the only one that all nodes share.
const REGISTER: &str = "INSERT INTO nodes (epoch, number, name, started_at, beat_at)
     SELECT ?1, ?2, ?3, t, t FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS t) AS now";
const BEAT: &str =
    "UPDATE nodes SET beat_at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint WHERE epoch = ?1";
/// The owner of the shards, where it has a row.
const OWNER: &str = "SELECT n.epoch, n.beat_at, n.name FROM shards s JOIN nodes n ON n.epoch = s.owner_epoch WHERE s.shard = 0";

/// Who this process is among the nodes.
pub(crate) struct Registered {
    pub(crate) epoch: i64,
    pub(crate) ids: Ids,
    /// Whether it owns the shards already: nobody did.
    pub(crate) owns: bool,
    /// When the first beat was sent, since the machine started.
    pub(crate) beat_sent: Duration,
}

/// Every other node.
const OTHERS: &str = "SELECT epoch, beat_at, name FROM nodes WHERE epoch <> ?1";

/// Another node, as it was seen last.
struct Other {
    epoch: i64,
    beat_at: i64,
    /// Since when this beat is the last one, while this node's own beats went through.
    since: Duration,
    name: String,
}

/// Makes this process a node; where nobody owns the shards and `owns` is wished for, it takes over at once.
pub(crate) async fn register(
    session: &mut Session,
    name: &str,
    owns: bool,
    clock: &dyn Clock,
    chance: &dyn Chance,
) -> Result<Registered> {
    session.begin().await?;
    let registered = register_within(session, name, owns, clock, chance).await;
    match &registered {
        Ok(_) => session.commit().await?,
        Err(_) => session.roll_back().await?,
    }
    registered
}

async fn register_within(
    session: &mut Session,
    name: &str,
    owns: bool,
    clock: &dyn Clock,
    chance: &dyn Chance,
) -> Result<Registered> {
    let beat_sent = since_boot();
    let mut tx = Tx::Postgres(session);
    // One at a time: numbers are drawn, and shards change hands, behind this lock.
    lock_shards(&mut tx).await?;
    let taken = tx
        .rows("SELECT number FROM nodes", values![], |row| row.int(0))
        .await?;
    let number = (0..=u8::MAX).find(|&number| !taken.contains(&i64::from(number)));
    let number = number.ok_or_else(|| {
        StoreError::Unavailable(
            "256 nodes are registered in this database, which is as many as there can be".into(),
        )
    })?;
    let ids = Ids::new(number, start::greatest_key(&mut tx).await?);
    let epoch = ids.next(clock.now(), chance).n;
    tx.execute_one(REGISTER, values![epoch, i64::from(number), name])
        .await?;
    let owns = owns && owner(&mut tx).await?.is_none();
    if owns {
        start::take_over(&mut tx, epoch, clock.now()).await?;
    }
    Ok(Registered {
        epoch,
        ids,
        owns,
        beat_sent,
    })
}

async fn lock_shards(tx: &mut Tx<'_>) -> Result<()> {
    let sql = "SELECT shard FROM shards WHERE shard = 0 FOR UPDATE";
    tx.row(sql, values![], |row| row.int(0)).await?;
    Ok(())
}

async fn owner(tx: &mut Tx<'_>) -> Result<Option<(i64, i64, String)>> {
    tx.row(OWNER, values![], |row| {
        Ok((row.int(0)?, row.int(1)?, row.text(2)?))
    })
    .await
}

/// Beats, follows the configuration, and takes over when it is time to, until the store is closed.
pub(crate) async fn run(core: Arc<Core>, session: Session, wants_shards: bool) {
    let mut node = Node {
        session: Some(session),
        predecessor: None,
        others: Vec::new(),
        started: since_boot(),
        wants_shards,
        fails: false,
        core,
    };
    let mut ticker = Ticker::default();
    while !node.core.is_closed() {
        let Err(error) = within(BEAT_MAX, node.tick(ticker.beats())).await else {
            node.recovered();
            ticker.rest(&node.core).await;
            continue;
        };
        // The connection may have half an answer in it.
        node.lost(&error);
        ticker.rest(&node.core).await;
    }
    node.leave().await;
}

/// Says when a round is also a beat.
#[derive(Default)]
struct Ticker {
    beat_due: Duration,
}

impl Ticker {
    fn beats(&mut self) -> bool {
        let now = since_boot();
        if now < self.beat_due {
            return false;
        }
        self.beat_due = now + BEAT_EVERY;
        true
    }

    async fn rest(&self, core: &Core) {
        drop(tokio::time::timeout(POLL_EVERY, core.closing()).await);
    }
}

struct Node {
    core: Arc<Core>,
    session: Option<Session>,
    /// The owner before this node, while it waits.
    predecessor: Option<Other>,
    /// Those beside it, once it is the owner.
    others: Vec<Other>,
    started: Duration,
    wants_shards: bool,
    fails: bool,
}

impl Node {
    /// One round: a beat where it is time for one, and a look at the configuration's clock.
    async fn tick(&mut self, beats: bool) -> Result<()> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.core.address, self.core.name_for("node"), CONTROL_SETTINGS).await?,
        };
        if beats {
            self.beat(&mut session).await?;
        }
        let seq = Tx::Postgres(&mut session)
            .row("SELECT seq FROM config_clock", values![], |row| row.int(0))
            .await?;
        if seq.is_some_and(|seq| seq > self.core.outside.config.applied()) {
            self.core.refresh(&mut session).await?;
        }
        self.session = Some(session);
        Ok(())
    }

    async fn beat(&mut self, session: &mut Session) -> Result<()> {
        let sent = since_boot();
        let epoch = self.core.epoch;
        let beaten = Tx::Postgres(session).execute(BEAT, values![epoch]).await?;
        if beaten == 0 {
            self.core.evict(
                "another node took this one's place while it could not reach the database; it ends, so that a restart begins anew"
                    .into(),
            );
            return Ok(());
        }
        self.core.lease.renew(sent);
        if self.core.owns_shards() {
            self.bury_the_dead(session).await?;
        } else if self.wants_shards {
            self.look_at_owner(session).await?;
        }
        Ok(())
    }

    /// Gives back what nodes had claimed that have died beside this one.
    async fn bury_the_dead(&mut self, session: &mut Session) -> Result<()> {
        let now = since_boot();
        let before = std::mem::take(&mut self.others);
        let since = |epoch: i64, beat_at: i64| {
            let same = before
                .iter()
                .find(|other| (other.epoch, other.beat_at) == (epoch, beat_at));
            same.map_or(now, |other| other.since)
        };
        let others = Tx::Postgres(session)
            .rows(OTHERS, values![self.core.epoch], |row| {
                let (epoch, beat_at) = (row.int(0)?, row.int(1)?);
                Ok(Other {
                    epoch,
                    beat_at,
                    since: since(epoch, beat_at),
                    name: row.text(2)?,
                })
            })
            .await?;
        let (dead, alive): (Vec<_>, Vec<_>) = others
            .into_iter()
            .partition(|other| now.saturating_sub(other.since) > LEASE);
        self.others = alive;
        for dead in &dead {
            self.bury(session, dead).await?;
        }
        Ok(())
    }

    async fn bury(&self, session: &mut Session, dead: &Other) -> Result<()> {
        session.begin().await?;
        let mut tx = Tx::Postgres(session);
        let sql = "DELETE FROM nodes WHERE epoch = ?1 AND beat_at = ?2";
        if tx.execute(sql, values![dead.epoch, dead.beat_at]).await? == 0 {
            return session.roll_back().await;
        }
        start::bury(&mut tx, self.core.clock.now()).await?;
        session.commit().await?;
        tracing::info!(node = %dead.name, "a node has ended without a word; what it had accepted is sent from here");
        Ok(())
    }

    async fn look_at_owner(&mut self, session: &mut Session) -> Result<()> {
        let Some((epoch, beat_at, name)) = owner(&mut Tx::Postgres(session)).await? else {
            return self.take_over(session, None).await;
        };
        let now = since_boot();
        let before = self.predecessor.take();
        let since = before
            .filter(|before| (before.epoch, before.beat_at) == (epoch, beat_at))
            .map_or(now, |before| before.since);
        let predecessor = Other {
            epoch,
            beat_at,
            since,
            name,
        };
        if now.saturating_sub(since) > LEASE {
            self.take_over(session, Some(predecessor)).await
        } else {
            if now.saturating_sub(self.started) > PATIENCE {
                self.core.evict(format!(
                    "the database is in use by node {}, which is alive; stop it first, or choose another database",
                    predecessor.name
                ));
            }
            self.predecessor = Some(predecessor);
            Ok(())
        }
    }

    /// Becomes the owner, where the dead one is still as it was seen.
    async fn take_over(&mut self, session: &mut Session, dead: Option<Other>) -> Result<()> {
        session.begin().await?;
        let mut tx = Tx::Postgres(session);
        lock_shards(&mut tx).await?;
        let now = owner(&mut tx).await?.map(|(epoch, beat_at, _)| (epoch, beat_at));
        if now != dead.as_ref().map(|dead| (dead.epoch, dead.beat_at)) {
            return session.roll_back().await;
        }
        if let Some(dead) = &dead {
            // Whoever writes as that node is done, or finds no row any more.
            tx.execute("DELETE FROM nodes WHERE epoch = ?1", values![dead.epoch])
                .await?;
        }
        let clock = Arc::clone(&self.core.clock);
        start::take_over(&mut tx, self.core.epoch, clock.now()).await?;
        let health = start::read_health(&mut tx).await?;
        session.commit().await?;
        self.core.outside.set_health(health);
        self.core.own_shards();
        if let Some(dead) = dead {
            tracing::info!(node = %dead.name, "took over from a node that has ended without a word");
        }
        Ok(())
    }

    fn lost(&mut self, error: &StoreError) {
        // Its owner's beats may have been held up like this node's own.
        self.predecessor = None;
        self.others.clear();
        self.session = None;
        if !self.fails {
            tracing::error!(%error, "this node cannot beat: the database cannot be reached");
        }
        self.fails = true;
    }

    fn recovered(&mut self) {
        if self.fails {
            tracing::info!("this node beats again");
        }
        self.fails = false;
    }

    /// Removes this node's row: its successor need not wait. What it still has as one beside the owner goes to the owner.
    async fn leave(mut self) {
        let Some(mut session) = self.session.take() else {
            return;
        };
        let leaving = async {
            session.begin().await?;
            let mut tx = Tx::Postgres(&mut session);
            tx.execute("DELETE FROM nodes WHERE epoch = ?1", values![self.core.epoch])
                .await?;
            if !self.core.owns_shards() {
                start::bury(&mut tx, self.core.clock.now()).await?;
            }
            session.commit().await
        };
        if let Err(error) = within(BEAT_MAX, leaving).await {
            tracing::warn!(%error, "this node could not say goodbye; the next one waits for its lease to end");
        }
    }
}
