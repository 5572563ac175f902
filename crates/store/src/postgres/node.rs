//! This process as a node among others: its row, its beats, and who owns the shards.
//!
//! One node owns every shard: it claims, sweeps and continues fan-outs. Another one that starts beside it serves (accepts,
//! and sends what it has room for), and waits for its turn. A node's states:
//! 1. **registered**: it has a row in `nodes`, with a number of its own for the keys it makes, and beats. Killed: the row
//!    stays, and its beats end.
//! 2. **waiting**: the row of the shards' owner is still there. If that owner's beat stands still for a whole lease, while
//!    this node's own beats went through all that time, it is dead and this node takes over (a database that was paused stops
//!    all beats alike, and causes no theft; see `inherit`). If the owner still beats after [`PATIENCE`], this process gives up and ends.
//! 3. **owner**: it has taken over, which gives back what the dead owned and removes the dead one's row, in one transaction. An
//!    owner that stopped in good order has removed its row itself, so that its successor need not wait. From then on it buries
//!    those that die beside it, by the same sign: what they had accepted waits for the owner.
//! 4. **evicted**: its row is gone, since another one took over while this one could not beat. What it writes from then on is
//!    refused by the statements themselves, which ask for the row; the process ends.

use super::inherit::{self, lock_shards, owner};
use super::lease::{LEASE, since_boot};
use super::session::{Session, within};
use super::{CONTROL_SETTINGS, Core};
use crate::common::Seams;
use crate::error::{Result, StoreError};
use crate::master_keys;
use crate::start;
use crate::tx::{Row, Tx, values};
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::id::Ids;
use tokio::task::JoinHandle;

/// How often a node beats.
const BEAT_EVERY: Duration = Duration::from_millis(500);
/// How long a node waits for the owner before it: two leases.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long one beat may take.
const BEAT_MAX: Duration = Duration::from_secs(2);

/// The database's clock, in microseconds: the only one that all nodes share.
const REGISTER: &str = "INSERT INTO nodes (epoch, number, name, started_at, beat_at)
     SELECT ?1, ?2, ?3, t, t FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS t) AS now";
const BEAT: &str =
    "UPDATE nodes SET beat_at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint WHERE epoch = ?1";
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

/// A node, as the database shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) epoch: i64,
    pub(super) beat_at: i64,
    pub(super) name: String,
}

impl Seen {
    /// Of its columns, in this order.
    pub(super) fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            epoch: row.int(0)?,
            beat_at: row.int(1)?,
            name: row.text(2)?,
        })
    }
}

/// Another node.
struct Other {
    seen: Seen,
    /// Since when this beat is the last one, while this node's own beats went through.
    since: Duration,
}

impl Other {
    /// `seen`, given what was known `before`.
    fn after<'o>(before: impl IntoIterator<Item = &'o Self>, seen: Seen) -> Self {
        let same = before.into_iter().find(|other| other.seen == seen);
        let since = same.map_or_else(since_boot, |other| other.since);
        Self { seen, since }
    }

    /// Its beat has stood still for a whole lease.
    fn is_dead(&self) -> bool {
        since_boot().saturating_sub(self.since) > LEASE
    }
}

/// Makes this process a node; where nobody owns the shards and `owns` is wished for, it takes over at once.
pub(crate) async fn register(
    session: &mut Session,
    name: &str,
    owns: bool,
    seams: &Seams,
) -> Result<Registered> {
    session.begin().await?;
    let registered = register_within(session, name, owns, seams).await;
    match &registered {
        Ok(_) => session.commit().await?,
        Err(_) => session.roll_back().await?,
    }
    registered
}

