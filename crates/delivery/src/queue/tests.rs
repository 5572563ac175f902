//! The queue against a plain model of it, under whatever happens in whatever order.

use super::*;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stentor_domain::Timestamp;
use stentor_domain::id::{DeliveryId, EventId, Id};
use stentor_domain::name::EventTypeName;
use stentor_store::Room;
use stentor_store::hot::ClaimedEvent;

const TENANTS: i64 = 3;
/// One at a time.
const ALONE: Share = Share {
    at_once: 1,
    trust: Trust::Answers,
    rests_until: None,
};

/// Where those that answer have all places to themselves.
const NONE: Places = Places {
    unknown: false,
    suspects: false,
};
const BOTH: Places = Places {
    unknown: true,
    suspects: true,
};

/// Something that happens to a queue.
#[derive(Clone, Debug)]
enum Deed {
    Push {
        endpoint: i64,
        share: Share,
        handed_over: bool,
    },
    PushTest,
    /// With these places; its endpoint rests afterwards.
    Next(Places, Option<Duration>),
    Wake(Duration),
    Land(Index, Share),
    Remove(Index),
    Drain,
}

fn deeds() -> impl Strategy<Value = Deed> {
    prop_oneof![
        10 => (0_i64..9, share(), any::<bool>())
            .prop_map(|(endpoint, share, handed_over)| Deed::Push { endpoint, share, handed_over }),
        1 => Just(Deed::PushTest),
        10 => (places(), rest()).prop_map(|(places, rest)| Deed::Next(places, rest)),
        5 => (0_u64..10).prop_map(|until| Deed::Wake(Duration::from_secs(until))),
        5 => (any::<Index>(), share()).prop_map(|(which, share)| Deed::Land(which, share)),
        3 => any::<Index>().prop_map(Deed::Remove),
        1 => Just(Deed::Drain),
    ]
}

fn places() -> impl Strategy<Value = Places> {
    (any::<bool>(), any::<bool>()).prop_map(|(unknown, suspects)| Places { unknown, suspects })
}

fn share() -> impl Strategy<Value = Share> {
    let trust = prop_oneof![Just(Trust::Answers), Just(Trust::Unknown), Just(Trust::Suspect)];
    (0_usize..4, trust, rest()).prop_map(|(at_once, trust, rests_until)| Share {
        at_once,
        trust,
        rests_until,
    })
}

fn rest() -> impl Strategy<Value = Option<Duration>> {
    prop::option::weighted(0.3, (0_u64..10).prop_map(Duration::from_secs))
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
            loops: 0,
            trace: None,
        }),
        endpoint,
        shard: 0,
        attempt: 1,
        failed: 0,
        first_at: None,
        due_at: Timestamp::EPOCH,
        trigger,
        in_order: false,
        room: None,
    }
}

/// What a queue should be, said in the plainest way.
#[derive(Default)]
struct Model {
    waiting: BTreeMap<i64, Vec<i64>>,
    /// Which were handed over, ever.
    handed_over: BTreeSet<i64>,
    tests: Vec<i64>,
    in_flight: Vec<i64>,
    shares: BTreeMap<i64, Share>,
    /// Since which deed each tenant has had something to send in each ring, and at which it was served last there.
    ready_since: BTreeMap<(u8, i64), usize>,
    served_at: BTreeMap<(u8, i64), usize>,
}

/// Which ring an endpoint stands in, as a key.
fn ring(share: Share) -> u8 {
    match share.trust {
        Trust::Answers => 0,
        Trust::Unknown => 1,
        Trust::Suspect => 2,
    }
}

impl Model {
    fn may_send(&self, endpoint: i64) -> bool {
        let in_flight = self.in_flight.iter().filter(|one| **one == endpoint).count();
        let waiting = self
            .waiting
            .get(&endpoint)
            .is_some_and(|waiting| !waiting.is_empty());
        waiting && in_flight < self.shares[&endpoint].at_once.max(1)
    }

    fn rests(&self, endpoint: i64) -> bool {
        self.shares[&endpoint].rests_until.is_some()
    }

    /// Endpoints of a ring that may be sent to.
    fn ready(&self, in_ring: u8) -> impl Iterator<Item = i64> {
        (0..9).filter(move |endpoint| {
            self.may_send(*endpoint) && !self.rests(*endpoint) && ring(self.shares[endpoint]) == in_ring
        })
    }

    fn count(&self) -> usize {
        self.waiting.values().map(Vec::len).sum()
    }

