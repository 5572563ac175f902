//! What expires leaves the tables first, then the lists.

use super::super::world::World;
use super::{LISTS, WAVES, assert_lists_follow, assert_some_are_above, deliver, times_listed};
use crate::hot::Next;
use crate::retention::{Cuts, Removal};

/// More than that many slices of anything are not needed here.
const SLICES_MAX: usize = 20;

/// Removes all of it below a key. Tells how many slices that took.
async fn remove(world: &World, what: Removal, below: i64) -> usize {
    let (mut after, mut left) = (0, 0);
    for slices in 1..=SLICES_MAX {
        let slice = world.store.remove(what, below, after).await.unwrap();
        left += slice.left;
        match slice.next {
            Some(next) => after = next,
            None if left > 0 => (after, left) = (0, 0),
            None => return slices,
        }
    }
    panic!("{what:?} does not end");
}

async fn raise(world: &World, below: i64) {
    let cuts = Cuts {
        payloads: below,
        finished: below,
    };
    let now = world.store.clock().now();
    world.store.raise_retention(cuts, now).await.unwrap();
}

/// A pass as far as it is about lists.
async fn purge(world: &World, below: i64) {
    raise(world, below).await;
    for what in [
        Removal::Deliveries,
        Removal::ListedDeliveries,
        Removal::Events,
        Removal::ListedEvents,
    ] {
        remove(world, what, below).await;
    }
}

/// How many keys are in both lists.
fn listed(world: &World) -> [i64; 2] {
    LISTS.map(|(table, _)| {
        world
            .database
            .number(&format!("SELECT count(*) FROM listed_{table}"))
    })
}

/// Of two owners, 5,000 keys each, all of them listed.
fn fill(world: &World) {
    let numbers =
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000)";
    world.database.execute(&format!(
        "UPDATE listed SET events = 10000, deliveries = 10000;
         INSERT INTO events (n, tag, tenant, type, payload, deliveries) {numbers}
         SELECT n, n, 11 + n % 2, 'order.paid', '1', 1 FROM numbers;
         INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, cause, attempts, finished_at) {numbers}
         SELECT n, n, n, 111 + n % 2, 11, 'delivered', 'event', 1, 1 FROM numbers"
    ));
}

#[tokio::test]
async fn lists_lose_what_has_expired_and_nothing_else() {
    let world = World::new().await;
    deliver(&world, WAVES).await;
    let middle = world
        .database
        .number("SELECT n FROM listed_deliveries ORDER BY n LIMIT 1 OFFSET 400");
    let expired = || {
        LISTS.map(|(table, _)| {
            let listed = format!("SELECT count(*) FROM listed_{table} WHERE n < {middle}");
            world.database.number(&listed)
        })
    };
    assert!(expired().iter().all(|keys| *keys >= 400), "{:?}", expired());
    purge(&world, middle).await;
    assert_eq!(expired(), [0, 0]);
    assert_some_are_above(&world);
    assert_lists_follow(&world);

    let all = world.store.next_id().n;
    purge(&world, all).await;
    assert_eq!(listed(&world), [0, 0]);
    deliver(&world, 2 * WAVES).await;
    assert_some_are_above(&world);
    assert_lists_follow(&world);
}

#[tokio::test]
async fn long_lists_take_several_slices() {
    let world = World::new().await;
    fill(&world);
    assert_eq!(listed(&world), [10_000, 10_000]);
    assert_lists_follow(&world);
    raise(&world, 9_901).await;
    for (rows, listed) in [
        (Removal::Deliveries, Removal::ListedDeliveries),
        (Removal::Events, Removal::ListedEvents),
    ] {
        remove(&world, rows, 9_901).await;
        assert!(remove(&world, listed, 9_901).await > 1, "{listed:?}");
    }
    assert_eq!(listed(&world), [100, 100]);
    assert_lists_follow(&world);
}

/// What was listed at one time lies in neighbouring pages, whosever it is.
#[tokio::test]
async fn owners_lose_their_keys_in_turns() {
    let world = World::new().await;
    fill(&world);
    raise(&world, 9_901).await;
    for (removal, (table, owner)) in [Removal::ListedEvents, Removal::ListedDeliveries]
        .into_iter()
        .zip(LISTS)
    {
        world
            .database
            .execute(&format!("DELETE FROM {table} WHERE n < 9901"));
        let slice = world.store.remove(removal, 9_901, 0).await.unwrap();
        assert!(slice.next.is_some() || slice.left > 0, "{removal:?} goes on");
        let [even, odd] = [0, 1].map(|rest| {
            let left = format!("SELECT count(*) FROM listed_{table} WHERE {owner} % 2 = {rest}");
            5_000 - world.database.number(&left)
        });
        assert!(
            even > 0 && even.abs_diff(odd) <= 150,
            "{removal:?}: {even} and {odd}"
        );
    }
}

/// As after the death of a process, and as every day: nothing is left to be done.
#[tokio::test]
async fn a_list_without_anything_to_lose_is_left_alone() {
    let world = World::new().await;
    for what in [Removal::ListedDeliveries, Removal::ListedEvents] {
        assert_eq!(remove(&world, what, 9_901).await, 1, "of nobody");
    }
    fill(&world);
    for what in [Removal::ListedDeliveries, Removal::ListedEvents] {
        assert_eq!(remove(&world, what, 1).await, 1, "{what:?}");
    }
    assert_eq!(listed(&world), [10_000, 10_000]);
}

/// A replay made it long after its event: its own key is above what has expired.
#[tokio::test]
async fn a_late_delivery_leaves_its_list_with_its_row() {
    let world = World::new().await;
    fill(&world);
    world.database.execute(
        "UPDATE listed SET deliveries = 20000;
         INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, cause, attempts, finished_at)
         VALUES (20000, 1, 9, 111, 11, 'delivered', 'replay', 1, 1)",
    );
    assert_eq!(listed(&world), [10_000, 10_001]);
    assert_lists_follow(&world);
    raise(&world, 10).await;
    for what in [
        Removal::Deliveries,
        Removal::ListedDeliveries,
        Removal::LateDeliveries,
    ] {
        remove(&world, what, 10).await;
    }
    assert_eq!(listed(&world), [10_000, 9_991]);
    assert_lists_follow(&world);
}

/// Its payload is kept for longer than what is finished of it, so that an attempt of it may end at any moment.
#[tokio::test]
async fn a_delivery_that_ends_after_the_purge_of_its_table_stays_in_its_list_with_its_row() {
    let world = World::new().await;
    let late = world.publish(111, "order.paid").await;
    let claimed = world.claim_now(111, u32::MAX).await.remove(0);
    deliver(&world, WAVES).await;
    let (n, below) = (late.delivery.n(), late.delivery.n() + 1);
    let cuts = Cuts {
        payloads: 0,
        finished: below,
    };
    let now = world.store.clock().now();
    world.store.raise_retention(cuts, now).await.unwrap();
    remove(&world, Removal::Deliveries, below).await;
    world.answer(&claimed, 200, Next::Delivered).await;
    remove(&world, Removal::ListedDeliveries, below).await;
    assert_eq!(times_listed(&world, n), 1);
    assert_lists_follow(&world);

    remove(&world, Removal::Deliveries, below).await;
    remove(&world, Removal::ListedDeliveries, below).await;
    assert_eq!(times_listed(&world, n), 0);
    assert_lists_follow(&world);
}
