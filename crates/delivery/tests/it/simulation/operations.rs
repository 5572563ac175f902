//! What people do: they publish, steer deliveries, replay and erase. What is refused is no matter: it is for others to say when
//! it must be.

use super::known::{Event, Pair, Run};
use super::wishes::{CHANNELS, NUMBERS, TYPES};
use std::collections::HashSet;
use stentor_domain::delivery::Delivery;
use stentor_domain::id::{EndpointId, EventId, Id};
use stentor_testkit::{Publication, ReplayFields, World, all_of, order_paid};

/// Events of one batch.
const BATCH_MAX: usize = 5;

impl Run {
    /// One operation.
    pub(super) async fn step(&mut self, mut world: World) -> World {
        match self.below(100) {
            0..=19 => self.publish(&world).await,
            20..=28 => self.change_behaviour(&world),
            29 | 30 => self.change_host(&world),
            31..=33 => self.pause(&world).await,
            34..=39 => self.resume(&world).await,
            40..=43 => self.change_endpoint(&world).await,
            44..=46 => self.rotate(&world).await,
            47 => self.delete_endpoint(&world).await,
            48 if self.once_in(2) => self.delete_tenant(&world).await,
            49..=51 => self.cancel(&world).await,
            52..=54 => self.retry(&world).await,
            55 | 56 => self.replay(&world).await,
            57 => self.cancel_replay(&world).await,
            58 => self.erase(&world).await,
            59 => self.publish_in_vain(&world).await,
            60 | 61 if !self.deaf => self.test(&mut world).await,
            62..=64 => self.work(&world).await,
            65..=71 => self.launch(&mut world).await,
            72..=76 => self.land(&mut world).await,
            77 => world = self.die(world).await,
            78 => world = self.die_while_starting(world).await,
            79 => world = self.die_while_recording(world).await,
            80 => world = self.stop(world).await,
            81 => world = self.run_and_stop(world).await,
            82 => self.lose_handover(&mut world).await,
            83..=87 => self.pass_by_moments(&mut world).await,
            88 => self.pass_by_days(&mut world).await,
            _ => self.pass(&mut world).await,
        }
        world
    }

