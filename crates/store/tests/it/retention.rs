//! The slices in which what is old is removed, one by one.

use crate::world::Scene;
use stentor_domain::delivery::State;
use stentor_domain::id::DeliveryId;
use stentor_domain::id::Id;
use stentor_store::hot::NewDelivery;
use stentor_store::retention::{Cuts, Doomed, Removal};

/// The key of which everything accepted so far is below.
fn now(scene: &Scene) -> i64 {
    scene.store().next_id().n
}

fn expired(below: i64) -> Doomed {
    Doomed {
        from: 0,
        below,
        tenant: None,
    }
}

/// Many finished deliveries, each with its event and an attempt, from behind the store's back: keys 1 and so on.
fn fill(scene: &Scene, count: i64) {
    let (tenant, endpoint) = (scene.tenant().n(), scene.endpoint.n());
    let numbers = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})"
    );
    scene.world.database().execute(&format!(
        "INSERT INTO events (n, tag, tenant, type, payload, deliveries) {numbers}
         SELECT n, n, {tenant}, 'order.paid', '1', 1 FROM numbers;
         INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, cause, attempts, finished_at) {numbers}
         SELECT n, n, n, {endpoint}, {tenant}, 'delivered', 'event', 2, 1 FROM numbers;
         INSERT INTO attempts (delivery, no, started_at, cause, status, micros, exchange) {numbers}
         SELECT n, 1, n, 'event', 503, 1, '' FROM numbers"
    ));
}

#[tokio::test]
async fn whoever_publishes_comes_between_two_slices() {
    let scene = Scene::unattended().await;
    fill(&scene, 10_000);
    let below = now(&scene);
    let slice = scene.store().remove(Removal::Deliveries, below, 0).await.unwrap();
    assert!(slice.next.is_some(), "it is more than one slice: {slice:?}");
    assert!(slice.rows < 10_000);

    let between = scene.accepted("1").await;
    let mut next = slice.next;
    while let Some(after) = next {
        next = scene
            .store()
            .remove(Removal::Deliveries, below, after)
            .await
            .unwrap()
            .next;
    }
    assert_eq!(scene.number("SELECT count(*) FROM deliveries"), 0);
    assert_eq!(scene.see(between).await.state, State::Pending);
}

#[tokio::test]
async fn a_slice_that_is_done_again_finds_what_is_left() {
    let scene = Scene::unattended().await;
    fill(&scene, 10_000);
    let below = now(&scene);
    for what in [
        Removal::Payloads,
        Removal::Deliveries,
        Removal::Attempts,
        Removal::Events,
    ] {
        // As after the death of a process: each begins anew once, from the first key.
        scene.store().remove(what, below, 0).await.unwrap();
        let mut next = Some(0);
        while let Some(after) = next {
            next = scene.store().remove(what, below, after).await.unwrap().next;
        }
        let again = scene.store().remove(what, below, 0).await.unwrap();
        assert_eq!((again.rows, again.next), (0, None), "{what:?}");
    }
    for table in ["deliveries", "attempts", "events"] {
        assert_eq!(
            scene.number(&format!("SELECT count(*) FROM {table}")),
            0,
            "{table}"
        );
    }
}

#[tokio::test]
async fn what_is_unfinished_keeps_its_attempts_and_what_is_finished_loses_them() {
    let scene = Scene::unattended().await;
    let (waits, ends) = (scene.accepted("1").await, scene.accepted("2").await);
    for claimed in scene.claim(2).await.deliveries {
        scene.finish(&claimed, 503).await;
    }
    scene.world.clock.step(std::time::Duration::from_secs(60));
    for claimed in scene.claim(2).await.deliveries {
        let status = if claimed.delivery == ends { 200 } else { 503 };
        scene.finish(&claimed, status).await;
    }
    let below = now(&scene);
    for what in [Removal::Deliveries, Removal::Attempts, Removal::LateDeliveries] {
        assert_eq!(scene.store().remove(what, below, 0).await.unwrap().next, None);
    }
    assert_eq!(scene.see(waits).await.attempts, 2);
    assert_eq!(scene.number("SELECT count(*) FROM attempts"), 2);
    assert_eq!(scene.number("SELECT count(*) FROM deliveries"), 0);
}

