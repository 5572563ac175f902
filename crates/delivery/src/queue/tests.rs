//! The queue against a plain model of it, under whatever happens in whatever order.

use super::*;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;
use std::sync::Arc;
use stentor_domain::Timestamp;
use stentor_domain::id::{DeliveryId, EventId, Id};
use stentor_domain::name::EventTypeName;
use stentor_store::hot::ClaimedEvent;

const TENANTS: i64 = 3;

/// Something that happens to a queue.
#[derive(Clone, Debug)]
enum Deed {
    Push { endpoint: i64, cap: usize },
    PushTest,
    Next,
    Land(Index),
    Remove(Index),
    Drain,
}

fn deeds() -> impl Strategy<Value = Deed> {
    prop_oneof![
        10 => (0_i64..9, 0_usize..4).prop_map(|(endpoint, cap)| Deed::Push { endpoint, cap }),
        1 => Just(Deed::PushTest),
        10 => Just(Deed::Next),
        5 => any::<Index>().prop_map(Deed::Land),
        3 => any::<Index>().prop_map(Deed::Remove),
        1 => Just(Deed::Drain),
    ]
}

fn tenant_of(endpoint: i64) -> i64 {
    endpoint % TENANTS
}

fn claimed(n: i64, endpoint: i64, trigger: Trigger) -> Claimed {
    let id = |n| Id { n, tag: 0 };
    Claimed {
        delivery: DeliveryId(id(n)),
        event: Arc::new(ClaimedEvent {
            id: EventId(id(1)),
            tenant: tenant_of(endpoint),
            event_type: EventTypeName::parse("order.paid").unwrap(),
            payload: vec![b'1'; 3].into(),
            occurred_at: None,
        }),
        endpoint,
        shard: 0,
        attempt: 1,
        failed: 0,
        first_at: None,
        due_at: Timestamp::EPOCH,
        trigger,
        room: None,
    }
}

/// What a queue should be, said in the plainest way.
#[derive(Default)]
struct Model {
    waiting: BTreeMap<i64, Vec<i64>>,
    tests: Vec<i64>,
    in_flight: Vec<i64>,
    caps: BTreeMap<i64, usize>,
    /// Since which deed each tenant has had something to send, and at which it was served last.
    ready_since: BTreeMap<i64, usize>,
    served_at: BTreeMap<i64, usize>,
}

impl Model {
    fn may_send(&self, endpoint: i64) -> bool {
        let in_flight = self.in_flight.iter().filter(|one| **one == endpoint).count();
        let waiting = self
            .waiting
            .get(&endpoint)
            .is_some_and(|waiting| !waiting.is_empty());
        waiting && in_flight < self.caps[&endpoint]
    }

    fn count(&self) -> usize {
        self.waiting.values().map(Vec::len).sum()
    }

    /// Notes who has something to send after the deed at `now`.
    fn note_ready(&mut self, now: usize) {
        for tenant in 0..TENANTS {
            let ready = (0..9).any(|endpoint| tenant_of(endpoint) == tenant && self.may_send(endpoint));
            if ready {
                self.ready_since.entry(tenant).or_insert(now);
            } else {
                self.ready_since.remove(&tenant);
            }
        }
    }

    fn serve(&mut self, taken: &Claimed, now: usize) {
        assert!(self.may_send(taken.endpoint), "the cap is kept");
        let oldest = self.waiting.get_mut(&taken.endpoint).unwrap().remove(0);
        assert_eq!(taken.delivery.n(), oldest, "the oldest first");
        self.in_flight.push(taken.endpoint);
        let tenant = tenant_of(taken.endpoint);
        if let Some(&before) = self.served_at.get(&tenant) {
            for (other, since) in &self.ready_since {
                let served = self.served_at.get(other).is_some_and(|at| *at > before);
                assert!(
                    *since >= before || served || *other == tenant,
                    "every tenant in its turn"
                );
            }
        }
        self.served_at.insert(tenant, now);
    }
}