    fn draw_publication(&mut self) -> (Event, Publication) {
        let tenant = self.pick(&self.tenants);
        self.made += 1;
        let (number, mark) = (self.below(NUMBERS), format!("m{}e", self.made));
        let payload = format!(r#"{{"n":{number},"mark":"{mark}"}}"#);
        let event_type = self.pick(&TYPES);
        let channels: Vec<String> = (0..self.below(2))
            .map(|_| self.pick(&CHANNELS).to_owned())
            .collect();
        let own_id = self.once_in(3).then(|| format!("own-{}", self.made));
        let publication = Publication {
            event_type: event_type.into(),
            channels: channels.clone(),
            event_id: own_id.clone(),
            ..order_paid(&tenant, &payload)
        };
        let event = Event {
            // The true one comes with the answer.
            id: EventId(Id { n: 0, tag: 0 }),
            wanted: HashSet::new(),
            erased: false,
            tenant,
            payload,
            mark,
            event_type,
            channels,
            own_id,
            number,
        };
        (event, publication)
    }

    /// Publishes a batch, and sometimes an event that was published before.
    pub(super) async fn publish(&mut self, world: &World) {
        let count = 1 + self.below(BATCH_MAX);
        let (mut events, batch): (Vec<_>, Vec<_>) = (0..count).map(|_| self.draw_publication()).unzip();
        let published = world.publish_all(batch).await.unwrap();
        self.note(format!("{count} are published"));
        for (event, published) in events.iter_mut().zip(published) {
            event.id = published.id;
            event.wanted = self.who_wants(world, event);
            assert!(!published.existing);
            assert_eq!(
                published.deliveries as usize,
                event.wanted.len(),
                "{}",
                event.payload
            );
        }
        for event in events {
            self.places.insert(event.id.to_string(), self.events.len());
            self.events.push(event);
        }
        if self.once_in(4) {
            self.publish_again(world).await;
        }
    }

    /// The endpoints that want an event that is published now.
    fn who_wants(&self, world: &World, event: &Event) -> HashSet<EndpointId> {
        let there = self
            .sites
            .iter()
            .filter(|site| !site.deleted && site.tenant == event.tenant);
        there
            .filter(|site| site.wishes.want(event.event_type, &event.channels, event.number))
            .filter(|site| {
                let configured = world.store.config().endpoint(site.id.n()).unwrap();
                configured.endpoint.status.matches_events()
            })
            .map(|site| site.id)
            .collect()
    }

    /// Publishes once more under a producer's own id: the same, which answers the first; or another, which is refused.
    async fn publish_again(&mut self, world: &World) {
        let with_id = |event: &&Event| event.own_id.is_some() && self.tenants.contains(&event.tenant);
        let Some(event) = self.events.iter().rev().find(with_id) else {
            return;
        };
        let same = Publication {
            event_type: event.event_type.into(),
            channels: event.channels.clone(),
            event_id: event.own_id.clone(),
            ..order_paid(&event.tenant, &event.payload)
        };
        let other = Publication {
            payload: "{}".into(),
            ..same.clone()
        };
        let again = world.publish_all(vec![same]).await.unwrap();
        assert!(again[0].existing && again[0].id == event.id, "{again:?}");
        let refused = world.publish_all(vec![other]).await;
        assert!(refused.is_err(), "{refused:?}");
    }

    /// Publishes while the database takes no events: nobody hears that they were accepted, and none is.
    async fn publish_in_vain(&mut self, world: &World) {
        let (_, publication) = self.draw_publication();
        self.note("nothing can be published");
        world.database().refuse_rows("events");
        let refused = world.publish_all(vec![publication]).await;
        world.database().take_rows("events");
        assert!(refused.is_err(), "{refused:?}");
    }

    /// One of the latest, or one that is in flight.
    async fn a_delivery(&self, world: &World) -> Option<Delivery> {
        let open = world.receivers.open_now();
        if !open.is_empty() && self.once_in(2) {
            let (endpoint, event) = self.pair_of(&self.pick(&open))?;
            let deliveries = world.deliveries(event).await;
            return deliveries.into_iter().find(|one| one.endpoint == endpoint);
        }
        let latest = self.events.len().checked_sub(1 + self.below(10))?;
        let deliveries = world.deliveries(self.events[latest].id).await;
        (!deliveries.is_empty()).then(|| self.pick(&deliveries))
    }

    async fn cancel(&mut self, world: &World) {
        if let Some(delivery) = self.a_delivery(world).await {
            self.note(format!("{} is cancelled", delivery.id));
            let (pair, id) = ((delivery.endpoint, delivery.event), delivery.id.to_string());
            self.cancelled.insert(pair);
            let cancelled = world.engine.cancel_delivery(&world.root, &id, None).await;
            // A replay that goes on may take it up.
            if cancelled.is_ok() && !self.again.contains(&pair) {
                self.ended.insert(pair);
            }
        }
    }

    async fn retry(&mut self, world: &World) {
        if let Some(delivery) = self.a_delivery(world).await {
            self.note(format!("{} is tried again", delivery.id));
            self.take_up([(delivery.endpoint, delivery.event)]);
            let id = delivery.id.to_string();
            drop(world.engine.retry_delivery(&world.root, &id, None).await);
        }
    }

    async fn replay(&mut self, world: &World) {
        let at = self.a_site();
        let endpoint = self.sites[at].id;
        let fields = ReplayFields {
            status: self
                .pick(&[None, Some("exhausted"), Some("cancelled"), Some("delivered")])
                .map(str::to_owned),
            missing: self.once_in(2),
            event_type: self.once_in(3).then(|| self.pick(&TYPES).into()),
            ..all_of(endpoint)
        };
        self.note(format!("{} gets a replay: {fields:?}", self.sites[at].url()));
        let Ok(replay) = world.replay(fields).await else {
            return;
        };
        self.replays.push(replay);
        let tenant = &self.sites[at].tenant;
        let all = self.events.iter().filter(|event| event.tenant == *tenant);
        let replayed: Vec<Pair> = all.map(|event| (endpoint, event.id)).collect();
        self.take_up(replayed);
    }

    async fn cancel_replay(&mut self, world: &World) {
        if let Some(replay) = self.replays.last().copied() {
            self.note("the last replay is cancelled");
            // What it brought ends as if somebody had cancelled each.
            self.cancelled.extend(self.again.iter());
            drop(world.cancel_replay(replay).await);
        }
    }

    async fn erase(&mut self, world: &World) {
        if self.once_in(3) {
            let tenant = self.pick(&self.tenants);
            self.note(format!("the content of {tenant} is erased"));
            world.erase_all_of(&tenant).await;
            let all = self.events.iter_mut().filter(|event| event.tenant == tenant);
            all.for_each(|event| event.erased = true);
        } else if !self.events.is_empty() {
            let at = self.below(self.events.len());
            let id = self.events[at].id.to_string();
            self.note(format!("the content of {id} is erased"));
            // It may be gone altogether, for its age or with its tenant.
            if world.engine.erase_event_content(&world.root, &id).await.is_ok() {
                self.events[at].erased = true;
            }
        }
    }

    /// A test, which is sent whatever the endpoint's status is. Its caller waits for it, and cannot let time pass.
    async fn test(&mut self, world: &mut World) {
        self.land(world).await;
        let at = self.a_site();
        self.note(format!("{} is tested", self.sites[at].url()));
        let tested = world.test(self.sites[at].id).await.unwrap();
        let id = tested.delivery.to_string();
        let (delivery, _) = world.engine.get_delivery(&world.root, &id).await.unwrap();
        self.tests.insert(delivery.event.to_string());
    }

    /// The background does a slice of each kind of its work.
    async fn work(&mut self, world: &World) {
        self.note("the background works");
        world.tick_jobs().await;
    }
}
