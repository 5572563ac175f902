//! Who publishes more than is sent.

use stentor_domain::limits::IN_FLIGHT_MAX;
use stentor_engine::publish::Publishing;
use stentor_testkit::{Setup, World, order_paid};

/// Starts after which a pace is known, and deliveries that are ready from which on publishers wait.
const MANY: usize = IN_FLIGHT_MAX;

/// How many publishes had to wait for their turn.
fn waited(world: &World) -> u64 {
    let parts = world.store.metrics().publish_wait.parts();
    parts.map(|(_, count)| count).sum()
}

#[tokio::test]
async fn who_publishes_more_than_is_sent_waits_for_its_turn_and_who_publishes_little_does_not() {
    let mut setup = Setup::default();
    setup.limits.in_flight_max = 4;
    let mut world = World::with(setup).await;
    for tenant in ["big", "small"] {
        world.tenant(tenant).await;
        let url = format!("https://{tenant}.example/");
        world.endpoint(tenant, &url).await;
        world.acquaint(tenant).await;
    }
    world.publish_many("big", MANY).await;
    world.settle().await;
    world.receivers.take();

    world.publish_many("big", MANY + 50).await;
    world.publish("small", "first").await;
    world.launch(4).await;
    assert!(world.store.backpressure().ready() >= MANY);
    world.publish("small", "second").await;
    assert_eq!(waited(&world), 0);
    let publishing = tokio::spawn({
        let (engine, root) = (world.engine.clone(), world.root.clone());
        let publications = vec![order_paid("big", "last")];
        async move { engine.publish(&root, publications, |_| None, |_| Ok(None)).await }
    });
    // Once it has looked at what is ready, some of that is sent.
    tokio::task::yield_now().await;
    world.land().await;
    world.settle().await;
    let published = publishing.await.unwrap();
    assert!(matches!(published, Ok(Publishing::Accepted(_))), "{published:?}");
    assert_eq!(waited(&world), 1);
    world.settle().await;
    let received = world.receivers.take();
    assert_eq!(received.len(), MANY + 50 + 3);
    assert_eq!(world.store.backpressure().ready(), 0);
}

/// A node that stops lets nobody wait for what it gives back.
#[tokio::test]
async fn what_is_given_back_is_not_ready() {
    let mut setup = Setup::default();
    setup.limits.in_flight_max = 4;
    let mut world = World::with(setup).await;
    world.tenant("acme").await;
    world.endpoint("acme", "https://receiver.example/").await;
    world.acquaint("acme").await;
    world.publish_many("acme", 20).await;
    world.launch(4).await;
    assert_eq!(world.store.backpressure().ready(), 16);
    world.land().await;
    world.run();
    world.stop().await;
    assert_eq!(world.store.backpressure().ready(), 0);
}
