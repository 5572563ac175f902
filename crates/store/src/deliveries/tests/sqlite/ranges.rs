//! What replays and erasures go through: all that an owner has in a range of keys.

use super::super::world::{World, endpoint, only, tenant};
use super::{ENDPOINTS, on_both_sides};
use crate::replays::{Keys, NewReplay};
use crate::retention::{Cuts, Removal};
use stentor_domain::Timestamp;
use stentor_domain::id::ReplayId;
use stentor_domain::replay::ReplaySpec;

/// How many are looked at in one go.
const LOOK: u32 = 37;
/// More than that many looks or slices are not needed here.
const LOOKS_MAX: usize = 1_000;

/// Everything so far.
fn everything(world: &World, missing: bool) -> ReplaySpec {
    ReplaySpec {
        since: Timestamp::from_micros(0),
        until: world.store.clock().now(),
        state: None,
        event_type: None,
        missing,
    }
}

async fn extent(world: &World, n: i64, missing: bool) -> Option<u64> {
    let id = ReplayId(world.store.next_id());
    let new = NewReplay {
        id,
        endpoint: endpoint(n),
        spec: everything(world, missing),
    };
    world.store.create_replay(world.by(), new, None).await.unwrap();
    let turn = world.store.replay_turn(id, world.store.clock().now()).await;
    let extent = world.store.replay_extent(turn.unwrap().unwrap()).await.unwrap();
    world
        .store
        .cancel_replay(world.by(), only(n / 10), id, None)
        .await
        .unwrap();
    extent.total
}

/// How many all looks have found: `look` tells the last key and the number of those that come after a key.
async fn all(look: impl AsyncFn(Keys) -> Option<(i64, u64)>) -> u64 {
    let (mut after, mut seen) = (0, 0);
    for _ in 0..LOOKS_MAX {
        let before = i64::MAX;
        let Some((last, found)) = look(Keys { after, before }).await else {
            return seen;
        };
        (after, seen) = (last, seen + found);
    }
    panic!("there is always more");
}

/// How many of an endpoint's deliveries a replay looks at, a few at a time.
async fn looked_at(world: &World, n: i64) -> u64 {
    let spec = everything(world, false);
    all(async |keys| {
        let look = world
            .store
            .look_at_finished(endpoint(n), spec.clone(), keys, LOOK);
        let looked = look.await.unwrap();
        looked.last.map(|last| (last, u64::from(looked.considered)))
    })
    .await
}

/// The same of its tenant's events, for those that it has not got.
async fn looked_for(world: &World, n: i64) -> u64 {
    all(async |keys| {
        let look = world
            .store
            .look_for_missing(tenant(n / 10), endpoint(n), keys, LOOK);
        let looked = look.await.unwrap().unwrap();
        let last = looked.last()?;
        Some((last.id.n(), looked.len().try_into().unwrap()))
    })
    .await
}

fn count(world: &World, rows: &str) -> u64 {
    let count = world.database.number(&format!("SELECT count(*) FROM {rows}"));
    u64::try_from(count).unwrap()
}

async fn assert_a_replay_finds_all(world: &World) {
    for n in ENDPOINTS {
        let deliveries = count(world, &format!("deliveries WHERE endpoint = {n}"));
        assert_eq!(extent(world, n, false).await, Some(deliveries));
        assert_eq!(looked_at(world, n).await, deliveries);
        let events = count(world, &format!("events WHERE tenant = {}", n / 10));
        assert_eq!(extent(world, n, true).await, Some(events));
        assert_eq!(looked_for(world, n).await, events);
    }
}

/// Erases what tenant 11 has published.
async fn erase(world: &World) {
    world.store.erase_tenant(world.by(), tenant(11)).await.unwrap();
    let erasure = world.store.next_erasure().await.unwrap().unwrap();
    for _ in 0..LOOKS_MAX {
        if world
            .store
            .sweep_erased(world.by(), erasure)
            .await
            .unwrap()
            .next
            .is_none()
        {
            break;
        }
    }
    assert_eq!(world.store.next_erasure().await.unwrap(), None, "it is done");
}

/// What is below the key that it tells has expired, and is still there.
async fn expire_some(world: &World) -> i64 {
    let below = world
        .database
        .number("SELECT n FROM listed_deliveries ORDER BY n LIMIT 1 OFFSET 400");
    let cuts = Cuts {
        payloads: below,
        finished: below,
    };
    let now = world.store.clock().now();
    world.store.raise_retention(cuts, now).await.unwrap();
    below
}

/// The rows have gone; of those that were listed, the lists still have the keys.
async fn purge_the_tables(world: &World) {
    let below = expire_some(world).await;
    for what in [Removal::Deliveries, Removal::LateDeliveries, Removal::Events] {
        assert_eq!(world.store.remove(what, below, 0).await.unwrap().next, None);
    }
}

#[tokio::test]
async fn a_replay_finds_all_on_both_sides_of_the_border() {
    let world = on_both_sides().await;
    assert_a_replay_finds_all(&world).await;
}

#[tokio::test]
async fn a_replay_passes_over_what_a_purge_has_taken() {
    let world = on_both_sides().await;
    purge_the_tables(&world).await;
    assert_a_replay_finds_all(&world).await;
}

#[tokio::test]
async fn an_erasure_finds_all_on_both_sides_of_the_border() {
    let world = on_both_sides().await;
    let others = count(&world, "events WHERE tenant = 12");
    erase(&world).await;
    assert_eq!(
        count(&world, "events WHERE payload IS NOT NULL AND tenant = 11"),
        0
    );
    assert_eq!(count(&world, "events WHERE payload IS NOT NULL"), others);
}

#[tokio::test]
async fn an_erasure_passes_over_what_a_purge_has_taken() {
    let world = on_both_sides().await;
    purge_the_tables(&world).await;
    erase(&world).await;
    assert_eq!(
        count(&world, "events WHERE payload IS NOT NULL AND tenant = 11"),
        0
    );
}

#[tokio::test]
async fn an_erasure_does_not_wait_for_a_purge() {
    let world = on_both_sides().await;
    expire_some(&world).await;
    erase(&world).await;
    assert_eq!(
        count(&world, "events WHERE payload IS NOT NULL AND tenant = 11"),
        0
    );
}
