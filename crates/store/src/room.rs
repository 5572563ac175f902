//! The room in memory for deliveries that are handed over as they are accepted: how many, of how many bytes, and whose. What finds none
//! waits in the store, and is claimed when its turn comes.

use crate::health::Trust;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// Deliveries that may wait in memory for their attempt.
const DELIVERIES: usize = 8_192;
/// Bytes of payload that may wait in memory.
const BYTES: usize = 64 * 1024 * 1024;
/// Those of endpoints that are not known to answer may take one of so many parts of both: what is beyond is kept for the others.
/// A thousand new endpoints that hang would hold all of it.
const UNKNOWN_PART: usize = 4;
/// Those of one endpoint may take one of so many parts of the deliveries: one that begins to hang, or answers ever more slowly, must
/// not take everybody's.
const ENDPOINT_PART: usize = 8;

/// The room, shared by those who take it and those who give it back.
#[derive(Debug, Default)]
pub struct Room(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    deliveries: usize,
    bytes: usize,
    of_endpoint: HashMap<i64, usize>,
}

/// Room for one delivery in memory, given back when it is dropped.
#[derive(Debug)]
pub struct RoomTicket {
    room: Arc<Room>,
    endpoint: i64,
    bytes: usize,
}

impl Room {
    /// Takes room for one delivery of `bytes` of payload to an endpoint; `None` where there is none for those one can `trust` so.
    pub(crate) fn take(self: &Arc<Self>, endpoint: i64, bytes: usize, trust: Trust) -> Option<RoomTicket> {
        let part = match trust {
            Trust::Answers => 1,
            Trust::Unknown | Trust::Suspect => UNKNOWN_PART,
        };
        let mut taken = self.0.lock();
        let of_endpoint = taken.of_endpoint.get(&endpoint).copied().unwrap_or(0);
        let has_room = taken.deliveries < DELIVERIES / part
            && taken.bytes + bytes <= BYTES / part
            && of_endpoint < DELIVERIES / ENDPOINT_PART;
        has_room.then(|| {
            taken.add(endpoint, bytes);
            self.ticket(endpoint, bytes)
        })
    }

    /// The same even where there is none: for a test send, which somebody waits for right now. Their number bounds it.
    pub fn take_anyway(self: &Arc<Self>, endpoint: i64, bytes: usize) -> RoomTicket {
        self.0.lock().add(endpoint, bytes);
        self.ticket(endpoint, bytes)
    }

    fn ticket(self: &Arc<Self>, endpoint: i64, bytes: usize) -> RoomTicket {
        RoomTicket {
            room: Arc::clone(self),
            endpoint,
            bytes,
        }
    }
}

impl Taken {
    fn add(&mut self, endpoint: i64, bytes: usize) {
        self.deliveries += 1;
        self.bytes += bytes;
        *self.of_endpoint.entry(endpoint).or_default() += 1;
    }
}

impl Drop for RoomTicket {
    fn drop(&mut self) {
        let mut taken = self.room.0.lock();
        taken.deliveries -= 1;
        taken.bytes -= self.bytes;
        if let Entry::Occupied(mut of_endpoint) = taken.of_endpoint.entry(self.endpoint) {
            *of_endpoint.get_mut() -= 1;
            if *of_endpoint.get() == 0 {
                of_endpoint.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes room for a delivery to each of ever more endpoints, from one on, as long as there is any.
    fn take_all(room: &Arc<Room>, from: i64, trust: Trust) -> Vec<RoomTicket> {
        (from..)
            .map_while(|endpoint| room.take(endpoint, 1, trust))
            .collect()
    }

    #[test]
    fn room_is_bounded_in_deliveries_and_bytes_and_given_back() {
        let room = Arc::new(Room::default());
        let tickets = take_all(&room, 0, Trust::Answers);
        assert_eq!(tickets.len(), DELIVERIES);
        drop(tickets);
        let two = [1, 2].map(|endpoint| room.take(endpoint, BYTES / 2, Trust::Answers));
        assert!(two.iter().all(Option::is_some) && room.take(3, 1, Trust::Answers).is_none());
        drop(two);
        assert!(room.take(1, BYTES / 2, Trust::Answers).is_some());
        assert!(room.0.lock().of_endpoint.is_empty());
    }

    #[test]
    fn those_that_are_not_known_to_answer_leave_room_for_the_others() {
        let room = Arc::new(Room::default());
        let unknown = take_all(&room, 0, Trust::Unknown);
        assert_eq!(unknown.len(), DELIVERIES / UNKNOWN_PART);
        let answering = take_all(&room, 10_000, Trust::Answers);
        assert_eq!(answering.len(), DELIVERIES - unknown.len());
        drop((unknown, answering));
        let large = BYTES / UNKNOWN_PART;
        let one = room.take(1, large, Trust::Unknown);
        assert!(one.is_some() && room.take(2, 1, Trust::Unknown).is_none());
        assert!(room.take(2, large, Trust::Answers).is_some());
    }

    #[test]
    fn one_endpoint_leaves_room_for_the_others() {
        let room = Arc::new(Room::default());
        let of_one: Vec<_> = std::iter::from_fn(|| room.take(1, 1, Trust::Answers)).collect();
        assert_eq!(of_one.len(), DELIVERIES / ENDPOINT_PART);
        assert!(room.take(2, 1, Trust::Answers).is_some());
    }

    #[test]
    fn a_test_send_has_room_in_any_case() {
        let room = Arc::new(Room::default());
        let all = take_all(&room, 0, Trust::Answers);
        drop(room.take_anyway(1, 1));
        assert!(room.take(10_000, 1, Trust::Answers).is_none());
        drop(all);
        assert_eq!(take_all(&room, 0, Trust::Answers).len(), DELIVERIES);
    }
}
