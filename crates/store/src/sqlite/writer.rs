//! The one thread that writes, and its group commit.
//!
//! Everything that waits shares one transaction and one fsync: up to [`GROUP_ROWS_MAX`] rows, [`GROUP_BYTES_MAX`] bytes
//! or [`GROUP_WORK_MAX`] of work. With few callers there is no linger: a group is whoever waits. Under load it grows while
//! the commit before it is on its way to the disk, and by a short rest after every large one.
//!
//! A group's states and its failures:
//! 1. taken from the queue: the process dies - nothing was promised, nothing is on disk;
//! 2. written inside the transaction: a member fails - the group is rolled back and every member runs alone, so that only
//!    the culprit gets the error; the process dies - as 1;
//! 3. COMMIT: the disk is full - rolled back, every member gets the error; an I/O error - what is on disk is unknown, the
//!    process ends, and the restart finds either all or nothing of the group;
//! 4. committed: the deliveries with room are handed over, then the callers are answered. The process dies - everything
//!    is on disk; what was not answered may have been accepted, which a producer's own id or idempotency key tells apart.
//!
//! Changes of the control plane run in transactions of their own, in their place in the queue.

use super::checkpoint::Checkpointer;
use super::queue::Queue;
use crate::config::Config;
use crate::error::{Result, StoreError, is_disk_full};
use crate::fresh::{FreshSender, Handover, Waiting};
use crate::hot::{Accept, Accepted, Cancel, Claim, Claimed, ClaimedDue, Finish, Release};
use crate::tx::Tx;
use crate::waiters::Waiters;
use rusqlite::Connection;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::Clock;
use stentor_domain::id::DeliveryId;
use tokio::sync::oneshot;

/// Rows that a group may write.
const GROUP_ROWS_MAX: usize = 2_000;
/// Payload bytes that a group may write.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Time that a group may take before its commit.
const GROUP_WORK_MAX: Duration = Duration::from_millis(5);

/// Members of a group from which on callers are many: the next group then waits for [`LINGER`].
const LINGER_MEMBERS: usize = 16;
/// How long the writer rests after a large group, so that the next one is large as well. A group writes whole pages of the
/// indexes that it touches, whether for one row or for ten; and every caller of a large group has waited longer than this.
const LINGER: Duration = Duration::from_micros(400);

/// What the writer is asked to do.
pub(crate) enum Command {
    /// A member of a group.
    Hot(Hot),
    /// A change of the control plane, with its answer inside.
    Change(Box<dyn FnOnce(&mut Writer) + Send>),
}

/// A member of a group, and where its answer goes.
pub(crate) enum Hot {
    Accept(Box<Accept>, Reply<Accepted>),
    Claim(Claim, Reply<ClaimedDue>),
    Release(Vec<Release>, Reply<()>),
    Cancel(Cancel, Reply<()>),
    Finish(Arc<Finish>, Reply<Recorded>),
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is the delivery's new state.
    Counted,
    /// The lease was lost: the attempt is recorded, the state left alone.
    Fenced,
}

/// Where an answer goes.
pub(crate) struct Reply<T> {
    sender: oneshot::Sender<Result<T>>,
    answer: Option<T>,
}

impl<T> Reply<T> {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Result<T>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender, answer: None }, receiver)
    }

    /// Sends the answer that the member prepared, or the error. Whoever asked may have gone: that is no fault.
    fn send(self, outcome: Result<()>) {
        let answer = outcome.and_then(|()| self.answer.ok_or(StoreError::Closed));
        drop(self.sender.send(answer));
    }
}

impl Hot {
    /// Rows and bytes that it writes, about.
    fn size(&self) -> (usize, usize) {
        match self {
            Self::Accept(accept, _) => (
                accept.events.iter().map(|event| 1 + event.deliveries.len()).sum(),
                accept.events.iter().map(|event| event.payload.len()).sum(),
            ),
            Self::Claim(claim, _) => (usize::try_from(claim.limit).unwrap_or(0), 0),
            Self::Release(releases, _) => (releases.len(), 0),
            Self::Cancel(..) => (2, 0),
            Self::Finish(..) => (2, 1024),
        }
    }

