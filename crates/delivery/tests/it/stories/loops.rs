//! Events that a webhook led to: every send says how many webhooks came before it.

use super::{URL, seconds, world};
use stentor_domain::id::EventId;
use stentor_domain::trace::Trace;
use stentor_testkit::{EndpointFields, Publication, Reply, World, order_paid};

/// Publishes as a receiver does that got a webhook with this number.
async fn publish_after(world: &World, loops: u8) -> EventId {
    let event = Publication {
        loops,
        ..order_paid("acme", "{}")
    };
    world.publish_all(vec![event]).await.unwrap()[0].id
}

fn numbers(world: &World) -> Vec<String> {
    let received = world.receivers.take();
    received
        .iter()
        .map(|one| one.header("webhook-loop").to_owned())
        .collect()
}

#[tokio::test]
async fn every_send_says_how_many_webhooks_led_to_it() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.publish("acme", "{}").await;
    world.settle().await;
    assert_eq!(numbers(&world), ["1"]);
    for loops in 1..5 {
        publish_after(&world, loops).await;
        world.settle().await;
        assert_eq!(numbers(&world), [(loops + 1).to_string()]);
    }
    world.test(endpoint).await.unwrap();
    assert_eq!(numbers(&world), ["1"]);
}

#[tokio::test]
async fn the_count_is_kept_through_retries_deaths_and_orders_to_send_again() {
    let world = world().await;
    let fields = EndpointFields {
        retry_schedule: Some(vec![10, 20]),
        ..EndpointFields::default()
    };
    world.endpoint_with("acme", URL, fields).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(500), Reply::Status(200)]);
    let event = publish_after(&world, 3).await;
    let never_sent = publish_after(&world, 2).await;
    let mut world = world.kill_and_restart().await;
    world.settle().await;
    world = world.kill_and_restart().await;
    world.after(seconds(3_600)).await;
    world.retry(event).await.unwrap();
    world.settle().await;

    let received = world.receivers.take();
    let of = |event: EventId| {
        let of_event = received.iter().filter(|one| one.id() == event.to_string());
        of_event
            .map(|one| one.header("webhook-loop").to_owned())
            .collect::<Vec<_>>()
    };
    assert!(of(event).len() >= 3, "{received:?}");
    assert!(of(event).iter().all(|number| number == "4"));
    assert!(of(never_sent).iter().all(|number| number == "3") && !of(never_sent).is_empty());
}

#[tokio::test]
async fn a_trace_is_sent_with_every_attempt_beside_the_count_and_survives_a_death() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let world = world().await;
    let fields = EndpointFields {
        retry_schedule: Some(vec![10]),
        ..EndpointFields::default()
    };
    world.endpoint_with("acme", URL, fields).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    let event = Publication {
        loops: 2,
        trace: Trace::parse(PARENT, Some("rojo=1,congo=2")),
        ..order_paid("acme", "{}")
    };
    let event = world.publish_all(vec![event]).await.unwrap()[0].id;
    let mut world = world.kill_and_restart().await;
    world.play(event).await;
    let received = world.receivers.take();
    let headers = ["traceparent", "tracestate", "webhook-loop"];
    let sent: Vec<_> = received
        .iter()
        .map(|one| headers.map(|name| one.header(name)))
        .collect();
    assert_eq!(sent, [[PARENT, "rojo=1,congo=2", "3"]; 2]);
}
