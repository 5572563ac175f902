//! Random walks: publishing, steering, failing, dying in any order; then the world heals, and the books must balance.

use super::seconds;
use std::collections::{HashMap, HashSet};
use stentor_domain::Chance;
use stentor_domain::delivery::{Delivery, State};
use stentor_domain::id::{EndpointId, EventId, ReplayId};
use stentor_domain::stats::{Counts, Latencies};
use stentor_testkit::{EndpointFields, ReplayFields, Reply, SeededChance, World, all_of};

/// Walks, each from a seed of its own.
const WALKS: u64 = 8;
/// Steps of one walk.
const STEPS: usize = 120;
/// Rounds of a day after which everything has ended.
const HEALING_DAYS: usize = 20;
const TENANTS: [&str; 2] = ["acme", "other"];

/// A walk and what it has to remember.
struct Walk {
    chance: SeededChance,
    endpoints: Vec<(EndpointId, String)>,
    events: Vec<EventId>,
    replays: Vec<ReplayId>,
    /// What somebody has tried again by hand, or replayed, which comes after all else.
    again: HashSet<(EndpointId, EventId)>,
    /// Where ordered endpoints are, or were.
    ordered: Vec<(EndpointId, String)>,
    made: usize,
    in_flight: bool,
}

impl Walk {
    fn new(seed: u64) -> Self {
        Self {
            chance: SeededChance::new(seed),
            endpoints: Vec::new(),
            events: Vec::new(),
            replays: Vec::new(),
            again: HashSet::new(),
            ordered: Vec::new(),
            made: 0,
            in_flight: false,
        }
    }

    fn below(&self, most: usize) -> usize {
        usize::try_from(self.chance.up_to(most as u64 - 1)).unwrap()
    }

    fn one<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len().max(1)))
    }

    async fn make_endpoint(&mut self, world: &World) {
        let url = format!("https://receiver.example/{}", self.made);
        let ordered = self.made.is_multiple_of(3);
        let fields = EndpointFields {
            ordered: Some(ordered),
            ..EndpointFields::default()
        };
        let endpoint = world.endpoint_with(TENANTS[self.made % 2], &url, fields).await;
        if ordered {
            self.ordered.push((endpoint, url.clone()));
        }
        self.endpoints.push((endpoint, url));
        self.made += 1;
    }

    async fn a_delivery(&self, world: &World) -> Option<Delivery> {
        let deliveries = world.deliveries(*self.one(&self.events)?).await;
        self.one(&deliveries).cloned()
    }

    async fn land(&mut self, world: &mut World) {
        world.land().await;
        self.in_flight = false;
    }

    /// One step. What is refused is no matter: it is for others to say when it must be.
    async fn step(&mut self, mut world: World) -> World {
        let (endpoint, url) = self.one(&self.endpoints).unwrap().clone();
        match self.below(16) {
            0..=3 => self
                .events
                .push(world.publish(TENANTS[self.below(2)], "{}").await),
            4 => world.pause(endpoint).await,
            5 => world.resume(endpoint).await,
            6 => {
                let answer = [200, 500, 503, 410][self.below(4)];
                world.receivers.script(&url, &[Reply::Status(answer)]);
            }
            7 => {
                if let Some(delivery) = self.a_delivery(&world).await {
                    let id = delivery.id.to_string();
                    drop(world.engine.cancel_delivery(&world.root, &id, None).await);
                }
            }
            8 => {
                if let Some(delivery) = self.a_delivery(&world).await {
                    self.again.insert((delivery.endpoint, delivery.event));
                    let id = delivery.id.to_string();
                    drop(world.engine.retry_delivery(&world.root, &id, None).await);
                }
            }
            9 | 10 if !self.in_flight => {
                world.launch(0).await;
                self.in_flight = true;
            }
            11 if self.below(2) == 0 => {
                world = world.kill_and_restart().await;
                self.in_flight = false;
            }
            12 if self.below(3) == 0 => {
                self.endpoints.retain(|(known, _)| *known != endpoint);
                world.delete(endpoint).await;
                self.make_endpoint(&world).await;
            }
            13 if self.below(2) == 0 => {
                let fields = ReplayFields {
                    missing: self.below(2) == 0,
                    status: (self.below(2) == 0).then(|| "exhausted".into()),
                    ..all_of(endpoint)
                };
                self.replays.extend(world.replay(fields).await.ok());
                let replayed = self.events.iter().map(|event| (endpoint, *event));
                self.again.extend(replayed);
                world.tick_jobs().await;
            }
            14 if self.below(2) == 0 => {
                if let Some(replay) = self.replays.pop() {
                    drop(world.cancel_replay(replay).await);
                }
            }
            // What is in flight stays so for a while.
            _ if self.in_flight && self.below(2) == 0 => {}
            _ => {
                self.land(&mut world).await;
                world.after(seconds(self.chance.up_to(7_200))).await;
            }
        }
        world
    }

    /// Everybody answers well from now on, and time passes.
    async fn heal(&mut self, world: &mut World) {
        self.land(world).await;
        for (endpoint, url) in &self.endpoints {
            world.receivers.script(url, &[Reply::Status(200)]);
            world.resume(*endpoint).await;
        }
        for _ in 0..HEALING_DAYS {
            world.after(seconds(86_400 + 86_400 / 5)).await;
        }
    }
}

