//! A committer: one connection, and what waits to be written through it, in groups.
//!
//! There are three, each for one kind of words, so that a publisher never waits behind a claim: [`accept`], [`finish`] and
//! [`claim`]. Their order does not matter: a delivery is recorded only after the commit that accepted it was handed over.
//!
//! A committer's states, and what a failure does in each:
//! 1. **up**: it takes what waits as one group and writes it. The server refuses a statement: nothing of it was written; the
//!    members run alone, so that only the culprit gets the error. The answer does not come, or the connection ends: the
//!    outcome is unknown; those who wait get [`StoreError::Unavailable`] at once, and what the node would need to know of
//!    the outcome is kept as [`Doubts`].
//! 2. **down**: nothing is taken in, so that nobody waits; everybody is told at once. It connects anew, again and again.
//! 3. **settling**: connected, it makes sure that the connection before it has ended: a server that was paused may have
//!    the statement still before it, and carry it out later. Only then is the outcome in the database, and read back: what
//!    was accepted is handed over, what was claimed for nobody is given back, the endpoints' health is read anew. Then it is
//!    up.
//! 4. **closed**: what waits is written, then the connection is closed.
//!
//! A process that dies in any of them leaves what is in the database to the next take-over.
//!
//! [`accept`]: super::accept
//! [`finish`]: super::finish
//! [`claim`]: super::claim

use super::accept::Placed;
use super::session::{Session, within};
use super::{Core, accept, claim, finish, words};
use crate::effects::Effects;
use crate::error::{Result, StoreError};
use crate::health;
use crate::hot::Claimed;
use crate::member::Hot;
use crate::tx::Tx;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_postgres::error::{Severity, SqlState};

/// Rows that a group may write.
const GROUP_ROWS_MAX: usize = 2_000;
/// Payload bytes that a group may write.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a group may take. Longer than the server gives a statement, so that a slow one ends with an answer.
const GROUP_MAX: Duration = Duration::from_secs(4);
/// What records set in addition. Their statements join the rows of a group, found by key, with what is told of each: in a
/// nested loop that would be the square of the group.
const RECORD_SETTINGS: &str = "SET enable_nestloop = off";
/// What claims set in addition: the oldest of an endpoint come in the order of the index, and the million behind them is not
/// sorted.
const CLAIM_SETTINGS: &str = "SET enable_nestloop = off; SET enable_sort = off";
/// How often a group that collides is tried.
const TRIES_MAX: usize = 4;
/// How long to rest between two tries to connect.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// How long one look at the connection before may take, and the rest between two looks.
const SETTLE_MAX: Duration = Duration::from_secs(4);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What a committer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Events and their deliveries.
    Accept,
    /// Records of attempts.
    Finish,
    /// Claims, and deliveries given back or ended without an attempt.
    Claim,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Finish => "record",
            Self::Claim => "claim",
        }
    }
}

/// What waits for a committer.
pub(crate) struct Lane {
    kind: Kind,
    state: Mutex<State>,
    filled: Notify,
}

struct State {
    waiting: VecDeque<Hot>,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Up,
    Down,
    Closed,
}

/// What the outcome of a lost answer would have told.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    /// Deliveries to be handed over, if they were accepted.
    pub(crate) accepted: Vec<Placed<Claimed>>,
    /// Deliveries that may have been claimed for nobody.
    pub(crate) claimed: Vec<i64>,
}

/// How a group failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The server refused the content of a member, and wrote nothing. The connection is good.
    Refused(StoreError),
    /// The server refused whatever it was, and wrote nothing. The connection is good.
    Unable(StoreError),
    /// Somebody else wrote the same at that moment, and nothing was written: once more.
    Collided,
    /// The answer did not come.
    Lost(StoreError),
}

