//! Test sends: past queue and status, tried once, without consequences for the endpoint.

use super::{URL, seconds, world};
use stentor_domain::id::{DeliveryId, EndpointId};
use stentor_domain::key::Scope;
use stentor_testkit::{EndpointFields, Reply, World};

/// How a test's delivery ended.
async fn end(world: &World, test: DeliveryId) -> String {
    let delivery = world.store.delivery(Scope::Root, test).await.unwrap().unwrap();
    let reason = delivery.reason.map(|reason| reason.as_str()).unwrap_or_default();
    format!("{} {reason} after {}", delivery.state.as_str(), delivery.attempts)
}

async fn failures_in_a_row(world: &World, endpoint: EndpointId) -> u32 {
    world.found(endpoint).await.health.consecutive_failures
}

#[tokio::test]
async fn a_test_is_a_real_signed_request_and_its_caller_sees_the_attempt() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let test = world.test(endpoint).await.unwrap();

    assert_eq!(test.attempt.attempt.outcome.status(), Some(200));
    let received = world.receivers.take();
    assert_eq!(received.len(), 1);
    assert!(received[0].text().contains("webhook.test"));
    assert!(received[0].header("webhook-signature").starts_with("v1,"));
    assert_eq!(end(&world, test.delivery).await, "delivered  after 1");
}

#[tokio::test]
async fn a_test_goes_past_those_who_wait_and_past_pause_and_disabling() {
    let mut world = world().await;
    let fields = EndpointFields {
        max_in_flight: Some(Some(1)),
        ..EndpointFields::default()
    };
    let endpoint = world.endpoint_with("acme", URL, fields).await;
    world.pause(endpoint).await;
    world.publish_many("acme", 10).await;
    assert!(world.test(endpoint).await.is_ok());
    assert_eq!(world.receivers.take().len(), 1, "nothing else");

    world.receivers.script(URL, &[Reply::Status(410)]);
    world.resume(endpoint).await;
    world.settle().await;
    world.receivers.take();
    world.receivers.script(URL, &[Reply::Status(200)]);
    assert!(world.test(endpoint).await.is_ok());
    assert_eq!(world.receivers.take().len(), 1, "to a disabled endpoint, too");
}

#[tokio::test]
async fn a_test_that_fails_is_not_tried_again_and_has_no_consequences() {
    for status in [500, 410, 429] {
        let mut world = world().await;
        let endpoint = world.endpoint("acme", URL).await;
        world.receivers.script(URL, &[Reply::Status(status)]);
        let test = world.test(endpoint).await.unwrap();

        assert_eq!(test.attempt.attempt.outcome.status(), Some(status));
        assert_eq!(world.after(seconds(1_000_000)).await, 0);
        assert_eq!(end(&world, test.delivery).await, "exhausted test_failed after 1");
        assert_eq!(failures_in_a_row(&world, endpoint).await, 0);
        let event = world.publish("acme", "{}").await;
        world.settle().await;
        assert_eq!(
            world.attempts(event).await.len(),
            1,
            "the endpoint is as active as before"
        );
    }
}

#[tokio::test]
async fn a_test_that_nobody_waits_for_any_more_is_not_left_behind() {
    for paused in [false, true] {
        let mut world = world().await;
        let endpoint = world.endpoint("acme", URL).await;
        if paused {
            world.pause(endpoint).await;
        }
        let (engine, root) = (world.engine.clone(), world.root.clone());
        let test = async move { engine.test_endpoint(&root, endpoint, None).await };
        let test = tokio::spawn(test);
        world.until_something_is_unfinished().await;
        world.launch(1).await;
        test.abort();
        drop(test.await);
        let mut world = world.kill_and_restart().await;
        world.after(seconds(10)).await;

        assert_eq!(world.unfinished(), 0);
        assert_eq!(world.receivers.take().len(), 1);
    }
}

#[tokio::test]
async fn the_caller_of_a_test_that_is_given_back_hears_so_at_once() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let (engine, root) = (world.engine.clone(), world.root.clone());
    let test = async move { engine.test_endpoint(&root, endpoint, None).await };
    let test = tokio::spawn(test);
    world.until_something_is_unfinished().await;
    world.drop_fresh().await;
    assert!(test.await.unwrap().is_err());
    world.after(seconds(10)).await;

    assert_eq!(world.unfinished(), 0);
    assert_eq!(world.receivers.take().len(), 0);
}

#[tokio::test]
async fn tests_are_many_at_once_but_bounded_and_each_gets_its_turn() {
    const TESTS: usize = 70;
    const AT_ONCE: usize = 64;
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.receivers.fall_silent();
    world.run();
    let callers: Vec<_> = (0..TESTS)
        .map(|_| {
            let (engine, caller) = (world.engine.clone(), world.root.clone());
            tokio::spawn(async move { engine.test_endpoint(&caller, endpoint, None).await.is_ok() })
        })
        .collect();
    world.receivers.open(AT_ONCE).await;
    world.receivers.speak();
    for caller in callers {
        assert!(caller.await.unwrap());
    }
    assert_eq!(world.receivers.open_most(), AT_ONCE);
    world.stop().await;
}