    /// How many of these were claimed, and not handed over.
    fn claimed(&self, waiting: &[i64]) -> usize {
        waiting.iter().filter(|n| !self.handed_over.contains(n)).count()
    }

    fn all_claimed(&self) -> usize {
        self.waiting.values().map(|waiting| self.claimed(waiting)).sum()
    }

    /// How many were handed over, and could be sent now.
    fn handed_over_and_ready(&self) -> usize {
        let waiting = self.ready(0).map(|endpoint| &self.waiting[&endpoint]);
        waiting.map(|waiting| waiting.len() - self.claimed(waiting)).sum()
    }

    fn untrusted(&self) -> usize {
        let untrusted = self
            .waiting
            .iter()
            .filter(|(endpoint, _)| ring(self.shares[endpoint]) > 0);
        untrusted.map(|(_, waiting)| self.claimed(waiting)).sum()
    }

    /// Notes who has something to send after the deed at `now`.
    fn note_ready(&mut self, now: usize) {
        for (ring, tenant) in (0..3).flat_map(|ring| (0..TENANTS).map(move |tenant| (ring, tenant))) {
            if self.ready(ring).any(|endpoint| tenant_of(endpoint) == tenant) {
                self.ready_since.entry((ring, tenant)).or_insert(now);
            } else {
                self.ready_since.remove(&(ring, tenant));
            }
        }
    }

    fn serve(&mut self, taken: &Claimed, now: usize) {
        assert!(self.may_send(taken.endpoint), "the cap is kept");
        assert!(!self.rests(taken.endpoint), "nobody is disturbed");
        let oldest = self.waiting.get_mut(&taken.endpoint).unwrap().remove(0);
        assert_eq!(taken.delivery.n(), oldest, "the oldest first");
        self.in_flight.push(taken.endpoint);
        let (ring, tenant) = (ring(self.shares[&taken.endpoint]), tenant_of(taken.endpoint));
        if let Some(&before) = self.served_at.get(&(ring, tenant)) {
            for (other, since) in self.ready_since.iter().filter(|(other, _)| other.0 == ring) {
                let served = self.served_at.get(other).is_some_and(|at| *at > before);
                assert!(
                    *since >= before || served || other.1 == tenant,
                    "every tenant in its turn"
                );
            }
        }
        self.served_at.insert((ring, tenant), now);
    }
}

