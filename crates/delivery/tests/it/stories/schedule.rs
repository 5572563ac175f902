//! When a delivery is tried again, and when no more.

use super::{URL, seconds, world};
use std::time::Duration;
use stentor_domain::attempt::ErrorClass;
use stentor_domain::id::EventId;
use stentor_testkit::{EndpointFields, Reply, World};

/// The waits between the attempts of an event's delivery.
async fn waits(world: &World, event: EventId) -> Vec<Duration> {
    let times = world.attempted_at(event).await;
    times.windows(2).map(|pair| pair[1].since(pair[0])).collect()
}

fn with_schedule(waits: &[i64]) -> EndpointFields {
    EndpointFields {
        retry_schedule: Some(waits.to_vec()),
        ..EndpointFields::default()
    }
}

#[track_caller]
fn assert_within_jitter(waits: &[Duration], schedule: &[u64]) {
    assert_eq!(waits.len(), schedule.len());
    for (wait, planned) in waits.iter().zip(schedule) {
        let most = seconds(*planned) + seconds(*planned) / 5;
        assert!(
            (seconds(*planned)..=most).contains(wait),
            "{wait:?} for {planned} s"
        );
    }
}

#[tokio::test]
async fn an_event_is_delivered_byte_for_byte_at_once() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    let event = world.publish("acme", r#"{"total": 1E400, "a": 1, "a": 2}"#).await;
    assert_eq!(world.timeline(event).await, ["pending"]);

    world.settle().await;

    assert_eq!(world.timeline(event).await, ["1 event 200", "delivered"]);
    let received = world.receivers.take();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].url, URL);
    assert_eq!(received[0].text(), r#"{"total": 1E400, "a": 1, "a": 2}"#);
    assert_eq!(received[0].id(), event.to_string());
    assert_eq!(world.after(seconds(100_000)).await, 0);
}

#[tokio::test]
async fn a_failing_receiver_gets_ten_attempts_over_the_default_schedule() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    let event = world.publish("acme", "{}").await;

    world.play(event).await;

    let timeline = world.timeline(event).await;
    assert_eq!(timeline.len(), 11);
    assert!(
        (1..=10).all(|no| timeline[no - 1] == format!("{no} event 500")),
        "{timeline:?}"
    );
    assert_eq!(timeline[10], "exhausted: schedule_ended");
    let default = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
    let waits = waits(&world, event).await;
    assert_within_jitter(&waits, &default);
    assert!(
        waits
            .iter()
            .zip(default)
            .any(|(wait, planned)| *wait > seconds(planned)),
        "no jitter at all"
    );
    assert!(
        world
            .receivers
            .take()
            .iter()
            .all(|received| received.id() == event.to_string())
    );
    assert_eq!(world.after(seconds(1_000_000)).await, 0);
}

#[tokio::test]
async fn nothing_is_sent_before_it_is_due() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    let due_at = world.delivery(event).await.next_attempt_at.unwrap();

    world.clock.step_to(due_at.minus(Duration::from_micros(1)));
    assert_eq!(world.settle().await, 0);
    world.clock.step_to(due_at);
    assert_eq!(world.settle().await, 1);

    assert_eq!(
        world.timeline(event).await,
        ["1 event 500", "2 event 200", "delivered"]
    );
    assert_eq!(world.delivery(event).await.next_attempt_at, None);
}

#[tokio::test]
async fn a_retry_that_waits_holds_back_nothing_newer() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    world.publish("acme", "1").await;
    world.settle().await;
    world.publish("acme", "2").await;
    world.settle().await;
    world.after(seconds(10)).await;
    let received: Vec<String> = world.receivers.take().iter().map(|one| one.text()).collect();
    assert_eq!(received, ["1", "2", "1"]);
}

#[tokio::test]
async fn an_endpoint_has_its_own_schedule() {
    let mut world = world().await;
    world
        .endpoint_with("acme", URL, with_schedule(&[1, 604_800]))
        .await;
    world.receivers.script(URL, &[Reply::Fails(ErrorClass::Connect)]);
    let event = world.publish("acme", "{}").await;

    world.play(event).await;

    let timeline = [
        "1 event connect",
        "2 event connect",
        "3 event connect",
        "exhausted: schedule_ended",
    ];
    assert_eq!(world.timeline(event).await, timeline);
    assert_within_jitter(&waits(&world, event).await, &[1, 604_800]);
}

#[tokio::test]
async fn an_empty_schedule_is_one_attempt() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, with_schedule(&[])).await;
    world.receivers.script(URL, &[Reply::Fails(ErrorClass::Timeout)]);
    let event = world.publish("acme", "{}").await;

    world.play(event).await;

    assert_eq!(
        world.timeline(event).await,
        ["1 event timeout", "exhausted: schedule_ended"]
    );
}

#[tokio::test]
async fn a_retry_after_is_never_undercut() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    let replies = [
        Reply::RetryAfter(503, "3600"),
        Reply::RetryAfter(429, "1"),
        Reply::Status(204),
    ];
    world.receivers.script(URL, &replies);
    let event = world.publish("acme", "{}").await;

    world.play(event).await;

    assert_eq!(
        world.timeline(event).await,
        ["1 event 503", "2 event 429", "3 event 204", "delivered"]
    );
    let waits = waits(&world, event).await;
    assert_eq!(waits[0], seconds(3_600), "later than the schedule says");
    assert_within_jitter(&waits[1..], &[300]);
}

#[tokio::test]
async fn a_fault_of_ours_costs_no_place_in_the_schedule() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, with_schedule(&[60])).await;
    let ours = Reply::Fails(ErrorClass::Proxy);
    let replies = [
        ours.clone(),
        ours.clone(),
        Reply::Status(500),
        ours,
        Reply::Status(500),
    ];
    world.receivers.script(URL, &replies);
    let event = world.publish("acme", "{}").await;

    world.play(event).await;

    let timeline = [
        "1 event proxy",
        "2 event proxy",
        "3 event 500",
        "4 event proxy",
        "5 event 500",
        "exhausted: schedule_ended",
    ];
    assert_eq!(world.timeline(event).await, timeline);
}

#[tokio::test]
async fn waits_that_start_at_the_first_attempt_do_not_drift() {
    let mut world = world().await;
    let fields = EndpointFields {
        retry_anchor: Some("first".into()),
        ..with_schedule(&[3_600; 5])
    };
    let endpoint = world.endpoint_with("acme", URL, fields).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    let event = world.publish("acme", "{}").await;
    let first = world.now();

    world.settle().await;
    world.after(seconds(3_700)).await;
    // Three places of the schedule pass while it is held: they merge into the attempt that the resuming brings.
    world.pause(endpoint).await;
    world.after(seconds(3 * 3_600)).await;
    world.resume(endpoint).await;
    world.play(event).await;

    let after: Vec<u64> = world
        .attempted_at(event)
        .await
        .iter()
        .map(|at| at.since(first).as_secs())
        .collect();
    assert_eq!(after[..3], [0, 3_700, 3_700 + 3 * 3_600]);
    assert!((5 * 3_600..=5 * 3_600 + 60).contains(&after[3]), "{after:?}");
    assert_eq!(after.len(), 4, "the end of the last wait exhausts");
    assert_eq!(
        world.delivery(event).await.reason.unwrap().as_str(),
        "schedule_ended"
    );
}