fn keep(queue: &mut FairQueue, model: &mut Model, deed: Deed, now: usize) {
    let n = i64::try_from(now).unwrap();
    match deed {
        Deed::Push { endpoint, cap } => {
            queue.push(claimed(n, endpoint, Trigger::Event), cap);
            model.caps.insert(endpoint, cap.max(1));
            model.waiting.entry(endpoint).or_default().push(n);
        }
        Deed::PushTest => {
            queue.push(claimed(n, 0, Trigger::Test), 1);
            model.tests.push(n);
        }
        Deed::Next => match queue.next() {
            Some(taken) => model.serve(&taken, now),
            None => assert!(
                (0..9).all(|endpoint| !model.may_send(endpoint)),
                "nobody is forgotten"
            ),
        },
        Deed::Land(which) if !model.in_flight.is_empty() => {
            let endpoint = model.in_flight.remove(which.index(model.in_flight.len()));
            let waiting = model.waiting.get(&endpoint).map_or(0, Vec::len);
            assert_eq!(queue.landed(endpoint), waiting);
        }
        Deed::Remove(which) if model.count() > 0 => {
            let all: Vec<i64> = model.waiting.values().flatten().copied().collect();
            let n = *which.get(&all);
            assert_eq!(queue.remove(n).unwrap().delivery.n(), n);
            assert!(queue.remove(n).is_none());
            model
                .waiting
                .values_mut()
                .for_each(|waiting| waiting.retain(|one| *one != n));
        }
        Deed::Drain => {
            let mut drained: Vec<i64> = queue.drain().iter().map(|one| one.delivery.n()).collect();
            let mut all: Vec<i64> = std::mem::take(&mut model.waiting)
                .into_values()
                .flatten()
                .collect();
            all.append(&mut model.tests);
            drained.sort_unstable();
            all.sort_unstable();
            assert_eq!(drained, all);
        }
        Deed::Land(_) | Deed::Remove(_) => {}
    }
    model.note_ready(now);
}

proptest! {
    #[test]
    fn nothing_is_lost_or_doubled_no_cap_is_exceeded_and_every_tenant_has_its_turn(
        deeds in proptest::collection::vec(deeds(), 0..200)
    ) {
        let (mut queue, mut model) = (FairQueue::default(), Model::default());
        for (now, deed) in deeds.into_iter().enumerate() {
            keep(&mut queue, &mut model, deed, now);
            prop_assert_eq!(queue.claimed(), (model.count(), 3 * model.count()));
            for endpoint in 0..9 {
                prop_assert_eq!(queue.waiting_for(endpoint), model.waiting.get(&endpoint).map_or(0, Vec::len));
            }
        }
        // What is left comes out as fast as it lands, and then nothing is remembered of anybody.
        for now in 1_000..2_000 {
            keep(&mut queue, &mut model, Deed::Next, now);
            while let Some(endpoint) = model.in_flight.pop() {
                queue.landed(endpoint);
            }
        }
        prop_assert_eq!(model.count(), 0);
        let tests: Vec<i64> = std::iter::from_fn(|| queue.next_express()).map(|one| one.delivery.n()).collect();
        prop_assert_eq!(tests, model.tests);
        prop_assert!(queue.endpoints.is_empty() && queue.tenants.is_empty() && queue.ring.is_empty());
    }
}

#[test]
fn the_turn_goes_round_over_tenants_then_over_their_endpoints() {
    let mut queue = FairQueue::default();
    for (n, endpoint) in (0..).zip([0, 0, 0, 3, 3, 1]) {
        queue.push(claimed(n, endpoint, Trigger::Event), 10);
    }
    let order: Vec<i64> = std::iter::from_fn(|| queue.next())
        .map(|one| one.endpoint)
        .collect();
    assert_eq!(order, [0, 1, 3, 0, 3, 0]);
}
