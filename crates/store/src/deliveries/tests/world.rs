//! A store with a few tenants, and the ways to bring a delivery into each state.

use crate::change::By;
use crate::fresh::{Fresh, Handover};
use crate::hot::{Accept, Accepted, Claim, Claimed, Finish, NewDelivery, NewEvent, Next, Release};
use crate::tx::values;
use crate::{Database, MasterKey, MasterKeys, Options, PostgresAddress, Purpose, Store, migrate};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::attempt::{Answer, Attempt, ErrorClass, Exchange, Outcome, Timing, Trigger};
use stentor_domain::delivery::Delivery;
use stentor_domain::id::{AuditId, DeliveryId, EndpointId, EventId, Id, ProjectId, TenantId};
use stentor_domain::judge::Effect;
use stentor_domain::key::{Actor, Scope};
use stentor_domain::name::EventTypeName;
use stentor_testkit::{Place, SeededChance, StepClock, TestDatabase};

const SHARD: u16 = 3;
const VERSION: i64 = 1;

/// A delivery that was published, and its event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Published {
    pub(super) event: EventId,
    pub(super) delivery: DeliveryId,
    pub(super) endpoint: i64,
}

pub(super) struct World {
    pub(super) store: Store,
    pub(super) clock: Arc<StepClock>,
    /// Kept for as long as deliveries are to be handed over.
    pub(super) fresh: Option<Fresh>,
    pub(super) database: TestDatabase,
}

fn id(n: i64) -> Id {
    Id { n, tag: 1_000 + n }
}

pub(super) fn tenant(n: i64) -> TenantId {
    TenantId(id(n))
}

pub(super) fn endpoint(n: i64) -> EndpointId {
    EndpointId(id(n))
}

/// The scope of a tenant of project 1.
pub(super) fn only(n: i64) -> Scope {
    Scope::Tenant(ProjectId(id(1)), tenant(n))
}

pub(super) fn project(n: i64) -> Scope {
    Scope::Project(ProjectId(id(n)))
}

/// Where the database is, in this crate's own words.
fn location(database: &TestDatabase) -> Database {
    match database.place() {
        Place::File(path) => Database::File(path),
        Place::Url(url) => Database::Postgres(PostgresAddress::parse(url).unwrap()),
    }
}

impl World {
    /// Projects 1 and 2; tenant 11 with endpoints 111 and 112, tenant 12 with 121, both of project 1; tenant 21 with 211
    /// of project 2. Nobody listens for what is fresh, so that deliveries wait in the store.
    pub(super) async fn new() -> Self {
        let mut world = Self::listening().await;
        world.fresh = None;
        world
    }

