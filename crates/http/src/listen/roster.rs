//! Who is connected, and who must go when a newcomer finds no place.
//!
//! [`Roster`] counts the open connections and keeps those that wait for a request in the order in which they began to
//! wait. When all places are taken, the one that has waited longest is closed: a client that is being served is never
//! sacrificed to one that may not even ask, and a crowd of slow or silent connections cannot keep a health check
//! out. If every connection is being served, the newcomer waits until one ends or begins to wait, which
//! the limits on bodies and exchanges bound.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// All open connections of one listener.
#[derive(Debug)]
pub(super) struct Roster {
    places_max: usize,
    places: Mutex<Places>,
    /// Signalled when a place is free or, while all are taken, when a connection begins to wait.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Places {
    taken: usize,
    /// Those of `taken` that have been told to go and are still there.
    leaving: usize,
    next_turn: u64,
    /// Connections without a request in flight, longest waiting first.
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// One connection's place. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    roster: Arc<Roster>,
    /// Where the connection stands among those that wait; `None` while it is being served.
    turn: Mutex<Option<u64>>,
    told_to_go: Arc<Notify>,
}

impl Roster {
    /// A roster of `places_max` connections, and of one at least.
    pub(super) fn new(places_max: usize) -> Arc<Self> {
        Arc::new(Roster {
            places_max: places_max.max(1),
            places: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Takes a place, as one that waits; makes room first if there is none.
    pub(super) async fn take_place(self: &Arc<Self>) -> Place {
        loop {
            if let Some(place) = self.try_take_place() {
                return place;
            }
            self.make_room();
            self.changed().await;
        }
    }

    /// Completes when a connection was closed, perhaps a while ago: look again then.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn try_take_place(self: &Arc<Self>) -> Option<Place> {
        let told_to_go = Arc::new(Notify::new());
        let turn = {
            let mut places = self.places.lock();
            if places.taken >= self.places_max {
                return None;
            }
            places.taken += 1;
            places.begin_wait(&told_to_go)
        };
        Some(Place {
            roster: Arc::clone(self),
            turn: Mutex::new(Some(turn)),
            told_to_go,
        })
    }

    /// Tells the longest waiting to go, unless enough are on their way out already.
    fn make_room(&self) {
        let mut places = self.places.lock();
        if places.taken.saturating_sub(places.leaving) >= self.places_max {
            places.dismiss_longest_waiting();
        }
    }

    /// Tells the connection that has waited longest to go, to free its file descriptor.
    pub(super) fn dismiss_longest_waiting(&self) {
        self.places.lock().dismiss_longest_waiting();
    }
}

impl Places {
    fn begin_wait(&mut self, told_to_go: &Arc<Notify>) -> u64 {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.waiting.insert(turn, Arc::clone(told_to_go));
        turn
    }

    fn dismiss_longest_waiting(&mut self) {
        if let Some((_, told_to_go)) = self.waiting.pop_first() {
            self.leaving += 1;
            told_to_go.notify_one();
        }
    }
}

impl Place {
    /// Completes when the roster wants the place back.
    pub(super) async fn told_to_go(&self) {
        self.told_to_go.notified().await;
    }

    /// A request came: the connection is no longer among those that may be told to go. (One that was told a moment
    /// ago goes nevertheless; its client sees a closed connection, as it might at any time.)
    pub(super) fn begin_serving(&self) {
        let mut turn = self.turn.lock();
        let mut places = self.roster.places.lock();
        // Who is missing from the map was told to go, and keeps its turn to be counted when it leaves.
        if turn.is_some_and(|turn| places.waiting.remove(&turn).is_some()) {
            *turn = None;
        }
    }

    /// The last request in flight ended: the connection waits for the next one, at the end of the line.
    pub(super) fn begin_waiting(&self) {
        let mut turn = self.turn.lock();
        let mut places = self.roster.places.lock();
        if turn.is_none() {
            *turn = Some(places.begin_wait(&self.told_to_go));
            if places.taken >= self.roster.places_max {
                self.roster.changed.notify_one();
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let turn = self.turn.get_mut().take();
        let mut places = self.roster.places.lock();
        places.taken -= 1;
        if turn.is_some_and(|turn| places.waiting.remove(&turn).is_none()) {
            places.leaving -= 1;
        }
        drop(places);
        self.roster.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn is_told_to_go(place: &Place) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        matches!(pin!(place.told_to_go()).poll(&mut context), Poll::Ready(()))
    }

    #[test]
    fn the_longest_waiting_goes_first() {
        let roster = Roster::new(3);
        let [a, b, c] = std::array::from_fn(|_| roster.try_take_place().unwrap());
        a.begin_serving();
        a.begin_waiting();
        assert!(roster.try_take_place().is_none());
        roster.make_room();
        assert_eq!([&a, &b, &c].map(is_told_to_go), [false, true, false]);
    }

    #[test]
    fn one_newcomer_dismisses_one_connection() {
        let roster = Roster::new(2);
        let [a, b] = std::array::from_fn(|_| roster.try_take_place().unwrap());
        roster.make_room();
        roster.make_room();
        assert_eq!([&a, &b].map(is_told_to_go), [true, false]);
        drop(a);
        assert!(roster.try_take_place().is_some());
    }

    #[test]
    fn who_is_being_served_is_never_told_to_go() {
        let roster = Roster::new(1);
        let place = roster.try_take_place().unwrap();
        place.begin_serving();
        roster.make_room();
        roster.dismiss_longest_waiting();
        assert!(!is_told_to_go(&place));
    }

    #[test]
    fn a_request_that_comes_with_the_dismissal_upsets_no_count() {
        let roster = Roster::new(1);
        let place = roster.try_take_place().unwrap();
        roster.make_room();
        place.begin_serving();
        place.begin_waiting();
        drop(place);
        let place = roster.try_take_place().unwrap();
        roster.make_room();
        assert!(is_told_to_go(&place));
    }
}
