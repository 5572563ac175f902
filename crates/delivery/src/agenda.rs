//! Which endpoints have deliveries waiting in the store, and when the earliest of each is due. One entry for an endpoint,
//! however many deliveries wait for it.

use std::collections::{BTreeSet, HashMap};
use stentor_domain::Timestamp;
use stentor_store::Waiting;

/// Endpoints by the time when their earliest waiting delivery is due.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    by_due: BTreeSet<(Timestamp, i64)>,
    by_endpoint: HashMap<i64, Waiting>,
}

impl Agenda {
    /// Notes that an endpoint has something waiting. Of two times the earlier stays: looking too early costs a question,
    /// looking too late costs the receiver.
    pub(crate) fn note(&mut self, waiting: Waiting) {
        if let Some(known) = self.by_endpoint.get(&waiting.endpoint) {
            if known.due_at <= waiting.due_at {
                return;
            }
            self.by_due.remove(&(known.due_at, known.endpoint));
        }
        self.by_due.insert((waiting.due_at, waiting.endpoint));
        self.by_endpoint.insert(waiting.endpoint, waiting);
    }

    /// Takes out the endpoint that is due first, if it is due by `now`.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<Waiting> {
        let (due_at, endpoint) = *self.by_due.first()?;
        if due_at > now {
            return None;
        }
        self.by_due.remove(&(due_at, endpoint));
        self.by_endpoint.remove(&endpoint)
    }

    /// When the first endpoint is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.by_due.first().map(|(due_at, _)| *due_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn waiting(endpoint: i64, seconds: i64) -> Waiting {
        Waiting {
            endpoint,
            shard: 0,
            due_at: Timestamp::from_seconds(seconds),
        }
    }

    #[test]
    fn an_endpoint_has_one_entry_and_the_earliest_time_wins() {
        let mut agenda = Agenda::default();
        for (endpoint, seconds) in [(1, 50), (2, 30), (1, 20), (1, 40), (2, 60)] {
            agenda.note(waiting(endpoint, seconds));
        }
        assert_eq!(agenda.next_due(), Some(Timestamp::from_seconds(20)));
        assert_eq!(agenda.take_due(Timestamp::from_seconds(19)), None);
        let now = Timestamp::from_seconds(100);
        assert_eq!(agenda.take_due(now), Some(waiting(1, 20)));
        assert_eq!(agenda.take_due(now), Some(waiting(2, 30)));
        assert_eq!(agenda.take_due(now), None);
    }

    proptest! {
        #[test]
        fn what_is_noted_is_taken_once_in_order_and_never_early(
            notes in proptest::collection::vec((0_i64..5, 0_i64..100, prop::option::of(0_i64..100)), 0..100)
        ) {
            let mut agenda = Agenda::default();
            let mut earliest: HashMap<i64, i64> = HashMap::new();
            for (endpoint, due, look) in notes {
                agenda.note(waiting(endpoint, due));
                let known = earliest.entry(endpoint).or_insert(due);
                *known = due.min(*known);
                prop_assert_eq!(agenda.next_due(), earliest.values().min().map(|due| Timestamp::from_seconds(*due)));
                let Some(now) = look else { continue };
                let first = earliest.iter().map(|(endpoint, due)| (*due, *endpoint)).min().unwrap();
                let taken = agenda.take_due(Timestamp::from_seconds(now));
                prop_assert_eq!(taken, (first.0 <= now).then(|| waiting(first.1, first.0)));
                if taken.is_some() {
                    earliest.remove(&first.1);
                }
            }
            let all: Vec<Waiting> = std::iter::from_fn(|| agenda.take_due(Timestamp::from_seconds(100))).collect();
            prop_assert_eq!(all.len(), earliest.len());
            prop_assert!(all.is_sorted_by_key(|one| one.due_at));
            prop_assert!(all.iter().all(|one| *one == waiting(one.endpoint, earliest[&one.endpoint])));
        }
    }
}
