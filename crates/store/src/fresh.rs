//! What the committer hands to the dispatcher right after a commit, so that a first attempt needs no question to the
//! database. Dropping a [`Fresh`] changes latency only: what is not handed over waits in the store, and the dispatcher's
//! own rounds find it.

use crate::health::Trust;
use crate::hot::{Claimed, Release};
use crate::room::{Room, RoomTicket};
use std::fmt;
use std::sync::Arc;
use stentor_domain::Timestamp;
use stentor_domain::delivery::Reason;
use stentor_domain::id::DeliveryId;
use tokio::sync::mpsc;

/// Something that the dispatcher should know at once.
#[derive(Debug)]
pub enum Handover {
    /// These are committed with this node as their owner: send them.
    Claimed(Vec<Claimed>),
    /// These endpoints have deliveries in the store that wait, the earliest due at the time given.
    Waiting(Vec<Waiting>),
    /// The delivery whose turn it is at this ordered endpoint may be another one, or may be due at another time, than before.
    Reordered(i64),
    /// This delivery, which this node owns, is to end for a reason.
    CancelRequested(DeliveryId, Reason),
}

/// An endpoint with deliveries that wait in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The endpoint's key.
    pub endpoint: i64,
    /// Its shard.
    pub shard: u16,
    /// When the earliest is due.
    pub due_at: Timestamp,
}

/// The dispatcher's end. Dropping it gives back what was handed over and not taken.
pub struct Fresh {
    receiver: mpsc::UnboundedReceiver<Handover>,
    give_back: GiveBack,
}

/// How deliveries go back to the store from where nobody can wait.
pub(crate) type GiveBack = Box<dyn Fn(Vec<Release>) + Send + Sync>;

impl Fresh {
    /// The next thing handed over; `None` once the store is closed.
    pub async fn next(&mut self) -> Option<Handover> {
        self.receiver.recv().await
    }

    /// What is there already, without waiting.
    pub fn try_next(&mut self) -> Option<Handover> {
        self.receiver.try_recv().ok()
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // From here on the committer finds nobody who listens, and hands over nothing.
        self.receiver.close();
        let mut releases = Vec::new();
        while let Some(handover) = self.try_next() {
            if let Handover::Claimed(claimed) = handover {
                releases.extend(claimed.iter().map(Claimed::release));
            }
        }
        if !releases.is_empty() {
            (self.give_back)(releases);
        }
    }
}

impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fresh").finish_non_exhaustive()
    }
}

/// The committer's end.
#[derive(Debug)]
pub(crate) struct FreshSender {
    sender: mpsc::UnboundedSender<Handover>,
    room: Arc<Room>,
}

/// Both ends. The channel itself has no bound: the room bounds the deliveries in it, and the rest is one item for each
/// change that a client waits for.
pub(crate) fn channel(give_back: GiveBack) -> (FreshSender, Fresh) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::default();
    (FreshSender { sender, room }, Fresh { receiver, give_back })
}

impl FreshSender {
    /// Takes room for one delivery of `bytes` of payload; `None` where there is none, or nobody listens.
    pub(crate) fn reserve(&self, endpoint: i64, bytes: usize, trust: Trust) -> Option<RoomTicket> {
        let listens = !self.sender.is_closed();
        listens.then(|| self.room.take(endpoint, bytes, trust)).flatten()
    }

    /// Takes room for a test send; `None` where nobody listens.
    pub(crate) fn reserve_express(&self, endpoint: i64, bytes: usize) -> Option<RoomTicket> {
        (!self.sender.is_closed()).then(|| self.room.take_anyway(endpoint, bytes))
    }

    /// Hands over; gives back what nobody listens for.
    pub(crate) fn send(&self, handover: Handover) -> Result<(), Handover> {
        self.sender.send(handover).map_err(|unsent| unsent.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_room_where_nobody_listens() {
        let (sender, fresh) = channel(Box::new(drop));
        assert!(sender.reserve(1, 1, Trust::Answers).is_some() && sender.reserve_express(1, 1).is_some());
        drop(fresh);
        assert!(sender.reserve(1, 1, Trust::Answers).is_none() && sender.reserve_express(1, 1).is_none());
    }
}