    /// Writes it. Running it a second time, in another transaction, begins anew.
    fn run(&mut self, writer: &mut Writer, effects: &mut Effects) -> Result<()> {
        match self {
            Self::Accept(accept, reply) => reply.answer = Some(writer.accept(accept, effects)?),
            Self::Claim(claim, reply) => reply.answer = Some(writer.claim(*claim, effects)?),
            Self::Release(releases, reply) => reply.answer = Some(writer.release(releases, effects)?),
            Self::Cancel(cancel, reply) => reply.answer = Some(writer.cancel(*cancel, effects)?),
            Self::Finish(finish, reply) => reply.answer = Some(writer.finish(finish, effects)?),
        }
        Ok(())
    }

    fn answer(self, outcome: Result<()>) {
        match self {
            Self::Accept(_, reply) => reply.send(outcome),
            Self::Claim(_, reply) => reply.send(outcome),
            Self::Release(_, reply) | Self::Cancel(_, reply) => reply.send(outcome),
            Self::Finish(_, reply) => reply.send(outcome),
        }
    }
}

/// What a group, or a change, does outside the database, once it is committed.
#[derive(Default)]
pub(crate) struct Effects {
    /// To be handed over.
    pub(crate) claimed: Vec<Claimed>,
    /// To be told to the dispatcher.
    pub(crate) waiting: Vec<Waiting>,
    /// Deliveries in a node's memory that somebody wants to end.
    pub(crate) cancel_requested: Vec<DeliveryId>,
    /// Deliveries that ended, of those that somebody may wait for.
    pub(crate) ended: Vec<i64>,
    /// The configuration changed.
    pub(crate) configured: bool,
    /// Failures in a row, as the group leaves them.
    pub(crate) health: HashMap<i64, u32>,
    /// Versions of tenants, as the group found them.
    pub(crate) tenant_versions: HashMap<i64, Option<i64>>,
}

/// The thread's state.
pub(crate) struct Writer {
    pub(crate) tx: Tx,
    pub(crate) epoch: i64,
    pub(crate) fresh: FreshSender,
    pub(crate) config: Arc<Config>,
    pub(crate) waiters: Arc<Waiters>,
    /// Failures in a row of endpoints that have any: a success of any other endpoint writes nothing about its health.
    pub(crate) health: HashMap<i64, u32>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) checkpointer: Arc<Checkpointer>,
}