/// Every delivery has ended, its attempts are told without a gap, and every request is in the books: those that were
/// recorded, and those that a death broke off. What is counted is what the lists tell.
async fn assert_balanced(world: &World, walk: &Walk, seed: u64) {
    assert_eq!(world.unfinished(), 0, "seed {seed}");
    let mut requests: HashMap<String, usize> = HashMap::new();
    let received = world.receivers.take();
    for (endpoint, url) in &walk.ordered {
        let here = received.iter().filter(|one| one.url == *url);
        assert_in_order(walk, *endpoint, here.map(|one| one.id().to_owned()), seed);
    }
    for one in &received {
        *requests.entry(one.id().to_owned()).or_default() += 1;
    }
    let mut recorded = 0;
    let mut census: HashMap<EndpointId, Counts> = HashMap::new();
    for replay in &walk.replays {
        assert!(world.replay_now(*replay).await.state.finished(), "seed {seed}");
    }
    for event in &walk.events {
        let deliveries = world.deliveries(*event).await;
        let endpoints: HashSet<_> = deliveries.iter().map(|one| one.endpoint).collect();
        assert_eq!(endpoints.len(), deliveries.len(), "seed {seed}");
        for delivery in deliveries {
            let id = delivery.id.to_string();
            let (delivery, attempts) = world.engine.get_delivery(&world.root, &id).await.unwrap();
            let numbers: Vec<u32> = attempts.iter().map(|one| one.attempt.no).collect();
            assert_eq!(
                numbers,
                (1..=delivery.attempts).collect::<Vec<_>>(),
                "seed {seed}"
            );
            assert!(
                delivery.state.finished() && delivery.finished_at.is_some(),
                "seed {seed}"
            );
            if delivery.state == State::Delivered {
                let last = attempts.last().unwrap();
                assert!(last.attempt.outcome.succeeded(), "seed {seed}");
            }
            recorded += attempts.len();
            let counted = census.entry(delivery.endpoint).or_default();
            counted.note(delivery.state, 1);
            let (good, bad): (Vec<_>, Vec<_>) =
                attempts.iter().partition(|one| one.attempt.outcome.succeeded());
            counted.attempts.succeeded += good.len() as u64;
            for one in bad {
                let class = one.attempt.outcome.error_class().unwrap();
                *counted.attempts.failed.entry(class).or_default() += 1;
            }
        }
    }
    for (endpoint, counted) in census {
        let mut told = world.stats(endpoint).await;
        told.attempts.latencies = Latencies::default();
        assert_eq!(told, counted, "seed {seed}");
    }
    assert_eq!(
        received.len(),
        recorded + world.receivers.unanswered(),
        "seed {seed}"
    );
    let published: HashMap<String, ()> = walk.events.iter().map(|event| (event.to_string(), ())).collect();
    assert!(
        requests.keys().all(|id| published.contains_key(id)),
        "seed {seed}"
    );
}

/// An ordered endpoint has got what was neither tried again by hand nor replayed in the order of acceptance, and nothing of one event once it
/// got anything of the next one.
fn assert_in_order(walk: &Walk, endpoint: EndpointId, ids: impl Iterator<Item = String>, seed: u64) {
    let place: HashMap<String, usize> = walk
        .events
        .iter()
        .enumerate()
        .filter(|(_, event)| !walk.again.contains(&(endpoint, **event)))
        .map(|(place, event)| (event.to_string(), place))
        .collect();
    let places: Vec<usize> = ids.filter_map(|id| place.get(&id).copied()).collect();
    assert!(places.is_sorted(), "seed {seed}: {places:?}");
}

/// Nothing of an ordered endpoint waits without a place in its order.
fn assert_placed(world: &World, seed: u64) {
    let without = "SELECT count(*) FROM work WHERE owner IS NULL AND seq IS NULL AND endpoint IN (SELECT endpoint FROM orders)";
    assert_eq!(world.number(without), 0, "seed {seed}");
}

#[tokio::test]
async fn whatever_happens_in_whatever_order_every_delivery_ends_and_every_request_is_in_the_books() {
    for seed in 0..WALKS {
        let mut world = World::new().await;
        let mut walk = Walk::new(seed);
        for tenant in TENANTS {
            world.tenant(tenant).await;
        }
        for _ in 0..4 {
            walk.make_endpoint(&world).await;
        }
        for step in 0..STEPS {
            world = walk.step(world).await;
            if step % 10 == 0 {
                assert_placed(&world, seed);
            }
        }
        walk.heal(&mut world).await;
        assert_balanced(&world, &walk, seed).await;
    }
}
