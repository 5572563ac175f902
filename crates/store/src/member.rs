//! The members of a group commit: what the hot path asks of a committer, each with the way its answer goes.

use crate::error::{Result, StoreError};
use crate::hot::{Accept, Accepted, Cancel, Claim, ClaimedDue, Finish, Release};
use std::sync::Arc;
use tokio::sync::oneshot;

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
    /// What is to be answered once it is committed.
    pub(crate) answer: Option<T>,
}

impl<T> Reply<T> {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Result<T>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender, answer: None }, receiver)
    }

    /// Sends the answer that the member prepared, or the error. Whoever asked may have gone: that is no fault.
    pub(crate) fn send(self, outcome: Result<()>) {
        let answer = outcome.and_then(|()| self.answer.ok_or(StoreError::Closed));
        drop(self.sender.send(answer));
    }
}

impl Hot {
    /// Its place among those that are written together: tables grow at their ends where keys come in their order, and in the
    /// middle of full pages where they do not. Records come first: they are no more than what is in flight.
    pub(crate) fn place(&self) -> (u8, i64) {
        match self {
            Self::Finish(finish, _) => (0, finish.delivery.n()),
            Self::Claim(..) | Self::Release(..) | Self::Cancel(..) => (1, 0),
            Self::Accept(accept, _) => (2, accept.events.first().map_or(0, |event| event.id.n())),
        }
    }

    /// Rows and bytes that it writes, about.
    pub(crate) fn size(&self) -> (usize, usize) {
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

    /// Answers it, with what it prepared or the error.
    pub(crate) fn answer(self, outcome: Result<()>) {
        match self {
            Self::Accept(_, reply) => reply.send(outcome),
            Self::Claim(_, reply) => reply.send(outcome),
            Self::Release(_, reply) | Self::Cancel(_, reply) => reply.send(outcome),
            Self::Finish(_, reply) => reply.send(outcome),
        }
    }
}