async fn register_within(session: &mut Session, name: &str, owns: bool, seams: &Seams) -> Result<Registered> {
    let Seams {
        master,
        clock,
        chance,
    } = seams;
    let beat_sent = since_boot();
    let mut tx = Tx::Postgres(session);
    lock_shards(&mut tx).await?;
    // In the transaction that makes it a node: another key begins to seal before it, and is asked for here, or after it, and
    // sees what this node knows.
    master_keys::check(&mut tx, master, &**chance).await?;
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
    let epoch = ids.next(clock.now(), &**chance).n;
    tx.execute_one(REGISTER, values![epoch, i64::from(number), name])
        .await?;
    master_keys::tell(&mut tx, epoch, master).await?;
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

/// Beats, and takes over when it is time to, until the store is closed.
pub(crate) async fn run(core: Arc<Core>, wants_shards: bool) {
    let mut node = Node {
        session: None,
        predecessor: None,
        others: Vec::new(),
        inheriting: None,
        patient_since: since_boot(),
        wants_shards,
        fails: false,
        core,
    };
    while !node.core.is_closed() {
        match within(BEAT_MAX, node.tick()).await {
            Ok(()) => node.recovered(),
            // The connection may have half an answer in it.
            Err(error) => node.lost(&error),
        }
        node.core.rest(BEAT_EVERY).await;
    }
    node.leave().await;
}

struct Node {
    core: Arc<Core>,
    session: Option<Session>,
    /// The owner before this node, while it waits.
    predecessor: Option<Other>,
    /// Those beside it, once it is the owner.
    others: Vec<Other>,
    /// What takes over, or buries, beside the beats.
    inheriting: Option<JoinHandle<()>>,
    /// Since when it could have seen that the owner before it is alive.
    patient_since: Duration,
    wants_shards: bool,
    fails: bool,
}

impl Node {
    /// One round: a beat, and what follows from what the other nodes do.
    async fn tick(&mut self) -> Result<()> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.core.address, self.core.name_for("node"), CONTROL_SETTINGS).await?,
        };
        self.beat(&mut session).await?;
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
        if self.inheriting.as_ref().is_some_and(|task| !task.is_finished()) {
            return Ok(());
        }
        if self.core.owns_shards() {
            self.look_at_others(session).await?;
        } else if self.wants_shards {
            self.look_at_owner(session).await?;
        }
        Ok(())
    }

    /// Buries those that have died beside this node.
    async fn look_at_others(&mut self, session: &mut Session) -> Result<()> {
        let seen = Tx::Postgres(session)
            .rows(OTHERS, values![self.core.epoch], Seen::read)
            .await?;
        let others = seen.into_iter().map(|seen| Other::after(&self.others, seen));
        let (dead, alive): (Vec<_>, Vec<_>) = others.partition(Other::is_dead);
        self.others = alive;
        if !dead.is_empty() {
            let core = Arc::clone(&self.core);
            self.inherit(async move {
                for dead in &dead {
                    inherit::bury(&core, &dead.seen).await?;
                }
                Ok(())
            });
        }
        Ok(())
    }

    /// Takes over where there is no owner, or a dead one; gives up where it lives on.
    async fn look_at_owner(&mut self, session: &mut Session) -> Result<()> {
        let seen = owner(&mut Tx::Postgres(session)).await?;
        if seen.as_ref().is_some_and(|seen| seen.epoch == self.core.epoch) {
            // Its take-over was committed, but the answer was lost.
            return inherit::own(&self.core, session).await;
        }
        self.predecessor = seen.map(|seen| Other::after(&self.predecessor, seen));
        match &self.predecessor {
            Some(alive) if !alive.is_dead() => {
                if since_boot().saturating_sub(self.patient_since) > PATIENCE {
                    self.core.evict(format!(
                        "the database is in use by node {}, which is alive; stop it first, or choose another database",
                        alive.seen.name
                    ));
                }
            }
            dead => {
                let dead = dead.as_ref().map(|dead| dead.seen.clone());
                let core = Arc::clone(&self.core);
                self.inherit(async move { inherit::take_over(&core, dead.as_ref()).await });
            }
        }
        Ok(())
    }

    fn inherit(&mut self, inheriting: impl Future<Output = Result<()>> + Send + 'static) {
        self.inheriting = Some(tokio::spawn(async move {
            if let Err(error) = inheriting.await {
                tracing::error!(%error, "what a dead node has left could not be taken over; it is tried again");
            }
        }));
    }

    fn lost(&mut self, error: &StoreError) {
        // Its owner's beats may have been held up like this node's own.
        self.predecessor = None;
        self.others.clear();
        self.patient_since = since_boot();
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
        if let Some(inheriting) = self.inheriting.take() {
            inheriting.abort();
            drop(inheriting.await);
        }
        let Some(mut session) = self.session.take() else {
            return;
        };
        let leaving = async {
            session.begin().await?;
            let mut tx = Tx::Postgres(&mut session);
            tx.execute("DELETE FROM nodes WHERE epoch = ?1", values![self.core.epoch])
                .await?;
            if self.wants_shards && !self.core.owns_shards() {
                start::bury(&mut tx, self.core.clock.now()).await?;
            }
            session.commit().await
        };
        if let Err(error) = within(BEAT_MAX, leaving).await {
            tracing::warn!(%error, "this node could not say goodbye; the next one waits for its lease to end");
        }
    }
}