impl Writer {
    /// The embedded connection.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        let Tx::Sqlite(connection) = &mut self.tx;
        connection
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self, queue: &Queue<Command>) {
        let mut waiting = VecDeque::new();
        while queue.take_all(&mut waiting) {
            let members = match waiting.pop_front() {
                Some(Command::Hot(first)) => self.group(first, &mut waiting),
                Some(Command::Change(change)) => {
                    change(&mut self);
                    1
                }
                None => 0,
            };
            if members >= LINGER_MEMBERS && waiting.is_empty() {
                std::thread::sleep(LINGER);
            }
            let Tx::Sqlite(connection) = &self.tx;
            self.checkpointer.between_groups(connection);
        }
    }

    /// Writes `first` and what follows it in the queue, as far as it fits, in one transaction. Tells how many it took.
    fn group(&mut self, first: Hot, waiting: &mut VecDeque<Command>) -> usize {
        let started = self.clock.monotonic();
        let mut members = vec![first];
        let (mut rows, mut bytes) = (0, 0);
        let outcome = self.transaction(|writer, effects| {
            let mut at = 0;
            while let Some(member) = members.get_mut(at) {
                let size = member.size();
                (rows, bytes) = (rows + size.0, bytes + size.1);
                member.run(writer, effects)?;
                at += 1;
                let full = rows >= GROUP_ROWS_MAX || bytes >= GROUP_BYTES_MAX;
                let late = || writer.clock.monotonic().saturating_sub(started) >= GROUP_WORK_MAX;
                if at == members.len() && !full && !late() {
                    match waiting.pop_front() {
                        Some(Command::Hot(next)) => members.push(next),
                        Some(other) => waiting.push_front(other),
                        None => {}
                    }
                }
            }
            Ok(())
        });
        let count = members.len();
        match outcome {
            Err(_) if count > 1 => members.into_iter().for_each(|member| self.alone(member)),
            outcome => members
                .into_iter()
                .for_each(|member| member.answer(outcome.clone())),
        }
        count
    }

    fn alone(&mut self, mut member: Hot) {
        let outcome = self.transaction(|writer, effects| member.run(writer, effects));
        member.answer(outcome);
    }

    /// Runs `work` in a transaction of its own, commits, and lets its effects out.
    pub(crate) fn transaction<E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&mut Self, &mut Effects) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut effects = Effects::default();
        self.connection()
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(StoreError::from)?;
        if let Err(error) = work(self, &mut effects) {
            self.roll_back();
            return Err(error);
        }
        if let Err(error) = self.connection().execute_batch("COMMIT") {
            self.judge_failed_commit(&error);
            self.roll_back();
            return Err(StoreError::from(error).into());
        }
        self.let_out(effects);
        Ok(())
    }

    fn roll_back(&mut self) {
        // SQLite has rolled back already after some errors; then there is nothing to do.
        if !self.connection().is_autocommit() {
            drop(self.connection().execute_batch("ROLLBACK"));
        }
    }

    /// After an I/O error in a commit nobody knows what is on disk, and what the page cache shows may differ from it.
    /// Only a restart, which reads the disk, can tell.
    fn judge_failed_commit(&self, error: &rusqlite::Error) {
        let is_broken = error.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure);
        if is_broken && !is_disk_full(error) {
            tracing::error!(%error, "the disk failed during a commit; the process ends so that a restart recovers");
            std::process::abort();
        }
    }

    fn let_out(&mut self, effects: Effects) {
        if effects.configured {
            self.apply_configuration();
        }
        for (endpoint, failures) in effects.health {
            match failures {
                0 => self.health.remove(&endpoint),
                failures => self.health.insert(endpoint, failures),
            };
        }
        if !effects.claimed.is_empty() {
            self.hand_over(effects.claimed);
        }
        if !effects.waiting.is_empty() {
            // Where nobody listens, the dispatcher's own rounds find them.
            drop(self.fresh.send(Handover::Waiting(effects.waiting)));
        }
        for delivery in effects.cancel_requested {
            drop(self.fresh.send(Handover::CancelRequested(delivery)));
        }
        self.waiters.wake(&effects.ended);
    }

    fn hand_over(&mut self, claimed: Vec<Claimed>) {
        let Err(Handover::Claimed(unsent)) = self.fresh.send(Handover::Claimed(claimed)) else {
            return;
        };
        // Nobody listens (any more): the deliveries are committed as this node's, so they must be given back.
        let releases: Vec<_> = unsent.iter().map(Claimed::release).collect();
        if let Err(error) = self.transaction(|writer, effects| writer.release(&releases, effects)) {
            tracing::error!(%error, "deliveries could not be given back; the next start recovers them");
        }
    }

    /// Brings the snapshot up to what is committed.
    pub(crate) fn apply_configuration(&mut self) {
        if let Err(error) = self.config.refresh(&mut self.tx) {
            // Everything else checks against the snapshot; going on with an old one would send to deleted endpoints.
            tracing::error!(%error, "the configuration cannot be read; the process ends so that a restart recovers");
            std::process::abort();
        }
    }
}
