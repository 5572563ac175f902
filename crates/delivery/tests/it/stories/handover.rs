//! Deliveries that do not come by the short way from the commit: dropping what the store hands over changes latency only.

use super::{URL, seconds, world};
use std::collections::HashMap;
use stentor_domain::id::EventId;
use stentor_testkit::{TestDatabase, World};

/// Events in these stories: more than the store hands over at once.
const MANY: usize = 8_300;
#[track_caller]
fn assert_all_received_once(world: &World, events: &[EventId]) {
    let mut times: HashMap<String, usize> = HashMap::new();
    for received in world.receivers.take() {
        *times.entry(received.id().to_owned()).or_default() += 1;
    }
    assert_eq!(times.len(), events.len());
    assert!(
        events
            .iter()
            .all(|event| times.get(&event.to_string()) == Some(&1))
    );
}

#[tokio::test]
async fn dropping_it_at_once_delivers_everything_all_the_same() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    world.drop_fresh().await;
    let events = world.publish_many("acme", 100).await;
    world.after(seconds(1)).await;
    assert_all_received_once(&world, &events);
}

#[tokio::test]
async fn dropping_it_unread_delivers_everything_all_the_same() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    let before = world.publish_many("acme", 100).await;
    world.drop_fresh().await;
    let after = world.publish_many("acme", 100).await;
    world.after(seconds(1)).await;
    assert_all_received_once(&world, &[before, after].concat());
}

#[tokio::test]
async fn what_there_is_no_room_for_is_delivered_all_the_same() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    let events = world.publish_many("acme", MANY).await;
    assert!(
        world.number("SELECT count(*) FROM work WHERE owner IS NULL") > 0,
        "the room is exhausted"
    );
    world.settle().await;
    assert_all_received_once(&world, &events);
}

#[tokio::test]
async fn dropping_it_after_the_endpoint_was_deleted_leaves_nothing_behind() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let event = world.publish("acme", "{}").await;
    world.delete(endpoint).await;
    while world.tick_jobs().await > 0 {}
    world.drop_fresh().await;
    world.after(seconds(10)).await;

    assert_eq!(world.timeline(event).await, ["cancelled: endpoint_deleted"]);
    assert_eq!(world.unfinished(), 0);
}

#[tokio::test]
async fn what_has_lost_its_payload_is_cancelled_not_sent_empty() {
    let world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.pause(endpoint).await;
    let events = world.publish_many("acme", 100).await;
    let purge = |database: &TestDatabase| database.execute("UPDATE events SET payload = NULL");
    let mut world = world.kill_and_restart_after(purge).await;
    world.resume(endpoint).await;
    world.settle().await;

    for event in &events {
        assert_eq!(world.timeline(*event).await, ["cancelled: payload_expired"]);
    }
    assert!(world.retry(events[0]).await.is_err());
    assert_eq!(world.receivers.take().len(), 0);
}

#[tokio::test]
async fn a_dispatcher_that_works_by_itself_delivers_more_than_fits_into_memory() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    let mut events = world.publish_many("acme", MANY).await;
    world.run();
    events.extend(world.publish_many("acme", 100).await);
    world.receivers.answered(events.len()).await;
    world.stop().await;

    assert_all_received_once(&world, &events);
    assert_eq!(world.unfinished(), 0);
}