fn keep(queue: &mut FairQueue, model: &mut Model, deed: Deed, now: usize) {
    let n = i64::try_from(now).unwrap();
    match deed {
        Deed::Push {
            endpoint,
            share,
            handed_over,
        } => {
            let room = handed_over.then(|| Arc::<Room>::default().take_anyway(endpoint, 3));
            let claimed = claimed(n, endpoint, Trigger::Event);
            queue.push(Claimed { room, ..claimed }, share);
            model.handed_over.extend(handed_over.then_some(n));
            model.shares.insert(endpoint, share);
            model.waiting.entry(endpoint).or_default().push(n);
        }
        Deed::PushTest => {
            queue.push(claimed(n, 0, Trigger::Test), ALONE);
            model.tests.push(n);
        }
        Deed::Wake(until) => {
            queue.wake(until);
            for endpoint in 0..9 {
                if model.may_send(endpoint) && model.shares[&endpoint].rests_until <= Some(until) {
                    model.shares.get_mut(&endpoint).unwrap().rests_until = None;
                }
            }
        }
        Deed::Next(places, rest) => {
            let answering = model.ready(0).count() > 0;
            let unknown = places.unknown && model.ready(1).count() > 0;
            let suspects = places.suspects && model.ready(2).count() > 0;
            match queue.next(places, |_| rest) {
                Some((taken, is_untrusted)) => {
                    let ring = ring(model.shares[&taken.endpoint]);
                    assert_eq!(is_untrusted, ring > 0);
                    assert!(ring != 1 || unknown, "no place for the unknown");
                    assert!(ring != 2 || suspects, "no place for suspects");
                    assert_eq!(
                        is_untrusted,
                        unknown || suspects,
                        "the untrusted first, where they may"
                    );
                    model.serve(&taken, now);
                    model.shares.get_mut(&taken.endpoint).unwrap().rests_until = rest;
                }
                None => assert!(!(answering || unknown || suspects), "nobody is forgotten"),
            }
        }
        Deed::Land(which, share) if !model.in_flight.is_empty() => {
            let endpoint = model.in_flight.remove(which.index(model.in_flight.len()));
            let waiting = model.waiting.get(&endpoint).map_or(0, Vec::len);
            model.shares.insert(endpoint, share);
            assert_eq!(queue.landed(endpoint, share), waiting);
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
        Deed::Land(..) | Deed::Remove(_) => {}
    }
    model.note_ready(now);
}

proptest! {
    #[test]
    fn nothing_is_lost_or_doubled_no_cap_is_exceeded_and_every_tenant_has_its_turn(
        deeds in proptest::collection::vec(deeds(), 0..200)
    ) {
        let backpressure = Arc::<Backpressure>::default();
        let (mut queue, mut model) = (FairQueue::new(Arc::clone(&backpressure)), Model::default());
        for (now, deed) in deeds.into_iter().enumerate() {
            keep(&mut queue, &mut model, deed, now);
            let resting = (0..9).filter(|endpoint| model.may_send(*endpoint)).filter_map(|endpoint| model.shares[&endpoint].rests_until);
            prop_assert_eq!(queue.next_wake(), resting.min());
            prop_assert_eq!(queue.len(), model.count());
            prop_assert_eq!(queue.claimed(), (model.all_claimed(), 3 * model.all_claimed()));
            prop_assert_eq!(backpressure.ready(), model.handed_over_and_ready());
            prop_assert_eq!(queue.claimed_untrusted(), model.untrusted());
            for endpoint in 0..9 {
                prop_assert_eq!(queue.waiting_for(endpoint), model.waiting.get(&endpoint).map_or(0, Vec::len));
            }
        }
        // What is left comes out as fast as it lands, and then nothing is remembered of anybody.
        for now in 1_000..2_000 {
            keep(&mut queue, &mut model, Deed::Wake(Duration::MAX), now);
            keep(&mut queue, &mut model, Deed::Next(BOTH, None), now);
            while let Some(endpoint) = model.in_flight.pop() {
                queue.landed(endpoint, model.shares[&endpoint]);
            }
        }
        prop_assert_eq!(model.count(), 0);
        let tests: Vec<i64> = std::iter::from_fn(|| queue.next_express()).map(|one| one.delivery.n()).collect();
        prop_assert_eq!(tests, model.tests);
        prop_assert!(queue.endpoints.is_empty() && queue.resting.is_empty());
        for ring in [&queue.answering, &queue.unknown, &queue.suspects] {
            prop_assert!(ring.tenants.is_empty() && ring.order.is_empty());
        }
    }
}

#[test]
fn the_turn_goes_round_over_tenants_then_over_their_endpoints() {
    let mut queue = FairQueue::default();
    for (n, endpoint) in (0..).zip([0, 0, 0, 3, 3, 1]) {
        queue.push(claimed(n, endpoint, Trigger::Event), with(10, Trust::Answers));
    }
    assert_eq!(all(&mut queue, NONE), [0, 1, 3, 0, 3, 0]);
}

#[test]
fn those_that_do_not_answer_take_turns_with_those_not_asked_yet_and_wait_where_there_is_no_place_for_them() {
    let mut queue = FairQueue::default();
    for (n, endpoint) in (0..).zip([0, 1, 2, 4, 5]) {
        let trust = match endpoint {
            0 => Trust::Answers,
            4 | 5 => Trust::Unknown,
            _ => Trust::Suspect,
        };
        queue.push(claimed(n, endpoint, Trigger::Event), with(1, trust));
    }
    assert_eq!(all(&mut queue, NONE), [0]);
    let one =
        |queue: &mut FairQueue, places| queue.next(places, |_| None).map(|(claimed, _)| claimed.endpoint);
    let (unknown, suspects) = (
        Places {
            suspects: false,
            ..BOTH
        },
        Places {
            unknown: false,
            ..BOTH
        },
    );
    assert_eq!(one(&mut queue, unknown), Some(4));
    assert_eq!(all(&mut queue, BOTH), [1, 5, 2]);
    assert_eq!(one(&mut queue, suspects), None);
}

fn with(at_once: usize, trust: Trust) -> Share {
    Share {
        at_once,
        trust,
        rests_until: None,
    }
}

/// The endpoints of all that may be sent, in order.
fn all(queue: &mut FairQueue, places: Places) -> Vec<i64> {
    let taken = std::iter::from_fn(|| queue.next(places, |_| None));
    taken.map(|(claimed, _)| claimed.endpoint).collect()
}
