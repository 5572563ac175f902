//! Stores that are opened, and the words of the hot path said by hand.

use std::sync::Arc;
use std::time::Duration;
use stentor_domain::attempt::{Attempt, Exchange, Outcome};
use stentor_domain::delivery::Delivery;
use stentor_domain::id::{AuditId, DeliveryId, EndpointId, EventId, TenantId};
use stentor_domain::judge::Effect;
use stentor_domain::key::{Actor, Scope};
use stentor_domain::name::EventTypeName;
use stentor_domain::{Clock, Timestamp};
use stentor_store::change::By;
use stentor_store::config::EndpointConfig;
use stentor_store::hot::{Accept, Accepted, Claim, Claimed, ClaimedDue, Finish, NewDelivery, NewEvent, Next};
use stentor_store::{Database, Fresh, MasterKey, MasterKeys, Options, Purpose, Recorded, Result, Store};
use stentor_testkit::{SeededChance, StepClock, World};

pub(crate) const URL: &str = "https://receiver.example/hook";

/// Opens a store with this master key.
pub(crate) async fn open(database: Database, key: u8, clock: Arc<dyn Clock>) -> Result<(Store, Fresh)> {
    Store::open(Options {
        database,
        purpose: Purpose::Run,
        master: MasterKeys::new(MasterKey::new([key; 32]), vec![]),
        clock,
        chance: Arc::new(SeededChance::default()),
    })
    .await
}

/// A clock that stands still.
pub(crate) fn still() -> Arc<dyn Clock> {
    Arc::new(StepClock::default())
}

/// A whole Stentor, of which only the store is asked: tenant `acme` has one endpoint.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) endpoint: EndpointId,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let world = World::new().await;
        world.tenant("acme").await;
        let endpoint = world.endpoint("acme", URL).await;
        Self { world, endpoint }
    }

    /// The same without anybody who takes what is handed over: everything waits in the store.
    pub(crate) async fn unattended() -> Self {
        let mut scene = Self::new().await;
        scene.world.drop_fresh().await;
        scene
    }

    pub(crate) fn store(&self) -> &Store {
        &self.world.store
    }

    pub(crate) fn configured(&self) -> Arc<EndpointConfig> {
        self.store().config().endpoint(self.endpoint.n()).unwrap()
    }

    pub(crate) fn tenant(&self) -> TenantId {
        self.configured().endpoint.tenant
    }

    pub(crate) fn by(&self) -> By {
        By {
            actor: Actor::SERVER,
            at: self.world.now(),
            audit: AuditId(self.store().next_id()),
        }
    }

    /// An event for the endpoint, matched against the configuration as it is now.
    pub(crate) fn event(&self, payload: &str) -> NewEvent {
        let tenant = self.store().config().tenant(self.tenant()).unwrap();
        NewEvent {
            id: EventId(self.store().next_id()),
            tenant: tenant.id,
            tenant_version: tenant.version,
            event_type: EventTypeName::parse("order.paid").unwrap(),
            payload: payload.to_owned().into(),
            channels: Default::default(),
            event_id: None,
            occurred_at: None,
            accepted_at: self.world.now(),
            deliveries: vec![NewDelivery {
                id: DeliveryId(self.store().next_id()),
                endpoint: self.endpoint.n(),
                shard: self.configured().shard,
            }],
            matched: 1,
            trigger: stentor_domain::attempt::Trigger::Event,
            loops: 0,
            trace: None,
        }
    }

    pub(crate) async fn accept(&self, events: Vec<NewEvent>) -> Result<Accepted> {
        self.store()
            .accept_events(Accept {
                events,
                once: None,
                known: vec![],
            })
            .await
    }

    /// Accepts an event that is due from now on, and tells its delivery.
    pub(crate) async fn accepted(&self, payload: &str) -> DeliveryId {
        let event = self.event(payload);
        let delivery = event.deliveries[0].id;
        assert!(matches!(
            self.accept(vec![event]).await.unwrap(),
            Accepted::Written { .. }
        ));
        delivery
    }

    /// The delivery as anybody sees it.
    pub(crate) async fn see(&self, delivery: DeliveryId) -> Delivery {
        let found = self.store().delivery(Scope::Root, delivery).await;
        found.unwrap().unwrap()
    }

    pub(crate) async fn claim(&self, limit: u32) -> ClaimedDue {
        let claim = Claim {
            endpoint: self.endpoint.n(),
            shard: self.configured().shard,
            now: self.world.now(),
            limit,
            in_order: self.configured().endpoint.settings.ordered,
        };
        self.store().claim_due(claim).await.unwrap()
    }

    /// Records an attempt that was answered so; a failure is tried again a minute later.
    pub(crate) async fn finish(&self, claimed: &Claimed, status: u16) -> Recorded {
        let now = self.world.now();
        let (next, effect) = if status == 200 {
            (Next::Delivered, Effect::Succeeded)
        } else {
            let retry = Next::Retry {
                due_at: now.plus(Duration::from_secs(60)),
                failed: claimed.failed + 1,
                first_at: claimed.first_at.or(Some(now)),
            };
            (retry, Effect::Failed { pause: None })
        };
        // It may be deleted by now: whoever made the attempt knew it.
        let configured = self.store().config().endpoint(claimed.endpoint);
        let finish = Finish {
            delivery: claimed.delivery,
            event: claimed.event.id.n(),
            endpoint: claimed.endpoint,
            endpoint_version: configured.map_or(0, |configured| configured.version),
            shard: claimed.shard,
            tenant: claimed.event.tenant,
            attempt: Attempt {
                no: claimed.attempt,
                trigger: claimed.trigger,
                started_at: now,
                outcome: Outcome::Answered(status),
                exchange: Exchange::default(),
            },
            next,
            effect,
            patience: None,
            ended_at: now,
        };
        self.store().finish_attempt(finish).await.unwrap()
    }

    /// Answers a question about the database in one number.
    pub(crate) fn number(&self, question: &str) -> i64 {
        self.world.number(question)
    }
}

/// When the deliveries of a claim were due.
pub(crate) fn due_times(due: &ClaimedDue) -> Vec<Timestamp> {
    due.deliveries.iter().map(|one| one.due_at).collect()
}
