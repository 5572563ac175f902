//! Connections that wait for their next exchange: bounded per key, altogether and in time.

use super::{IDLE_MAX, IDLE_PER_ORIGIN_MAX, IDLE_TIME_MAX};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

/// Idle connections `C` by key `K`. The most recently used one is taken first, so that those beyond the need grow idle
/// and leave; where there are too many, the longest idle one of all makes room.
pub(super) struct Idle<K, C> {
    /// By ticket, and tickets are in order of time.
    waiting: BTreeMap<u64, Waiting<K, C>>,
    /// The tickets of a key, the newest last.
    tickets: HashMap<K, VecDeque<u64>>,
    next_ticket: u64,
}

struct Waiting<K, C> {
    key: K,
    connection: C,
    since: Duration,
}

impl<K, C> Default for Idle<K, C> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            tickets: HashMap::new(),
            next_ticket: 0,
        }
    }
}

impl<K: Clone + Eq + Hash, C> Idle<K, C> {
    /// Keeps a connection from `now` on.
    pub(super) fn put(&mut self, key: K, connection: C, now: Duration) {
        self.expire(now);
        if self.waiting.len() >= IDLE_MAX {
            self.drop_oldest();
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let tickets = self.tickets.entry(key.clone()).or_default();
        if tickets.len() >= IDLE_PER_ORIGIN_MAX
            && let Some(oldest) = tickets.pop_front()
        {
            self.waiting.remove(&oldest);
        }
        tickets.push_back(ticket);
        let since = now;
        self.waiting.insert(
            ticket,
            Waiting {
                key,
                connection,
                since,
            },
        );
    }

    /// The newest usable connection of `key`; unusable ones on the way are dropped.
    pub(super) fn take(&mut self, key: &K, now: Duration, usable: impl Fn(&C) -> bool) -> Option<C> {
        self.expire(now);
        let tickets = self.tickets.get_mut(key)?;
        let mut taken = None;
        while taken.is_none()
            && let Some(ticket) = tickets.pop_back()
        {
            let waiting = self.waiting.remove(&ticket);
            taken = waiting
                .map(|waiting| waiting.connection)
                .filter(|connection| usable(connection));
        }
        if tickets.is_empty() {
            self.tickets.remove(key);
        }
        taken
    }

    /// Drops what has waited for too long.
    pub(super) fn expire(&mut self, now: Duration) {
        while let Some(oldest) = self.waiting.first_entry()
            && now.saturating_sub(oldest.get().since) >= IDLE_TIME_MAX
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((_, oldest)) = self.waiting.pop_first() else {
            return;
        };
        // The oldest of all is the oldest of its key.
        if let Some(tickets) = self.tickets.get_mut(&oldest.key) {
            tickets.pop_front();
            if tickets.is_empty() {
                self.tickets.remove(&oldest.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::ZERO;

    fn numbers(idle: &mut Idle<u32, usize>, key: u32, now: Duration) -> Vec<usize> {
        std::iter::from_fn(|| idle.take(&key, now, |_| true)).collect()
    }

    #[test]
    fn the_last_one_in_is_the_first_one_out() {
        let mut idle = Idle::default();
        for number in 0..3 {
            idle.put(7, number, START);
        }
        idle.put(8, 99, START);
        assert_eq!(numbers(&mut idle, 7, START), [2, 1, 0]);
        assert_eq!(numbers(&mut idle, 8, START), [99]);
        assert!(idle.tickets.is_empty() && idle.waiting.is_empty());
    }

    #[test]
    fn unusable_ones_are_dropped_on_the_way() {
        let mut idle = Idle::default();
        for number in 0..4 {
            idle.put(7, number, START);
        }
        assert_eq!(idle.take(&7, START, |number| *number < 2), Some(1));
        assert_eq!(numbers(&mut idle, 7, START), [0]);
    }

    #[test]
    fn a_key_keeps_its_newest() {
        let mut idle = Idle::default();
        for number in 0..=IDLE_PER_ORIGIN_MAX {
            idle.put(7, number, START);
        }
        let kept = numbers(&mut idle, 7, START);
        assert_eq!(kept.len(), IDLE_PER_ORIGIN_MAX);
        assert!(!kept.contains(&0));
    }

    #[test]
    fn the_longest_idle_of_all_makes_room() {
        let mut idle = Idle::default();
        for key in 0..=u32::try_from(IDLE_MAX).unwrap() {
            idle.put(key, 1, START);
        }
        assert_eq!(idle.waiting.len(), IDLE_MAX);
        assert_eq!(idle.tickets.len(), IDLE_MAX);
        assert_eq!(idle.take(&0, START, |_| true), None);
    }

    #[test]
    fn nothing_is_kept_longer_than_the_limit() {
        let mut idle = Idle::default();
        idle.put(7, 1, START);
        idle.put(7, 2, Duration::from_secs(1));
        assert_eq!(numbers(&mut idle, 7, IDLE_TIME_MAX), [2]);
        idle.put(7, 3, START);
        idle.expire(IDLE_TIME_MAX);
        assert!(idle.tickets.is_empty() && idle.waiting.is_empty());
    }
}
