//! The one thread that writes, and its group commit.
//!
//! Everything that waits shares one transaction and one fsync: up to [`GROUP_ROWS_MAX`] rows, [`GROUP_BYTES_MAX`] bytes
//! or [`GROUP_WORK_MAX`] of work. Who waits together has no order among each other, and is written in that of the keys. With
//! few callers there is no linger: a group is whoever waits. Under load it grows while the commit before it is on its way to the
//! disk, and by a short rest after every large one.
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
//! Changes of the control plane run in transactions of their own, in their place in the queue. So do slices of background work,
//! but when nothing else waits, and at least every [`BACKGROUND_EVERY`]: a purge goes on under any load, and whoever publishes
//! waits for one slice at the most.

use super::checkpoint::Checkpointer;
use super::lists::Listing;
use super::queue::Queue;
use crate::effects::{Effects, Outside};
use crate::error::{Result, StoreError, is_disk_full};
use crate::hot::Release;
use crate::member::Hot;
use crate::tx::Tx;
use rusqlite::Connection;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::Clock;

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

/// How long a slice of background work waits for a moment in which nothing else does: a purge, of some 500 rows a slice, must
/// not fall behind a server that is always busy, which writes 30,000 a second.
const BACKGROUND_EVERY: Duration = Duration::from_millis(10);

/// What the writer is asked to do.
pub(crate) enum Command {
    /// A member of a group.
    Hot(Hot),
    /// A change of the control plane or a slice of background work, with its answer inside.
    Change(Box<dyn FnOnce(&mut Writer) + Send>),
}

/// Puts the members of groups in the order in which they are written best, up to the first change, which keeps its place.
fn put_in_order(waiting: &mut VecDeque<Command>) {
    let place = |command: &Command| match command {
        Command::Hot(hot) => Some(hot.place()),
        Command::Change(_) => None,
    };
    let waiting = waiting.make_contiguous();
    let members = waiting
        .iter()
        .take_while(|command| place(command).is_some())
        .count();
    if let Some(members) = waiting.get_mut(..members) {
        members.sort_by_key(place);
    }
}

/// The thread's state.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) epoch: i64,
    pub(crate) outside: Outside,
    /// Versions of tenants, as the present transaction found them.
    pub(crate) tenant_versions: HashMap<i64, Option<i64>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) checkpointer: Arc<Checkpointer>,
    pub(crate) listing: Listing,
}

impl Writer {
    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self, queue: &Queue<Command>) {
        let mut waiting = VecDeque::new();
        let mut background_at = self.clock.monotonic();
        while queue.take_all(&mut waiting) {
            put_in_order(&mut waiting);
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
            let overdue = self.clock.monotonic().saturating_sub(background_at) >= BACKGROUND_EVERY;
            if (waiting.is_empty() || overdue)
                && let Some(Command::Change(slice)) = queue.take_background(overdue)
            {
                slice(&mut self);
                background_at = self.clock.monotonic();
            }
            self.checkpointer.between_groups(&self.connection);
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
                writer.write(member, effects)?;
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
        if outcome.is_ok() {
            let took = self.clock.monotonic().saturating_sub(started);
            self.outside.metrics.note_commit(count, took);
        }
        match outcome {
            Err(_) if count > 1 => members.into_iter().for_each(|member| self.alone(member)),
            outcome => members
                .into_iter()
                .for_each(|member| member.answer(outcome.clone())),
        }
        count
    }

    fn alone(&mut self, mut member: Hot) {
        let outcome = self.transaction(|writer, effects| writer.write(&mut member, effects));
        member.answer(outcome);
    }

    /// Writes a member. Doing it a second time, in another transaction, begins anew.
    fn write(&mut self, member: &mut Hot, effects: &mut Effects) -> Result<()> {
        match member {
            Hot::Accept(accept, reply) => reply.answer = Some(self.accept(accept, effects)?),
            Hot::Claim(claim, reply) => reply.answer = Some(self.claim(*claim, effects)?),
            Hot::Release(releases, reply) => reply.answer = Some(self.release(releases, effects)?),
            Hot::Cancel(cancel, reply) => reply.answer = Some(self.cancel(*cancel, effects)?),
            Hot::Finish(finish, reply) => reply.answer = Some(self.finish(finish, effects)?),
        }
        Ok(())
    }

    /// Runs `work` in a transaction of its own, commits, and lets its effects out.
    pub(crate) fn transaction<E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&mut Self, &mut Effects) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut effects = Effects::default();
        self.tenant_versions.clear();
        self.connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(StoreError::from)?;
        if let Err(error) = work(self, &mut effects) {
            self.roll_back();
            return Err(error);
        }
        if let Err(error) = self.keep_tally(&mut effects).and_then(|()| self.list_more()) {
            self.roll_back();
            return Err(error.into());
        }
        if let Err(error) = self.connection.execute_batch("COMMIT") {
            self.judge_failed_commit(&error);
            self.roll_back();
            return Err(StoreError::from(error).into());
        }
        self.let_out(effects);
        Ok(())
    }

    /// What the members have changed of the counts is one row.
    fn keep_tally(&mut self, effects: &mut Effects) -> Result<()> {
        let tally = std::mem::take(&mut effects.tally);
        let now = self.clock.now();
        super::at_once(tally.keep(&mut Tx::Sqlite(&mut self.connection), now))
    }

    fn roll_back(&mut self) {
        // SQLite has rolled back already after some errors; then there is nothing to do.
        if !self.connection.is_autocommit() {
            drop(self.connection.execute_batch("ROLLBACK"));
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
        let unsent = self.outside.let_out(effects);
        if !unsent.is_empty() {
            self.give_back(&unsent);
        }
    }

    fn give_back(&mut self, releases: &[Release]) {
        if let Err(error) = self.transaction(|writer, effects| writer.release(releases, effects)) {
            tracing::error!(%error, "deliveries could not be given back; the next start recovers them");
        }
    }

    /// Brings the snapshot up to what is committed.
    pub(crate) fn apply_configuration(&mut self) {
        if let Err(error) = super::at_once(self.outside.config.refresh(&mut Tx::Sqlite(&mut self.connection)))
        {
            // Everything else checks against the snapshot; going on with an old one would send to deleted endpoints.
            tracing::error!(%error, "the configuration cannot be read; the process ends so that a restart recovers");
            std::process::abort();
        }
    }
}
