//! A memory that one slow receiver fills, and everybody else.

use std::time::Duration;
use stentor_testkit::{Reply, World};

#[tokio::test]
async fn a_burst_to_a_silent_receiver_keeps_nobody_elses_retry_from_being_made() {
    const SMALL: &str = "https://small.example/";
    let mut world = World::new().await;
    world.tenant("small").await;
    world.endpoint("small", SMALL).await;
    world
        .receivers
        .script(SMALL, &[Reply::Status(500), Reply::Status(200)]);
    world.publish("small", "{}").await;
    world.settle().await;
    world.tenant("big").await;
    world.endpoint("big", "https://big.example/").await;
    world.acquaint("big").await;
    // More than may be claimed into memory, and less than may be handed over.
    world.publish_many("big", 5_000).await;
    world.receivers.take();

    world.clock.step(Duration::from_secs(10));
    world.launch(16).await;
    assert_eq!(world.received_by_url()[SMALL], 1);
}
