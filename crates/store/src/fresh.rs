//! What the committer hands to the dispatcher right after a commit, so that a first attempt needs no question to the
//! database. Dropping a [`Fresh`] changes latency only: what is not handed over waits in the store, and the dispatcher's
//! own rounds find it.

use crate::health::Trust;
use crate::hot::{Claimed, Release};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use stentor_domain::Timestamp;
use stentor_domain::delivery::Reason;
use stentor_domain::id::DeliveryId;
use tokio::sync::mpsc;

/// Deliveries that may wait in memory for their attempt.
const ROOM_DELIVERIES: i64 = 8_192;
/// Bytes of payload that may wait in memory.
const ROOM_BYTES: i64 = 64 * 1024 * 1024;
/// What of both those may take who are not known to answer: what is beyond is kept for the others.
const UNKNOWN_DELIVERIES: i64 = ROOM_DELIVERIES / 4;
const UNKNOWN_BYTES: i64 = ROOM_BYTES / 4;

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
    let room = Arc::new(Room {
        deliveries: AtomicI64::new(ROOM_DELIVERIES),
        bytes: AtomicI64::new(ROOM_BYTES),
    });
    (FreshSender { sender, room }, Fresh { receiver, give_back })
}

impl FreshSender {
    /// Reserves room for one delivery of `bytes` of payload; `None` where there is none, or nobody listens. Those that are not
    /// known to answer get none of what the others may need: a thousand new endpoints that hang would hold all of it.
    pub(crate) fn reserve(&self, bytes: usize, trust: Trust) -> Option<RoomTicket> {
        if self.sender.is_closed() {
            return None;
        }
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let ticket = RoomTicket {
            room: Arc::clone(&self.room),
            bytes,
        };
        let deliveries_left = self.room.deliveries.fetch_sub(1, Ordering::Relaxed);
        let bytes_left = self.room.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let (kept_deliveries, kept_bytes) = match trust {
            Trust::Answers => (0, 0),
            Trust::Unknown | Trust::Suspect => {
                (ROOM_DELIVERIES - UNKNOWN_DELIVERIES, ROOM_BYTES - UNKNOWN_BYTES)
            }
        };
        // Dropping the ticket gives back what was taken.
        (deliveries_left > kept_deliveries && bytes_left >= kept_bytes + bytes).then_some(ticket)
    }

    /// Takes room for a test send even where there is none: somebody waits for it right now, and their number bounds it.
    pub(crate) fn reserve_express(&self, bytes: usize) -> Option<RoomTicket> {
        if self.sender.is_closed() {
            return None;
        }
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.room.deliveries.fetch_sub(1, Ordering::Relaxed);
        self.room.bytes.fetch_sub(bytes, Ordering::Relaxed);
        Some(RoomTicket {
            room: Arc::clone(&self.room),
            bytes,
        })
    }

    /// Hands over; gives back what nobody listens for.
    pub(crate) fn send(&self, handover: Handover) -> Result<(), Handover> {
        self.sender.send(handover).map_err(|unsent| unsent.0)
    }
}

#[derive(Debug)]
struct Room {
    deliveries: AtomicI64,
    bytes: AtomicI64,
}

/// Room for one delivery in memory, given back when it is dropped.
#[derive(Debug)]
pub struct RoomTicket {
    room: Arc<Room>,
    bytes: i64,
}

impl Drop for RoomTicket {
    fn drop(&mut self) {
        self.room.deliveries.fetch_add(1, Ordering::Relaxed);
        self.room.bytes.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_in_deliveries_and_bytes_and_given_back() {
        let (sender, fresh) = channel(Box::new(drop));
        let tickets: Vec<_> = std::iter::from_fn(|| sender.reserve(1, Trust::Answers)).collect();
        assert_eq!(tickets.len(), usize::try_from(ROOM_DELIVERIES).unwrap());
        drop(tickets);
        let half = usize::try_from(ROOM_BYTES / 2).unwrap();
        let two = (
            sender.reserve(half, Trust::Answers),
            sender.reserve(half, Trust::Answers),
        );
        assert!(two.0.is_some() && two.1.is_some() && sender.reserve(1, Trust::Answers).is_none());
        drop(two);
        assert!(sender.reserve(half, Trust::Answers).is_some());
        drop(fresh);
        assert!(sender.reserve(1, Trust::Answers).is_none());
    }

    #[test]
    fn those_that_are_not_known_to_answer_leave_room_for_the_others() {
        let (sender, _fresh) = channel(Box::new(drop));
        let unknown: Vec<_> = std::iter::from_fn(|| sender.reserve(1, Trust::Unknown)).collect();
        assert_eq!(unknown.len(), usize::try_from(UNKNOWN_DELIVERIES).unwrap());
        let answering: Vec<_> = std::iter::from_fn(|| sender.reserve(1, Trust::Answers)).collect();
        assert_eq!(
            answering.len(),
            usize::try_from(ROOM_DELIVERIES - UNKNOWN_DELIVERIES).unwrap()
        );
        drop((unknown, answering));
        let large = usize::try_from(UNKNOWN_BYTES).unwrap();
        let one = sender.reserve(large, Trust::Unknown);
        assert!(one.is_some() && sender.reserve(1, Trust::Unknown).is_none());
        assert!(sender.reserve(large, Trust::Answers).is_some());
    }
}
