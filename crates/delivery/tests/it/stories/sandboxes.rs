//! Projects that are sandboxes: what the operator allows is sent, all else is simulated.

use super::{URL, seconds};
use stentor_domain::address::AllowList;
use stentor_domain::id::{DeliveryId, EndpointId};
use stentor_domain::key::Scope;
use stentor_engine::Settings;
use stentor_testkit::{EndpointFields, Reply, Setup, World};

/// The operator's exception.
const ALLOWED: &str = "127.0.0.1:9000";
/// An address inside of it.
const INSIDE: &str = "http://127.0.0.1:9000/hook";

fn allowing(destinations: &[&str]) -> AllowList {
    destinations.iter().map(|one| one.parse().unwrap()).collect()
}

/// A world whose operator allows [`ALLOWED`], with tenant `acme` in a sandbox.
async fn world() -> World {
    let settings = Settings {
        allow: allowing(&[ALLOWED]),
        ..Settings::default()
    };
    let mut world = World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    world.sandbox().await;
    world.tenant("acme").await;
    world
}

/// Failures in a row, and rows that tell of the endpoint's health.
async fn health(world: &World, endpoint: EndpointId) -> (u32, i64) {
    let found = world.engine.get_endpoint(&world.root, endpoint).await;
    (
        found.unwrap().health.consecutive_failures,
        world.number("SELECT count(*) FROM endpoint_health"),
    )
}

#[tokio::test]
async fn what_the_operator_does_not_allow_is_delivered_in_word_alone() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    let event = world.publish("acme", "{}").await;
    world.settle().await;

    assert_eq!(
        world.timeline(event).await,
        ["1 event simulated", "delivered: sandbox"]
    );
    assert!(world.receivers.take().is_empty(), "nobody is asked");
    let attempt = &world.attempts(event).await[0];
    assert!(attempt.outcome.succeeded());
    assert!(attempt.exchange.address.is_none() && attempt.exchange.answer.is_none());
    for header in [
        format!("webhook-id: {event}\n"),
        "webhook-signature: v1,".to_owned(),
    ] {
        assert!(attempt.exchange.sent_headers.contains(&header), "{header}");
    }
    assert_eq!(health(&world, endpoint).await, (0, 0));
    assert_eq!(world.after(seconds(1_000_000)).await, 0);
}

#[tokio::test]
async fn what_the_operator_allows_is_sent() {
    let mut world = world().await;
    world.endpoint("acme", INSIDE).await;
    world
        .receivers
        .script(INSIDE, &[Reply::Status(500), Reply::Status(204)]);
    let event = world.publish("acme", "{}").await;
    world.play(event).await;

    assert_eq!(
        world.timeline(event).await,
        ["1 event 500", "2 event 204", "delivered"]
    );
    assert_eq!(world.receivers.take().len(), 2);
}

#[tokio::test]
async fn only_the_very_address_and_port_count_as_allowed() {
    let mut world = world().await;
    // Public ones, which any other project would reach; the last name may well lead to an allowed address.
    let outside = [
        "https://93.184.215.14/hook",
        "https://93.184.215.14:9000/hook",
        "https://127.0.0.1.nip.io:9000/hook",
    ];
    for url in outside {
        world.endpoint("acme", url).await;
    }
    for url in ["http://0x7f.1:9000/hook", "http://[::ffff:127.0.0.1]:9000/hook"] {
        world.endpoint("acme", url).await;
    }
    world.publish("acme", "{}").await;
    world.settle().await;

    let received = world.received_by_url();
    assert_eq!(
        received.keys().collect::<Vec<_>>(),
        ["http://0x7f.1:9000/hook", "http://[::ffff:127.0.0.1]:9000/hook"]
    );
}

#[tokio::test]
async fn other_projects_go_on_sending() {
    let mut world = world().await;
    world.endpoint("acme", URL).await;
    world.publish("acme", "{}").await;
    world.settle().await;
    world.root.project_named = None;
    world.tenant("acme").await;
    world.endpoint("acme", URL).await;
    let event = world.publish("acme", "{}").await;
    world.settle().await;

    assert_eq!(world.timeline(event).await, ["1 event 200", "delivered"]);
    assert_eq!(world.receivers.take().len(), 1);
}

#[tokio::test]
async fn a_paused_endpoint_holds_what_it_would_simulate() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.pause(endpoint).await;
    let event = world.publish("acme", "{}").await;
    world.after(seconds(100)).await;
    assert_eq!(world.timeline(event).await, ["held: endpoint_paused"]);

    world.resume(endpoint).await;
    world.settle().await;
    assert_eq!(
        world.timeline(event).await,
        ["1 event simulated", "delivered: sandbox"]
    );
}

#[tokio::test]
async fn a_retry_is_simulated_once_the_operator_allows_its_destination_no_more() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", INSIDE).await;
    world.receivers.script(INSIDE, &[Reply::Status(500)]);
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    assert_eq!(world.receivers.take().len(), 1);
    assert_eq!(health(&world, endpoint).await, (1, 1));

    let mut world = world
        .kill_and_restart_with(|setup| setup.settings.allow = AllowList::default())
        .await;
    world.root.project_named = Some("sandbox".into());
    world.play(event).await;
    let timeline = ["1 event 500", "2 event simulated", "delivered: sandbox"];
    assert_eq!(world.timeline(event).await, timeline);
    assert!(world.receivers.take().is_empty());
    assert_eq!(
        health(&world, endpoint).await,
        (1, 1),
        "nothing is learned about the receiver"
    );
}

#[tokio::test]
async fn a_delivery_can_be_simulated_again_by_hand_and_then_be_sent_for_good() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    world.retry(event).await.unwrap();
    world.settle().await;
    let url = EndpointFields {
        url: Some(INSIDE.into()),
        ..EndpointFields::default()
    };
    world.change(endpoint, url).await;
    world.retry(event).await.unwrap();
    assert_eq!(
        world.timeline(event).await.last().map(String::as_str),
        Some("pending")
    );
    world.settle().await;

    let timeline = [
        "1 event simulated",
        "2 retry simulated",
        "3 retry 200",
        "delivered",
    ];
    assert_eq!(world.timeline(event).await, timeline);
    assert_eq!(world.receivers.take().len(), 1);
}

#[tokio::test]
async fn a_test_is_simulated_too_whatever_the_endpoints_status() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.pause(endpoint).await;
    let test = world.test(endpoint).await.unwrap();

    let outcome = test.attempt.attempt.outcome;
    assert_eq!((outcome.succeeded(), outcome.status()), (true, None));
    assert!(world.receivers.take().is_empty());
    let delivery: DeliveryId = test.delivery;
    let delivery = world
        .store
        .delivery(Scope::Root, delivery)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(delivery.reason.map(|reason| reason.as_str()), Some("sandbox"));
    assert_eq!(health(&world, endpoint).await, (0, 0));
}
