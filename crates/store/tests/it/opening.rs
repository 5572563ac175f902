//! What a start finds, recovers and refuses.

use crate::world::{Scene, open, still};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use stentor_domain::id::AuditId;
use stentor_domain::key::Actor;
use stentor_domain::{Clock, Timestamp};
use stentor_store::change::By;
use stentor_store::once::Done;
use stentor_store::projects::NewProject;
use stentor_store::{Database, StoreError};
use stentor_testkit::TestDatabase;

/// A clock that may be set back, as the machine's may.
#[derive(Default)]
struct Unsteady(AtomicI64);

impl Clock for Unsteady {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.0.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

pub(crate) async fn assert_refused(database: Database, key: u8, because: &str) {
    match open(database, key, still()).await {
        Err(StoreError::Unavailable(text)) => assert!(text.contains(because), "{text}"),
        other => panic!("not refused: {:?}", other.map(drop)),
    }
}

#[tokio::test]
async fn what_a_dead_process_owned_is_due_at_once() {
    let scene = Scene::new().await;
    for n in 0..10 {
        scene.accepted(&n.to_string()).await;
    }
    assert_eq!(scene.number("SELECT count(*) FROM work WHERE owner IS NULL"), 0);
    let endpoint = scene.endpoint;
    let world = scene.world.kill_and_restart().await;
    let scene = Scene { world, endpoint };

    let waiting = scene.store().waiting_endpoints((0, i64::MIN), 10).await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert!(waiting[0].due_at <= scene.world.now());
    assert_eq!(scene.claim(100).await.deliveries.len(), 10);
}

#[tokio::test]
async fn another_master_key_is_refused_and_the_right_one_still_opens() {
    let database = TestDatabase::new();
    let (store, _fresh) = open(database.location(), 1, still()).await.unwrap();
    store.close().await;
    drop(store);
    assert_refused(database.location(), 2, "master key does not fit").await;
    open(database.location(), 1, still()).await.unwrap();
}

#[tokio::test]
async fn ids_go_on_growing_when_the_clock_steps_back_between_two_starts() {
    let database = TestDatabase::new();
    let clock = Arc::new(Unsteady::default());
    let mut last = 0;
    for at in [2_000_000_000, 1_000_000_000, 3_000_000_000, 0] {
        clock.0.store(at, Ordering::Relaxed);
        let clock = Arc::<Unsteady>::clone(&clock);
        let (store, _fresh) = open(database.location(), 1, clock).await.unwrap();
        for n in 0..10 {
            let new = NewProject {
                name: format!("{at} {n}"),
                sandbox: false,
            };
            let by = By {
                actor: Actor::SERVER,
                at: store.clock().now(),
                audit: AuditId(store.next_id()),
            };
            let Done::Now(made) = store.create_project(by, new, None).await.unwrap() else {
                panic!("made without an idempotency key");
            };
            assert!(made.id.n() > last);
            last = made.id.n();
        }
        store.close().await;
    }
}