    /// The same with somebody who listens: deliveries are handed over with this node as their owner.
    pub(super) async fn listening() -> Self {
        let database = TestDatabase::new();
        migrate(&location(&database)).await.unwrap();
        for n in [1, 2] {
            database.execute(&format!(
                "INSERT INTO projects (n, tag, name, created_at, updated_at, config_version)
                 VALUES ({n}, 1000 + {n}, 'p{n}', 0, 0, 1)"
            ));
        }
        for n in [11, 12, 21] {
            database.execute(&format!(
                "INSERT INTO tenants (n, tag, project, name, created_at, updated_at, config_version)
                 VALUES ({n}, 1000 + {n}, {n} / 10, 't', 0, 0, 1)"
            ));
        }
        for n in [111, 112, 121, 211] {
            database.execute(&format!(
                "INSERT INTO endpoints (n, tag, tenant, project, number, shard, name, url, events, timeout_seconds,
                                        retry_schedule, created_at, updated_at, config_version)
                 VALUES ({n}, 1000 + {n}, {n} / 10, {n} / 100, {n} % 10, {SHARD}, 'e', 'http://127.0.0.1:1/', '*', 10,
                         '5', 0, 0, 1)"
            ));
        }
        database.execute("UPDATE config_clock SET seq = 1");
        Self::open(database, Arc::new(StepClock::default())).await
    }

    async fn open(database: TestDatabase, clock: Arc<StepClock>) -> Self {
        let (store, fresh) = Store::open(Options {
            database: location(&database),
            purpose: Purpose::Run,
            master: MasterKeys::new(MasterKey::new([7; 32]), vec![]),
            clock: Arc::<StepClock>::clone(&clock),
            chance: Arc::new(SeededChance::default()),
        })
        .await
        .unwrap();
        Self {
            store,
            clock,
            fresh: Some(fresh),
            database,
        }
    }

    /// The same with its store closed and opened again; nobody listens.
    pub(super) async fn reopened(self) -> Self {
        self.store.close().await;
        // Whoever has the store has the file's lock.
        drop((self.store, self.fresh));
        let mut world = Self::open(self.database, self.clock).await;
        world.fresh = None;
        world
    }

    /// Publishes an event of `event_type` for one endpoint.
    pub(super) async fn publish(&self, endpoint: i64, event_type: &str) -> Published {
        self.publish_as(endpoint, event_type, Trigger::Event).await
    }

    pub(super) async fn publish_as(&self, endpoint: i64, event_type: &str, trigger: Trigger) -> Published {
        let new = self.event(endpoint, event_type, trigger);
        let published = Published {
            event: new.id,
            delivery: new.deliveries[0].id,
            endpoint,
        };
        self.accept(vec![new]).await;
        published
    }

    /// An event that is yet to be accepted: its keys are those of now.
    pub(super) fn event(&self, endpoint: i64, event_type: &str, trigger: Trigger) -> NewEvent {
        NewEvent {
            id: EventId(self.store.next_id()),
            tenant: tenant(endpoint / 10),
            tenant_version: VERSION,
            event_type: EventTypeName::parse(event_type).unwrap(),
            payload: Bytes::from_static(b"{\"a\": 1E400}"),
            channels: Default::default(),
            event_id: None,
            occurred_at: None,
            accepted_at: self.store.clock().now(),
            deliveries: vec![NewDelivery {
                id: DeliveryId(self.store.next_id()),
                endpoint,
                shard: SHARD,
            }],
            matched: 1,
            trigger,
            loops: 0,
            trace: None,
        }
    }

    /// Accepts events together.
    pub(super) async fn accept(&self, events: Vec<NewEvent>) {
        let accepted = self.store.accept_events(Accept {
            events,
            once: None,
            known: vec![],
        });
        assert!(matches!(accepted.await.unwrap(), Accepted::Written { .. }));
    }

    /// Claims what is due for an endpoint, however long it takes to be due.
    pub(super) async fn claim(&self, endpoint: i64) -> Vec<Claimed> {
        self.clock.step(Duration::from_secs(3_600));
        self.claim_now(endpoint, 100).await
    }

    /// Claims what is due for an endpoint at this moment.
    pub(super) async fn claim_now(&self, endpoint: i64, limit: u32) -> Vec<Claimed> {
        let claim = Claim {
            endpoint,
            shard: SHARD,
            now: self.store.clock().now(),
            limit,
            in_order: false,
        };
        self.store.claim_due(claim).await.unwrap().deliveries
    }

    /// Gives a claimed delivery back.
    pub(super) async fn release(&self, claimed: &Claimed) {
        let release = Release {
            delivery: claimed.delivery.n(),
            attempt: claimed.attempt,
        };
        self.store.release(vec![release]).await.unwrap();
    }

    /// Records an attempt that was answered with `status`.
    pub(super) async fn answer(&self, claimed: &Claimed, status: u16, next: Next) {
        self.finish(claimed, Outcome::Answered(status), next, None).await;
    }

    /// Records an attempt that got no answer; the next one is due in an hour.
    pub(super) async fn fail(&self, claimed: &Claimed) {
        let now = self.store.clock().now();
        let next = Next::Retry {
            due_at: now.plus(Duration::from_secs(3_600)),
            failed: claimed.failed + 1,
            first_at: claimed.first_at.or(Some(now)),
        };
        self.finish(claimed, Outcome::Failed(ErrorClass::Connect), next, None)
            .await;
    }

    pub(super) async fn finish(
        &self,
        claimed: &Claimed,
        outcome: Outcome,
        next: Next,
        header_set: Option<i64>,
    ) {
        let now = self.store.clock().now();
        // It may be deleted by now: whoever made the attempt knew it.
        let configured = self.store.config().endpoint(claimed.endpoint);
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
                outcome,
                exchange: Exchange {
                    sent_headers: "webhook-id: evt\n".into(),
                    header_set,
                    timing: Timing {
                        total_micros: 1_234,
                        ..Timing::default()
                    },
                    answer: outcome.status().map(|_| Answer::default()),
                    ..Exchange::default()
                },
            },
            next,
            effect: Effect::None,
            patience: None,
            ended_at: now,
        };
        self.store.finish_attempt(finish).await.unwrap();
    }

    /// A delivery that an answer of `status` has ended.
    pub(super) async fn finished(&self, endpoint: i64, status: u16, next: Next) -> Published {
        let published = self.publish(endpoint, "order.paid").await;
        for claimed in self.claim(endpoint).await {
            if claimed.delivery == published.delivery {
                self.answer(&claimed, status, next).await;
            } else {
                self.release(&claimed).await;
            }
        }
        published
    }

    pub(super) async fn set(&self, sql: &'static str, n: i64) {
        let set = self
            .store
            .change(move |tx| Box::pin(async move { tx.execute_one(sql, values![n]).await }));
        set.await.unwrap();
    }

    pub(super) async fn pause(&self, endpoint: i64) {
        self.set("UPDATE endpoints SET status = 'paused' WHERE n = ?1", endpoint)
            .await;
    }

    pub(super) async fn disable(&self, endpoint: i64) {
        self.set("UPDATE endpoints SET status = 'disabled' WHERE n = ?1", endpoint)
            .await;
    }

    pub(super) async fn delete(&self, endpoint: i64) {
        self.set(
            "UPDATE endpoints SET deleted_at = 1704067200000000 WHERE n = ?1",
            endpoint,
        )
        .await;
    }

    /// The delivery as anybody sees it.
    pub(super) async fn see(&self, id: DeliveryId) -> Delivery {
        self.store.delivery(Scope::Root, id).await.unwrap().unwrap()
    }

    pub(super) fn by(&self) -> By {
        By {
            actor: Actor::SERVER,
            at: self.store.clock().now(),
            audit: AuditId(self.store.next_id()),
        }
    }

    /// What the dispatcher was told since it was asked last.
    pub(super) async fn told(&mut self) -> Vec<Handover> {
        // What is told comes after the change; a question to the writer comes after both.
        self.store.release(vec![]).await.unwrap();
        let fresh = self.fresh.as_mut().unwrap();
        std::iter::from_fn(|| fresh.try_next()).collect()
    }
}
