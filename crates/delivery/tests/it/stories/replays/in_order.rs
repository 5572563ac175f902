//! Replays of what ordered endpoints were sent: it comes behind all that waits, in the order of acceptance.

use super::*;

fn ordered() -> EndpointFields {
    EndpointFields {
        ordered: Some(true),
        ..EndpointFields::default()
    }
}

#[tokio::test]
async fn what_is_replayed_comes_in_the_order_of_acceptance_and_before_what_is_published_later() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, ordered()).await;
    let slices = usize::try_from(2 * REPLAY_SLICE_ROWS + 50).unwrap();
    let mut expected = world.publish_many("acme", slices).await;
    world.settle().await;
    world.pause(endpoint).await;
    let waiting = world.publish("acme", "waiting").await;
    received(&world);
    world.replay(all_of(endpoint)).await.unwrap();
    while world.tick_jobs().await > 0 {}
    let later = world.publish("acme", "later").await;
    world.resume(endpoint).await;
    world.settle().await;
    expected.insert(0, waiting);
    expected.push(later);
    assert_eq!(received(&world), texts(&expected));
}

#[tokio::test]
async fn what_was_missing_comes_in_the_order_of_acceptance() {
    let mut world = world().await;
    world.endpoint("acme", OTHER).await;
    let missing = world.publish_many("acme", 30).await;
    world.settle().await;
    let endpoint = world.endpoint_with("acme", URL, ordered()).await;
    received(&world);
    let fields = ReplayFields {
        missing: true,
        ..all_of(endpoint)
    };
    world.replay(fields).await.unwrap();
    world.settle().await;
    assert_eq!(received(&world), texts(&missing));
}

#[tokio::test]
async fn a_cancelled_replay_lets_the_next_one_go_at_once() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, ordered()).await;
    let slices = usize::try_from(2 * REPLAY_SLICE_ROWS).unwrap();
    let old = world.publish_many("acme", slices).await;
    world.settle().await;
    received(&world);
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    while ended(&world, "delivered") == i64::try_from(slices).unwrap() {
        world.tick_jobs().await;
    }
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    world.launch(1).await;
    world.land().await;
    let held_back = world.publish("acme", "new").await;
    assert_eq!(received(&world), texts(&old[..1]));
    world.cancel_replay(replay).await.unwrap();
    world.settle().await;
    assert_eq!(received(&world), texts(&[held_back]));
}
