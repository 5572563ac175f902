//! What holds of what is written down: of the tables at any moment, and of every delivery in the end.

use super::known::{Event, Requests, Run};
use super::times::is_broken_off;
use std::collections::{HashMap, HashSet};
use stentor_delivery::dispatch::InMemory;
use stentor_domain::delivery::{Delivery, Reason, State};
use stentor_domain::id::EndpointId;
use stentor_domain::stats::{Counts, Latencies};
use stentor_engine::Error;
use stentor_store::deliveries::KeptAttempt;
use stentor_testkit::{TestDatabase, World};

/// What the lists tell of each endpoint's deliveries, to be compared with what is counted of them.
type Census = HashMap<EndpointId, Counts>;

/// Rows that must never be there, however the tables are looked at.
const NEVER: [(&str, &str); 9] = [
    (
        "a delivery that is both unfinished and finished",
        "SELECT count(*) FROM work w JOIN deliveries d ON d.n = w.n",
    ),
    (
        "an unfinished delivery without its event",
        "SELECT count(*) FROM work w WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.n = w.event)",
    ),
    (
        "an attempt without its delivery",
        "SELECT count(*) FROM attempts a WHERE NOT EXISTS (SELECT 1 FROM work w WHERE w.n = a.delivery)
         AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.n = a.delivery)",
    ),
    (
        "an endpoint's second delivery of an event",
        "SELECT count(*) FROM (SELECT 1 FROM (SELECT event, endpoint FROM work UNION ALL
         SELECT event, endpoint FROM deliveries) b GROUP BY event, endpoint HAVING count(*) > 1) c",
    ),
    (
        "an unfinished delivery whose attempts have gaps",
        "SELECT count(*) FROM work w WHERE attempt - 1 <> (SELECT count(*) FROM attempts a WHERE a.delivery = w.n)",
    ),
    (
        "a waiting delivery of an ordered endpoint without a place",
        "SELECT count(*) FROM work WHERE owner IS NULL AND seq IS NULL AND endpoint IN
         (SELECT n FROM endpoints WHERE ordered = 1 AND deleted_at IS NULL)",
    ),
    (
        "a place in an order that two deliveries have",
        "SELECT count(*) FROM (SELECT 1 FROM work WHERE seq IS NOT NULL GROUP BY endpoint, seq HAVING count(*) > 1) s",
    ),
    (
        "a finished delivery with a reason that its state does not have",
        "SELECT count(*) FROM deliveries WHERE
         (state = 'delivered') <> (reason IS NULL) OR state NOT IN ('delivered', 'exhausted', 'cancelled')",
    ),
    (
        "an endpoint with a health that cannot be",
        "SELECT count(*) FROM endpoint_health WHERE consecutive_failures < unanswered OR unanswered < 0
         OR (consecutive_failures = 0) <> (failing_since IS NULL)
         OR (parked_until IS NOT NULL AND at_once IS NOT NULL)
         OR (parked_until IS NOT NULL AND breaker_wait + throttle_wait = 0)
         OR breaker_wait > 600 OR throttle_wait > 86400 OR at_once < 1
         OR NOT EXISTS (SELECT 1 FROM endpoints e WHERE e.n = endpoint)",
    ),
];

/// The same of the lists beside the tables. What has expired leaves them a little later than its table.
const NEVER_ON_SQLITE: [(&str, &str); 5] = [
    (
        "a listed delivery without its row",
        "SELECT count(*) FROM listed_deliveries l WHERE n >= (SELECT deliveries_below FROM retention)
         AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.n = l.n AND d.endpoint = l.endpoint)",
    ),
    (
        "a listed event without its row",
        "SELECT count(*) FROM listed_events l
         WHERE n >= (SELECT min(payloads_below, deliveries_below) FROM retention)
         AND NOT EXISTS (SELECT 1 FROM events e WHERE e.n = l.n AND e.tenant = l.tenant)",
    ),
    (
        "a delivery that is not in its list",
        "SELECT count(*) FROM deliveries d WHERE n <= (SELECT deliveries FROM listed)
         AND NOT EXISTS (SELECT 1 FROM listed_deliveries l WHERE l.endpoint = d.endpoint AND l.n = d.n)",
    ),
    (
        "an event that is not in its list",
        "SELECT count(*) FROM events e WHERE n <= (SELECT events FROM listed)
         AND NOT EXISTS (SELECT 1 FROM listed_events l WHERE l.tenant = e.tenant AND l.n = e.n)",
    ),
    (
        "a key in a list that is above what is listed",
        "SELECT count(*) FROM listed WHERE events < (SELECT max(n) FROM listed_events)
         OR deliveries < (SELECT max(n) FROM listed_deliveries)",
    ),
];

/// Rows that are not there once everything has ended.
const NEVER_AT_REST: [(&str, &str); 4] = [
    ("something unfinished", "SELECT count(*) FROM work"),
    ("a fan-out", "SELECT count(*) FROM fanout"),
    ("an erasure", "SELECT count(*) FROM erasures"),
    (
        "an endpoint that was deleted and not swept",
        "SELECT count(*) FROM endpoints WHERE deleted_at IS NOT NULL AND swept_at IS NULL",
    ),
];

impl Run {
    /// Looks at the tables from outside.
    pub(super) fn audit(&self, world: &World) {
        assert_none(world, &NEVER);
        if !TestDatabase::engine_is_postgres() {
            assert_none(world, &NEVER_ON_SQLITE);
        }
    }

