//! Cancelling and retrying by hand.

use super::{URL, seconds, world};
use stentor_domain::delivery::State;
use stentor_engine::Error;
use stentor_testkit::{EndpointFields, Reply};

fn is_conflict<T>(answer: &Result<T, Error>, expected: &str) -> bool {
    matches!(answer, Err(Error::Conflict { code, .. }) if *code == expected)
}

#[tokio::test]
async fn a_delivery_that_waits_is_cancelled_at_once() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    let event = world.publish("acme", "{}").await;
    world.settle().await;

    assert_eq!(world.cancel(event).await.unwrap().state, State::Cancelled);

    assert_eq!(world.after(seconds(100_000)).await, 0);
    assert_eq!(
        world.timeline(event).await,
        ["1 event 500", "cancelled: requested"]
    );
    assert!(is_conflict(&world.cancel(event).await, "delivery_finished"));
}

#[tokio::test]
async fn a_delivery_that_waits_in_memory_is_cancelled_without_an_attempt() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    let event = world.publish("acme", "{}").await;
    world.cancel(event).await.unwrap();
    world.settle().await;

    assert_eq!(world.timeline(event).await, ["cancelled: requested"]);
    assert_eq!(world.receivers.take().len(), 0);
}

#[tokio::test]
async fn cancelling_one_in_memory_delays_nobody_else() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    world.tenant("other").await;
    world.endpoint("other", "https://other.example/").await;
    let cancelled = world.publish("acme", "1").await;
    let other = world.publish("other", "2").await;
    world.cancel(cancelled).await.unwrap();
    world.settle().await;

    assert_eq!(world.timeline(cancelled).await, ["cancelled: requested"]);
    assert_eq!(world.timeline(other).await, ["1 event 200", "delivered"]);
}

#[tokio::test]
async fn what_is_cancelled_in_flight_ends_with_its_attempt() {
    for (answer, end) in [
        (200, "delivered"),
        (500, "cancelled: requested"),
        (410, "cancelled: requested"),
    ] {
        let mut world = world().await;
        world.endpoint("acme", URL).await;
        world.receivers.script(URL, &[Reply::Status(answer)]);
        let event = world.publish("acme", "{}").await;
        world.launch(1).await;
        assert_eq!(world.cancel(event).await.unwrap().state, State::Pending);
        assert!(is_conflict(&world.retry(event).await, "delivery_being_cancelled"));
        world.land().await;
        world.after(seconds(100_000)).await;

        assert_eq!(
            world.timeline(event).await,
            [format!("1 event {answer}"), end.into()]
        );
        assert_eq!(world.receivers.take().len(), 1);
    }
}

#[tokio::test]
async fn what_is_cancelled_in_memory_and_then_given_back_is_not_sent_later() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let event = world.publish("acme", "{}").await;
    world.cancel(event).await.unwrap();
    world.pause(endpoint).await;
    world.drop_fresh().await;
    world.after(seconds(10)).await;
    world.resume(endpoint).await;
    world.after(seconds(10)).await;

    assert_eq!(world.timeline(event).await, ["cancelled: requested"]);
    assert_eq!(world.receivers.take().len(), 0);
}

#[tokio::test]
async fn a_wish_to_cancel_survives_the_death_of_the_process() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    let event = world.publish("acme", "{}").await;
    world.launch(1).await;
    world.cancel(event).await.unwrap();
    let mut world = world.kill_and_restart().await;
    world.after(seconds(100_000)).await;

    assert_eq!(world.timeline(event).await, ["cancelled: requested"]);
    assert_eq!(world.receivers.take().len(), 1);
}

#[tokio::test]
async fn a_held_delivery_is_cancelled_at_once() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.pause(endpoint).await;
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    assert_eq!(world.cancel(event).await.unwrap().state, State::Cancelled);
    world.resume(endpoint).await;
    world.after(seconds(10)).await;
    assert_eq!(world.timeline(event).await, ["cancelled: requested"]);
    assert_eq!(world.receivers.take().len(), 0);
}

#[tokio::test]
async fn a_retry_makes_what_waits_due_now_and_takes_its_place_in_the_schedule() {
    let mut world = world().await;
    let fields = EndpointFields {
        retry_schedule: Some(vec![3_600]),
        ..EndpointFields::default()
    };
    world.endpoint_with("acme", URL, fields).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    world.retry(event).await.unwrap();
    world.settle().await;

    assert_eq!(world.timeline(event).await[..2], ["1 event 500", "2 event 500"]);
    assert_eq!(world.timeline(event).await[2], "exhausted: schedule_ended");
}

#[tokio::test]
async fn each_finished_state_is_reopened_with_numbers_going_on_and_a_fresh_schedule() {
    for ended in ["delivered", "exhausted: schedule_ended", "cancelled: requested"] {
        let mut world = world().await;
        let fields = EndpointFields {
            retry_schedule: Some(vec![5]),
            ..EndpointFields::default()
        };
        world.endpoint_with("acme", URL, fields).await;
        let first = if ended == "delivered" { 200 } else { 500 };
        world.receivers.script(URL, &[Reply::Status(first)]);
        let event = world.publish("acme", "{}").await;
        if ended == "cancelled: requested" {
            world.settle().await;
            world.cancel(event).await.unwrap();
        } else {
            world.play(event).await;
        }
        let before = world.timeline(event).await;
        let made = before.len() - 1;
        assert_eq!(before[made], ended);

        world
            .receivers
            .script(URL, &[Reply::Status(500), Reply::Status(200)]);
        assert_eq!(world.retry(event).await.unwrap().state, State::Pending);
        world.play(event).await;

        let mut expected = before[..made].to_vec();
        expected.push(format!("{} retry 500", made + 1));
        expected.push(format!("{} retry 200", made + 2));
        expected.push("delivered".into());
        assert_eq!(world.timeline(event).await, expected);
        assert_eq!(world.delivery(event).await.attempts as usize, made + 2);
        let received = world.receivers.take();
        assert!(received.iter().all(|one| one.id() == event.to_string()));
    }
}

#[tokio::test]
async fn a_retry_to_a_paused_endpoint_is_held() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    world.pause(endpoint).await;
    world.retry(event).await.unwrap();
    world.after(seconds(10)).await;
    assert_eq!(
        world.timeline(event).await,
        ["1 event 200", "held: endpoint_paused"]
    );

    world.resume(endpoint).await;
    world.settle().await;
    assert_eq!(
        world.timeline(event).await,
        ["1 event 200", "2 retry 200", "delivered"]
    );
}

#[tokio::test]
async fn nothing_is_retried_to_an_endpoint_that_is_disabled_or_deleted() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world
        .receivers
        .script(URL, &[Reply::Status(200), Reply::Status(410)]);
    let delivered = world.publish("acme", "1").await;
    world.settle().await;
    world.publish("acme", "2").await;
    world.settle().await;
    assert!(is_conflict(&world.retry(delivered).await, "endpoint_disabled"));
    world.delete(endpoint).await;
    assert!(is_conflict(&world.retry(delivered).await, "endpoint_deleted"));
}
