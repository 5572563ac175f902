//! Processes that die at every step of a delivery, and those that end in good order.

use super::{URL, seconds, world};
use std::sync::Arc;
use stentor_testkit::{EndpointFields, Reply};

#[tokio::test]
async fn what_was_accepted_and_not_sent_is_sent_by_the_next_start() {
    let world = world().await;
    world.endpoint("acme", URL).await;
    let event = world.publish("acme", "{}").await;
    let mut world = world.kill_and_restart().await;
    world.settle().await;

    assert_eq!(world.timeline(event).await, ["1 event 200", "delivered"]);
    assert_eq!(world.receivers.take().len(), 1);
}

#[tokio::test]
async fn what_was_sent_and_not_recorded_is_sent_again_under_the_same_id() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    let event = world.publish("acme", "{}").await;
    world.launch(1).await;
    let mut world = world.kill_and_restart().await;
    assert_eq!(world.timeline(event).await, ["pending"]);
    world.settle().await;

    assert_eq!(world.timeline(event).await, ["1 event 200", "delivered"]);
    let ids: Vec<String> = world
        .receivers
        .take()
        .iter()
        .map(|one| one.id().to_owned())
        .collect();
    assert_eq!(ids, [event.to_string(), event.to_string()]);
}

#[tokio::test]
async fn nothing_is_sent_again_after_its_success_was_recorded() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    world.receivers.take();
    for _ in 0..3 {
        world = world.kill_and_restart().await;
        world.after(seconds(100_000)).await;
    }
    assert_eq!(world.receivers.take().len(), 0);
    assert_eq!(world.timeline(event).await, ["1 event 200", "delivered"]);
}

#[tokio::test]
async fn a_retry_that_waits_keeps_its_time_and_its_place() {
    let mut world = world().await;
    let fields = EndpointFields {
        retry_schedule: Some(vec![10, 20]),
        ..EndpointFields::default()
    };
    world.endpoint_with("acme", URL, fields).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    let due_at = world.delivery(event).await.next_attempt_at;

    let mut world = world.kill_and_restart().await;
    assert_eq!(world.settle().await, 0);
    assert_eq!(world.delivery(event).await.next_attempt_at, due_at);
    world.play(event).await;

    let timeline = [
        "1 event 500",
        "2 event 500",
        "3 event 500",
        "exhausted: schedule_ended",
    ];
    assert_eq!(world.timeline(event).await, timeline);
}

#[tokio::test]
async fn a_retry_that_was_in_flight_is_made_again_under_its_number() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    world.clock.step(seconds(6));
    world.launch(1).await;
    let mut world = world.kill_and_restart().await;
    world.settle().await;

    assert_eq!(
        world.timeline(event).await,
        ["1 event 500", "2 event 200", "delivered"]
    );
    assert_eq!(world.receivers.take().len(), 3);
}

#[tokio::test]
async fn a_death_in_the_middle_of_many_loses_none() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    world.acquaint("acme").await;
    let mut events = Vec::new();
    for n in 0..100 {
        events.push(world.publish("acme", &n.to_string()).await);
    }
    // Sixteen are in flight, the rest waits in memory.
    world.launch(16).await;
    let mut world = world.kill_and_restart().await;
    world.settle().await;

    for event in &events {
        assert_eq!(world.timeline(*event).await, ["1 event 200", "delivered"]);
    }
    assert_eq!(world.receivers.take().len(), 116);
}

#[tokio::test]
async fn a_stop_breaks_off_what_is_in_flight_at_no_cost_to_its_schedule() {
    let mut world = world().await;
    let fields = EndpointFields {
        retry_schedule: Some(vec![]),
        max_in_flight: Some(Some(1)),
        ..EndpointFields::default()
    };
    world.endpoint_with("acme", URL, fields).await;
    let in_flight = world.publish("acme", "1").await;
    let waiting = world.publish("acme", "2").await;
    world.launch(1).await;
    let mut world = world.stop_and_restart().await;
    assert_eq!(world.timeline(in_flight).await, ["1 event shutdown", "pending"]);
    assert_eq!(world.timeline(waiting).await, ["pending"]);
    world.settle().await;

    assert_eq!(
        world.timeline(in_flight).await,
        ["1 event shutdown", "2 event 200", "delivered"]
    );
    assert_eq!(world.timeline(waiting).await, ["1 event 200", "delivered"]);
}

#[tokio::test]
async fn a_disabled_endpoint_and_its_count_of_failures_survive() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(410)]);
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    world.after(seconds(6)).await;
    let mut world = world.kill_and_restart().await;
    world.after(seconds(100_000)).await;

    assert_eq!(
        world.timeline(event).await.last().unwrap(),
        "held: endpoint_disabled"
    );
    assert_eq!(world.found(endpoint).await.health.consecutive_failures, 2);
    world.receivers.script(URL, &[Reply::Status(200)]);
    world.resume(endpoint).await;
    world.settle().await;
    assert_eq!(world.found(endpoint).await.health.consecutive_failures, 0);
}

#[tokio::test]
async fn what_was_in_memory_when_its_endpoint_was_deleted_is_ended_by_the_next_start() {
    let world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let event = world.publish("acme", "{}").await;
    world.delete(endpoint).await;
    while world.tick_jobs().await > 0 {}
    assert_eq!(
        world.unfinished(),
        1,
        "the sweeper leaves alone what is in memory"
    );
    let mut world = world.kill_and_restart().await;
    world.settle().await;

    assert_eq!(world.unfinished(), 0);
    assert_eq!(world.timeline(event).await, ["cancelled: endpoint_deleted"]);
    assert_eq!(world.receivers.take().len(), 0);
}

#[tokio::test]
async fn a_stop_in_the_middle_of_many_records_what_is_in_flight_and_leaves_the_rest_to_the_next_start() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    world.acquaint("acme").await;
    world.receivers.fall_silent();
    world.run();
    let events = world.publish_many("acme", 100).await;
    world.receivers.open(16).await;
    let receivers = Arc::clone(&world.receivers);
    let ((), ()) = tokio::join!(world.stop(), async { receivers.speak() });
    assert_eq!(
        world.unfinished(),
        84,
        "sixteen have landed, and nothing else was started"
    );
    let mut world = world.kill_and_restart().await;
    world.settle().await;

    assert_eq!(world.receivers.take().len(), 100, "nothing is sent twice");
    for event in &events {
        assert_eq!(world.timeline(*event).await, ["1 event 200", "delivered"]);
    }
}
