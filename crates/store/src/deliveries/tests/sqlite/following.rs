//! Lists have what comes late, and lose what is sent again.

use super::super::world::{Published, World, endpoint, only};
use super::{WAVES, assert_lists_follow, assert_some_are_above, deliver, times_listed};
use crate::deliveries::DeliveryFilter;
use crate::events::EventFilter;
use crate::hot::{Claimed, Next};
use crate::retention::Cuts;
use std::time::Duration;
use stentor_domain::attempt::Trigger;
use stentor_domain::delivery::State;
use stentor_domain::id::DeliveryId;

/// What is listed at most with one group.
const LISTED_MAX: i64 = 4_096;

/// The last of an endpoint's deliveries that its list shows, up to a key.
async fn shown(world: &World, n: i64, up_to: i64) -> Vec<(i64, State)> {
    let filter = DeliveryFilter {
        endpoint: Some(endpoint(n)),
        ..DeliveryFilter::default()
    };
    let page = world
        .store
        .deliveries(only(n / 10), filter, Some(up_to + 1), 1)
        .await;
    let page = page.unwrap().into_iter();
    page.map(|delivery| (delivery.id.n(), delivery.state)).collect()
}

/// Publishes for an endpoint, and claims the delivery.
async fn take_one(world: &World, n: i64) -> (Published, Claimed) {
    let published = world.publish(n, "order.paid").await;
    let mut claimed = world.claim_now(n, u32::MAX).await;
    assert_eq!(claimed.len(), 1);
    (published, claimed.remove(0))
}

/// Sends a finished delivery again, and takes it in.
async fn send_again(world: &World, n: i64, delivery: DeliveryId) -> Claimed {
    world
        .store
        .retry_delivery(world.by(), only(n / 10), delivery, None)
        .await
        .unwrap();
    let claimed = world.claim_now(n, u32::MAX).await.into_iter();
    claimed.last().filter(|one| one.delivery == delivery).unwrap()
}

fn border(world: &World, table: &str) -> i64 {
    world.database.number(&format!("SELECT {table} FROM listed"))
}

#[tokio::test]
async fn a_delivery_that_ends_after_later_ones_were_listed_is_in_its_list() {
    let world = World::new().await;
    let (late, claimed) = take_one(&world, 111).await;
    deliver(&world, WAVES).await;
    let n = late.delivery.n();
    assert!(n < border(&world, "deliveries"));
    assert_eq!(times_listed(&world, n), 0);

    world.answer(&claimed, 200, Next::Delivered).await;
    assert_eq!(times_listed(&world, n), 1);
    assert_eq!(shown(&world, 111, n).await, [(n, State::Delivered)]);
    assert_lists_follow(&world);
}

#[tokio::test]
async fn an_event_that_is_accepted_after_later_ones_were_listed_is_in_its_list() {
    let world = World::new().await;
    let late = world.event(111, "order.paid", Trigger::Event);
    let n = late.id.n();
    deliver(&world, WAVES).await;
    assert!(n < border(&world, "events"));

    world.accept(vec![late]).await;
    let page = world
        .store
        .events(only(11), EventFilter::default(), Some(n + 1), 1)
        .await;
    let page: Vec<i64> = page.unwrap().iter().map(|event| event.id.n()).collect();
    assert_eq!(page, [n]);
    assert_lists_follow(&world);
}

#[tokio::test]
async fn a_delivery_that_is_sent_again_leaves_its_list_until_it_has_ended_again() {
    let world = World::new().await;
    let (published, claimed) = take_one(&world, 111).await;
    world.answer(&claimed, 200, Next::Delivered).await;
    deliver(&world, WAVES).await;
    let (above, claimed) = take_one(&world, 111).await;
    world.answer(&claimed, 200, Next::Delivered).await;
    assert_some_are_above(&world);

    for (delivery, listed) in [(published.delivery, 1), (above.delivery, 0)] {
        let n = delivery.n();
        assert_eq!(times_listed(&world, n), listed);
        let claimed = send_again(&world, 111, delivery).await;
        assert_eq!(times_listed(&world, n), 0);
        assert_lists_follow(&world);
        assert_eq!(shown(&world, 111, n).await, [(n, State::Pending)]);

        world.answer(&claimed, 200, Next::Delivered).await;
        assert_eq!(times_listed(&world, n), listed);
        assert_lists_follow(&world);
        assert_eq!(shown(&world, 111, n).await, [(n, State::Delivered)]);
    }
}

/// Its payload is kept for longer than what is finished of it.
#[tokio::test]
async fn a_delivery_that_is_sent_again_after_it_has_expired_ends_again() {
    let world = World::new().await;
    let (published, claimed) = take_one(&world, 111).await;
    world.answer(&claimed, 200, Next::Delivered).await;
    deliver(&world, WAVES).await;
    let n = published.delivery.n();
    let cuts = Cuts {
        payloads: 0,
        finished: n + 1,
    };
    world
        .store
        .raise_retention(cuts, world.store.clock().now())
        .await
        .unwrap();

    let claimed = send_again(&world, 111, published.delivery).await;
    world.answer(&claimed, 200, Next::Delivered).await;
    assert_eq!(shown(&world, 111, n).await, [(n, State::Delivered)]);
    assert_lists_follow(&world);
}

#[tokio::test]
async fn what_an_earlier_life_left_above_is_listed() {
    let world = World::new().await;
    deliver(&world, WAVES).await;
    assert_some_are_above(&world);
    let left = world.database.number("SELECT max(n) FROM deliveries");
    assert!(border(&world, "deliveries") < left && border(&world, "events") < left);

    let world = world.reopened().await;
    deliver(&world, WAVES).await;
    assert!(border(&world, "deliveries") >= left && border(&world, "events") >= left);
    assert_some_are_above(&world);
    assert_lists_follow(&world);
}

#[tokio::test]
async fn each_group_lists_its_share_of_what_an_earlier_life_left() {
    let world = World::new().await;
    world.database.execute(
        "INSERT INTO events (n, tag, tenant, type, payload, deliveries)
         WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000)
         SELECT n, n, 11, 'order.paid', '1', 0 FROM numbers",
    );
    let world = world.reopened().await;
    let all = 10_000;
    for listed in [LISTED_MAX, 2 * LISTED_MAX, all, all] {
        world.clock.step(Duration::from_millis(1));
        world.publish(111, "order.paid").await;
        assert_eq!(border(&world, "events"), listed);
        assert_lists_follow(&world);
    }
}

/// As a large backlog of a deleted endpoint, which is ended without an attempt.
#[tokio::test]
async fn what_is_ended_while_nothing_is_sent_is_listed_too() {
    let world = World::new().await;
    let backlog = 9_000;
    world.database.execute(&format!(
        "INSERT INTO work (n, tag, event, endpoint, tenant, shard, attempt, due_at, cause)
         WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {backlog})
         SELECT n << 21, n, n, 111, 11, 3, 1, 0, 'event' FROM numbers"
    ));
    world.delete(111).await;
    while world
        .store
        .sweep_deleted(world.store.clock().now())
        .await
        .unwrap()
        > 0
    {}
    assert_eq!(world.database.number("SELECT count(*) FROM deliveries"), backlog);
    assert!(world.database.number("SELECT count(*) FROM listed_deliveries") > backlog / 2);
    assert_lists_follow(&world);
}