impl Lane {
    /// A lane that is up: its committer has a connection.
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                standing: Standing::Up,
            }),
            filled: Notify::new(),
        }
    }

    /// What its committer writes.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Lets `member` wait for the next group.
    pub(crate) fn push(&self, member: Hot) -> Result<()> {
        let mut state = self.state.lock();
        match state.standing {
            Standing::Up => state.waiting.push_back(member),
            Standing::Down => return Err(unreachable()),
            Standing::Closed => return Err(StoreError::Closed),
        }
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Puts members in front of what waits: they go with the next group.
    pub(crate) fn put_back(&self, members: Vec<Hot>) {
        let mut state = self.state.lock();
        for member in members.into_iter().rev() {
            state.waiting.push_front(member);
        }
    }

    /// Writes what waits, then closes.
    pub(crate) fn close(&self) {
        self.state.lock().standing = Standing::Closed;
        self.filled.notify_one();
    }

    /// The next group, once something waits; `None` once the lane is closed and empty.
    async fn next_group(&self) -> Option<Vec<Hot>> {
        loop {
            let filled = self.filled.notified();
            {
                let mut state = self.state.lock();
                if !state.waiting.is_empty() {
                    return Some(group(&mut state.waiting));
                }
                if state.standing == Standing::Closed {
                    return None;
                }
            }
            filled.await;
        }
    }

    /// Takes nothing in any more, and tells those who wait. `false` where it is closed.
    fn go_down(&self) -> bool {
        let waiting = {
            let mut state = self.state.lock();
            if state.standing == Standing::Up {
                state.standing = Standing::Down;
            }
            std::mem::take(&mut state.waiting)
        };
        for member in waiting {
            member.answer(Err(unreachable()));
        }
        self.state.lock().standing != Standing::Closed
    }

    fn go_up(&self) {
        let mut state = self.state.lock();
        if state.standing == Standing::Down {
            state.standing = Standing::Up;
        }
    }

    fn is_closed(&self) -> bool {
        self.state.lock().standing == Standing::Closed
    }
}

fn group(waiting: &mut VecDeque<Hot>) -> Vec<Hot> {
    let (mut rows, mut bytes) = (0, 0);
    let mut members = Vec::new();
    while rows < GROUP_ROWS_MAX && bytes < GROUP_BYTES_MAX {
        let Some(member) = waiting.pop_front() else { break };
        let size = member.size();
        (rows, bytes) = (rows + size.0, bytes + size.1);
        members.push(member);
    }
    members
}

fn unreachable() -> StoreError {
    StoreError::Unavailable("the connection to the database is lost; it is being made anew".into())
}

/// Works until the lane is closed and empty. `session` is the first connection.
pub(crate) async fn run(core: Arc<Core>, lane: Arc<Lane>, session: Session) {
    let mut session = session;
    loop {
        let mut doubts = Doubts::default();
        let lost = loop {
            let Some(members) = lane.next_group().await else {
                return;
            };
            if let Err(lost) = commit(&core, &lane, &mut session, members, &mut doubts).await {
                break lost;
            }
        };
        let kind = lane.kind.name();
        tracing::error!(error = %lost, kind, "the connection to the database is lost; it is made anew");
        let before = session.name().to_owned();
        drop(session);
        if !lane.go_down() {
            return;
        }
        let Some(next) = come_back(&core, &lane, &before, doubts).await else {
            return;
        };
        session = next;
        lane.go_up();
        tracing::info!(kind, "the connection to the database is there again");
    }
}

/// Connects and settles, again and again until both succeed; `None` once the lane is closed.
async fn come_back(core: &Arc<Core>, lane: &Lane, before: &str, doubts: Doubts) -> Option<Session> {
    let mut doubts = doubts;
    loop {
        if lane.is_closed() {
            return None;
        }
        match connect(core, lane.kind).await {
            Ok(mut session) => match settle(core, lane.kind, &mut session, before, &mut doubts).await {
                Ok(()) => return Some(session),
                Err(error) => tracing::debug!(%error, "the outcome of lost commits is not known yet"),
            },
            Err(error) => tracing::debug!(%error, "the database cannot be reached yet"),
        }
        pause(AGAIN_AFTER).await;
    }
}

/// The connection of a committer.
pub(crate) async fn connect(core: &Core, kind: Kind) -> Result<Session> {
    let more = match kind {
        Kind::Accept => "",
        Kind::Finish => RECORD_SETTINGS,
        Kind::Claim => CLAIM_SETTINGS,
    };
    let settings = format!("{}; {more}", super::HOT_SETTINGS);
    let session = Session::open(&core.address, core.name_for(kind.name()), &settings).await?;
    within(SETTLE_MAX, session.check_writable()).await?;
    Ok(session)
}