#[tokio::test]
async fn a_delivery_that_came_long_after_its_event_goes_with_it() {
    let scene = Scene::unattended().await;
    let mut event = scene.event("1");
    event.deliveries.clear();
    let n = event.id.n();
    scene.accept(vec![event]).await.unwrap();
    let below = now(&scene);
    let late = NewDelivery {
        id: DeliveryId(scene.store().next_id()),
        endpoint: scene.endpoint.n(),
        shard: 0,
    };
    scene.world.database().execute(&format!(
        "INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, cause, attempts, finished_at)
         VALUES ({}, 1, {n}, 1, 1, 'delivered', 'replay', 1, 1);
         INSERT INTO attempts (delivery, no, started_at, cause, micros, exchange) VALUES ({}, 1, 1, 'replay', 1, '')",
        late.id.n(),
        late.id.n()
    ));
    for what in [Removal::Deliveries, Removal::Attempts] {
        scene.store().remove(what, below, 0).await.unwrap();
    }
    assert_eq!(scene.number("SELECT count(*) FROM deliveries"), 1);
    let slice = scene
        .store()
        .remove(Removal::LateDeliveries, below, 0)
        .await
        .unwrap();
    assert_eq!((slice.rows, slice.next), (1, None));
    assert_eq!(scene.number("SELECT count(*) FROM attempts"), 0);
}

#[tokio::test]
async fn nothing_without_a_payload_is_claimed_from_the_moment_that_it_has_expired() {
    let scene = Scene::unattended().await;
    let (old, young) = (scene.accepted("1").await, now(&scene));
    let kept = scene.accepted("2").await;
    let cuts = Cuts {
        payloads: young,
        finished: 0,
    };
    scene
        .store()
        .raise_retention(cuts, scene.world.now())
        .await
        .unwrap();
    assert_eq!(
        scene.number("SELECT count(*) FROM events WHERE payload IS NULL"),
        0
    );
    assert_eq!(
        scene.see(old).await.state,
        State::Cancelled,
        "whatever is in the tables"
    );

    let claimed = scene.claim(10).await.deliveries;
    assert_eq!(claimed.iter().map(|one| one.delivery).collect::<Vec<_>>(), [kept]);
    assert_eq!(scene.world.unfinished(), 1, "it was ended instead");
    // Ages that are set shorter again take nothing back.
    scene
        .store()
        .raise_retention(Cuts::default(), scene.world.now())
        .await
        .unwrap();
    assert_eq!(scene.see(old).await.state, State::Cancelled);
}

#[tokio::test]
async fn a_walk_ends_what_waits_and_tells_what_a_node_has_in_memory() {
    let scene = Scene::unattended().await;
    let in_memory = scene.accepted("1").await;
    let claimed = scene.claim(1).await.deliveries.remove(0);
    for n in 0..500 {
        scene.accepted(&n.to_string()).await;
    }
    let below = now(&scene);
    let later = scene.accepted("x").await;
    let (mut next, mut left, mut slices) = (Some(0), 0, 0);
    while let Some(after) = next {
        let at = scene.world.now();
        let walked = scene
            .store()
            .end_without_payload(expired(below), after, at)
            .await
            .unwrap();
        (next, left, slices) = (walked.next, left + walked.left, slices + 1);
    }
    assert_eq!(left, 1);
    assert!(slices > 2, "no slice is long");
    assert_eq!(scene.world.unfinished(), 2);
    assert_eq!(scene.see(later).await.state, State::Pending);

    scene.finish(&claimed, 503).await;
    let ended = scene.see(in_memory).await;
    assert_eq!(
        ended.reason.map(|reason| reason.as_str()),
        Some("payload_expired")
    );
}

#[tokio::test]
async fn keys_go_on_from_what_was_purged() {
    let scene = Scene::unattended().await;
    let far = Id::least_key_at(scene.world.now()) * 2;
    let cuts = Cuts {
        payloads: far,
        finished: 0,
    };
    scene
        .store()
        .raise_retention(cuts, scene.world.now())
        .await
        .unwrap();
    let world = scene.world.kill_and_restart().await;
    assert!(world.store.next_id().n > far, "what is new is not born old");
}