    /// What holds once the world has healed and everything has ended.
    pub(super) async fn close_books(&self, world: &World) {
        assert_none(world, &NEVER_AT_REST);
        assert_eq!(
            world.in_memory(),
            InMemory::default(),
            "nothing is left in memory"
        );
        let most = self.in_flight_max + usize::from(!self.tests.is_empty());
        assert!(world.receivers.open_most() <= most, "in flight altogether");
        for replay in &self.replays {
            let replay = world.replay_if_kept(*replay).await;
            assert!(replay.is_none_or(|replay| replay.state.finished()));
        }
        let (mut there, mut census) = (0, Census::new());
        for event in &self.events {
            there += usize::from(self.close_event(world, event, &mut census).await);
        }
        if self.keeps_for_ever {
            for (endpoint, listed) in census {
                let mut counted = world.stats(endpoint).await;
                // Of the attempts' durations the lists say no more than their number.
                counted.attempts.latencies = Latencies::default();
                assert_eq!(counted, listed, "what is counted of {endpoint}");
            }
            assert_eq!(there, self.events.len());
            let stored = world.number("SELECT count(*) FROM events");
            assert_eq!(
                stored,
                i64::try_from(there + self.tests.len()).unwrap(),
                "and no others"
            );
        }
    }

    /// Tells whether the event is still kept.
    async fn close_event(&self, world: &World, event: &Event, census: &mut Census) -> bool {
        let deliveries = world.deliveries(event.id).await;
        let endpoints: HashSet<EndpointId> = deliveries.iter().map(|one| one.endpoint).collect();
        let what = event.id.to_string();
        if self.keeps_for_ever {
            let lost: Vec<_> = event.wanted.difference(&endpoints).collect();
            assert!(lost.is_empty(), "{what} is lost at {lost:?}");
        } else if deliveries.is_empty() {
            return false;
        }
        for delivery in deliveries {
            let pair = (delivery.endpoint, event.id);
            assert!(event.wanted.contains(&delivery.endpoint) || self.again.contains(&pair));
            self.close_delivery(world, event, &delivery, census).await;
        }
        true
    }

    async fn close_delivery(&self, world: &World, event: &Event, delivery: &Delivery, census: &mut Census) {
        let id = delivery.id.to_string();
        let (delivery, attempts) = match world.engine.get_delivery(&world.root, &id).await {
            Err(Error::NotFound(_)) if !self.keeps_for_ever => return,
            found => found.unwrap(),
        };
        take_census(census, &delivery, &attempts);
        let what = format!("{id} of {}", event.id);
        let numbers: Vec<u32> = attempts.iter().map(|one| one.attempt.no).collect();
        assert_eq!(numbers, (1..=delivery.attempts).collect::<Vec<_>>(), "{what}");
        assert!(
            delivery.state.finished() && delivery.finished_at.is_some(),
            "{what}: {delivery:?}"
        );
        let last = attempts.last();
        let succeeded = last.is_some_and(|last| last.attempt.outcome.succeeded());
        assert!(delivery.state != State::Delivered || succeeded, "{what}");
        assert!(self.explains(event, &delivery), "{what}: {delivery:?}");

        let none = Requests::default();
        let requests = self.requests.get(&(delivery.endpoint, event.id)).unwrap_or(&none);
        let classes = attempts.iter().map(|one| one.attempt.outcome.error_class());
        // A stop may break off an attempt before its request, or after.
        let broken_off = classes.filter(|class| is_broken_off(*class)).count();
        let told = attempts.len();
        let came = requests.came - requests.lost;
        assert!(
            came.saturating_sub(requests.doubtful) <= told && told <= came + broken_off,
            "{what}: {told} attempts in the books, {} requests, of which {} were lost and {} are in doubt",
            requests.came,
            requests.lost,
            requests.doubtful
        );
        if broken_off == 0 && requests.doubtful == 0 {
            assert_eq!(told, came, "{what}");
        }
    }

    /// Did something happen that explains how a delivery has ended?
    fn explains(&self, event: &Event, delivery: &Delivery) -> bool {
        let pair = (delivery.endpoint, event.id);
        let site = self
            .sites
            .iter()
            .find(|site| site.id == delivery.endpoint)
            .unwrap();
        match (delivery.state, delivery.reason) {
            (State::Delivered, None) | (State::Exhausted, Some(Reason::ScheduleEnded)) => true,
            (State::Cancelled, Some(Reason::Requested)) => self.cancelled.contains(&pair),
            (State::Cancelled, Some(Reason::EndpointDeleted)) => site.deleted,
            (State::Cancelled, Some(Reason::TenantDeleted)) => self.gone_tenants.contains(&event.tenant),
            (State::Cancelled, Some(Reason::PayloadExpired)) => event.erased || self.payloads_expire,
            _ => false,
        }
    }
}

fn take_census(census: &mut Census, delivery: &Delivery, attempts: &[KeptAttempt]) {
    let listed = census.entry(delivery.endpoint).or_default();
    listed.note(delivery.state, 1);
    for outcome in attempts.iter().map(|one| one.attempt.outcome) {
        match outcome.error_class() {
            None => listed.attempts.succeeded += 1,
            Some(class) => *listed.attempts.failed.entry(class).or_default() += 1,
        }
    }
}

fn assert_none(world: &World, rows: &[(&str, &str)]) {
    // One question for all: each takes a connection of its own.
    let counts: Vec<String> = rows.iter().map(|(_, question)| format!("({question})")).collect();
    if world.number(&format!("SELECT {}", counts.join(" + "))) == 0 {
        return;
    }
    for (what, question) in rows {
        assert_eq!(world.number(question), 0, "{what}");
    }
}