async fn settle(
    core: &Arc<Core>,
    kind: Kind,
    session: &mut Session,
    before: &str,
    doubts: &mut Doubts,
) -> Result<()> {
    within(SETTLE_MAX, end_backend(session, before)).await?;
    within(SETTLE_MAX, async {
        if !doubts.accepted.is_empty() {
            let asked = doubts.accepted.iter().map(|(_, claimed)| claimed.delivery.n());
            let accepted = accept::read_back(core, session, asked.collect()).await?;
            let claimed = std::mem::take(&mut doubts.accepted).into_iter();
            // What is not there was never accepted, and gives up its room here.
            let claimed = claimed
                .map(|(_, claimed)| claimed)
                .filter(|claimed| accepted.contains(&claimed.delivery.n()))
                .collect();
            core.let_out(Effects {
                claimed,
                ..Effects::default()
            });
        }
        claim::disown(core, session, &doubts.claimed).await?;
        doubts.claimed.clear();
        if kind == Kind::Finish {
            // A lost commit may have written what is remembered of the endpoints' health.
            let health = health::all(&mut Tx::Postgres(session)).await?;
            core.outside.healths.replace(health);
        }
        Ok(())
    })
    .await
}

/// Ends the server's side of the connection before, and waits until it is gone.
async fn end_backend(session: &Session, name: &str) -> Result<()> {
    while session.end_others(name).await? > 0 {
        pause(LOOK_AGAIN_AFTER).await;
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "waits for a server that is in trouble, not for time to pass"
)]
async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// Writes a group and answers its members, also where it fails. The error says that the connection must not be used any more.
async fn commit(
    core: &Arc<Core>,
    lane: &Lane,
    session: &mut Session,
    members: Vec<Hot>,
    doubts: &mut Doubts,
) -> Result<()> {
    let mut members = members;
    let started = core.clock.monotonic();
    match write(core, lane, session, &mut members, doubts).await {
        Ok(effects) => {
            let took = core.clock.monotonic().saturating_sub(started);
            core.outside.metrics.note_commit(members.len(), took);
            core.let_out_configured(effects).await;
            answer(members, &Ok(()));
        }
        Err(Trouble::Lost(error)) => {
            answer(members, &Err(error.clone()));
            return Err(error);
        }
        // A collision that does not end is with rows that are there for good: whose they are is found out one by one.
        Err(Trouble::Refused(_) | Trouble::Collided) if members.len() > 1 => {
            let mut members = members.into_iter();
            while let Some(member) = members.next() {
                let alone = Box::pin(commit(core, lane, session, vec![member], doubts)).await;
                if let Err(error) = alone {
                    answer(members.collect(), &Err(error.clone()));
                    return Err(error);
                }
            }
        }
        Err(Trouble::Refused(error) | Trouble::Unable(error)) => answer(members, &Err(error)),
        Err(Trouble::Collided) => {
            let error = StoreError::Unavailable("what is to be written is there already".into());
            answer(members, &Err(error));
        }
    }
    Ok(())
}

/// Writes a group within its time; what collides is tried again. Tells what follows: past the commit nothing is cut off.
async fn write(
    core: &Arc<Core>,
    lane: &Lane,
    session: &mut Session,
    members: &mut Vec<Hot>,
    doubts: &mut Doubts,
) -> Result<Effects, Trouble> {
    for _ in 0..TRIES_MAX {
        let writing = async {
            match lane.kind {
                Kind::Accept => accept::write(core, lane, session, members, doubts).await,
                Kind::Finish => finish::write(core, session, members).await,
                Kind::Claim => claim::write(core, session, members, doubts).await,
            }
        };
        match tokio::time::timeout(GROUP_MAX, writing).await {
            Ok(Err(Trouble::Collided)) => {}
            Ok(outcome) => return outcome,
            Err(_elapsed) => {
                let words = format!("the database did not answer within {GROUP_MAX:?}");
                return Err(Trouble::Lost(StoreError::Unavailable(words)));
            }
        }
    }
    Err(Trouble::Collided)
}

fn answer(members: Vec<Hot>, outcome: &Result<()>) {
    for member in members {
        member.answer(outcome.clone());
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        let fault = StoreError::Unavailable(words(&error));
        let Some(said) = error.as_db_error() else {
            return Self::Lost(fault);
        };
        if !matches!(said.parsed_severity(), None | Some(Severity::Error)) {
            return Self::Lost(fault);
        }
        // Classes of SQLSTATE (PostgreSQL, appendix A): 22 is about the data and 23 about rows that exclude each other.
        match (said.code(), said.code().code().get(..2)) {
            // It leads to a standby, or was made while the server took no writes, and stays so: another one may not.
            (&SqlState::READ_ONLY_SQL_TRANSACTION, _) => Self::Lost(fault),
            (&SqlState::UNIQUE_VIOLATION | &SqlState::T_R_DEADLOCK_DETECTED, _) => Self::Collided,
            (_, Some("22" | "23")) => Self::Refused(fault),
            _ => Self::Unable(fault),
        }
    }
}
