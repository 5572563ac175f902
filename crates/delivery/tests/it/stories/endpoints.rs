//! Endpoints that are paused, gone, edited or deleted while deliveries are under way.

use super::operational::{OPERATOR, told};
use super::{URL, seconds, world};
use stentor_domain::delivery::State;
use stentor_domain::endpoint::{DisabledReason, Status, Switch};
use stentor_domain::id::EndpointId;
use stentor_store::deliveries::DeliveryFilter;
use stentor_testkit::{EndpointFields, Reply, World};

async fn status(world: &World, endpoint: EndpointId) -> Status {
    let found = world.engine.get_endpoint(&world.root, endpoint).await;
    found.unwrap().endpoint.status
}

/// RX-24.
#[tokio::test]
async fn gone_disables_the_endpoint_and_holds_the_delivery_until_it_is_active_again() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world
        .receivers
        .script(URL, &[Reply::Status(410), Reply::Status(200)]);
    let event = world.publish("acme", "1").await;
    world.settle().await;

    assert_eq!(
        world.timeline(event).await,
        ["1 event 410", "held: endpoint_disabled"]
    );
    assert_eq!(
        status(&world, endpoint).await,
        Status::Disabled(DisabledReason::Gone)
    );
    let meanwhile = world.publish("acme", "2").await;
    assert_eq!(
        world.deliveries(meanwhile).await,
        [],
        "a disabled endpoint matches nothing"
    );
    assert_eq!(world.after(seconds(100_000)).await, 0);

    world.resume(endpoint).await;
    world.settle().await;

    assert_eq!(
        world.timeline(event).await,
        ["1 event 410", "2 event 200", "delivered"]
    );
    assert_eq!(world.receivers.take().len(), 2);
}

/// RX-24: once.
#[tokio::test]
async fn several_that_are_answered_gone_at_once_are_one_notice() {
    let mut world = world().await;
    world.operational(OPERATOR).await;
    let endpoint = world.endpoint("acme", URL).await;
    world.acquaint("acme").await;
    world.receivers.script(URL, &[Reply::Status(410)]);
    let mut events = Vec::new();
    for n in 0..20 {
        events.push(world.publish("acme", &n.to_string()).await);
    }
    world.launch(16).await;
    world.land().await;
    world.settle().await;

    assert_eq!(told(&world), ["endpoint.disabled gone"]);
    assert_eq!(
        world.receivers.take().len(),
        16,
        "those that still waited are held without an attempt"
    );
    world.receivers.script(URL, &[Reply::Status(200)]);
    world.resume(endpoint).await;
    world.settle().await;
    for event in events {
        assert_eq!(world.timeline(event).await.last().unwrap(), "delivered");
    }
    assert_eq!(world.receivers.take().len(), 20);
}

#[tokio::test]
async fn pausing_holds_and_resuming_sends_in_order_of_age() {
    let mut world = world().await;
    let fields = EndpointFields {
        max_in_flight: Some(Some(1)),
        ..EndpointFields::default()
    };
    let endpoint = world.endpoint_with("acme", URL, fields).await;
    let before = world.publish("acme", "0").await;
    world.pause(endpoint).await;
    for n in 1..100 {
        world.clock.step(seconds(1));
        let event = world.publish("acme", &n.to_string()).await;
        assert_eq!(world.timeline(event).await, ["held: endpoint_paused"]);
    }
    assert!(
        world.after(seconds(100_000)).await > 0,
        "what was handed over is given back"
    );
    assert_eq!(world.receivers.take().len(), 0);
    assert_eq!(world.timeline(before).await, ["held: endpoint_paused"]);
    assert_eq!(world.delivery(before).await.next_attempt_at, None);

    world.resume(endpoint).await;
    world.settle().await;

    let bodies: Vec<String> = world.receivers.take().iter().map(|one| one.text()).collect();
    assert_eq!(bodies, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_in_flight_when_its_endpoint_is_paused_still_counts() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    let event = world.publish("acme", "{}").await;
    world.launch(1).await;
    world.pause(endpoint).await;
    world.land().await;
    world.after(seconds(100_000)).await;
    assert_eq!(
        world.timeline(event).await,
        ["1 event 500", "held: endpoint_paused"]
    );

    world.resume(endpoint).await;
    world.settle().await;
    assert_eq!(
        world.timeline(event).await,
        ["1 event 500", "2 event 200", "delivered"]
    );
}

#[tokio::test]
async fn a_retry_goes_to_where_the_endpoint_is_now() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.receivers.script(URL, &[Reply::Status(404)]);
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    let fields = EndpointFields {
        url: Some("https://receiver.example/moved".into()),
        ..EndpointFields::default()
    };
    world.change(endpoint, fields).await;
    world.play(event).await;

    let urls: Vec<String> = world.receivers.take().into_iter().map(|one| one.url).collect();
    assert_eq!(urls, [URL, "https://receiver.example/moved"]);
    assert_eq!(
        world.timeline(event).await,
        ["1 event 404", "2 event 200", "delivered"]
    );
}

#[tokio::test]
async fn what_is_in_flight_when_its_endpoint_moves_ends_where_it_was_and_is_retried_where_it_is() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    let event = world.publish("acme", "{}").await;
    world.launch(1).await;
    let moved = EndpointFields {
        url: Some("https://receiver.example/moved".into()),
        ..EndpointFields::default()
    };
    world.change(endpoint, moved).await;
    world.land().await;
    world.play(event).await;

    let urls: Vec<String> = world.receivers.take().into_iter().map(|one| one.url).collect();
    assert_eq!(urls, [URL, "https://receiver.example/moved"]);
}

#[tokio::test]
async fn gone_from_where_an_endpoint_was_does_not_disable_it_where_it_is() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.receivers.script(URL, &[Reply::Status(410)]);
    let event = world.publish("acme", "{}").await;
    world.launch(1).await;
    let moved = EndpointFields {
        url: Some("https://receiver.example/moved".into()),
        switch: Some(Switch::Active(true)),
        ..EndpointFields::default()
    };
    world.change(endpoint, moved).await;
    world.land().await;
    assert_eq!(status(&world, endpoint).await, Status::Active);
    world.settle().await;
    assert_eq!(
        world.timeline(event).await,
        ["1 event 410", "2 event 200", "delivered"]
    );
}

#[tokio::test]
async fn what_its_owner_switches_off_is_held_and_matches_nothing_until_it_is_switched_on() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let switched = |on| EndpointFields {
        switch: Some(Switch::Active(on)),
        ..EndpointFields::default()
    };
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    let event = world.publish("acme", "1").await;
    world.launch(1).await;
    world.change(endpoint, switched(false)).await;
    world.land().await;
    let meanwhile = world.publish("acme", "2").await;
    assert_eq!(world.after(seconds(100_000)).await, 0);
    assert_eq!(
        world.timeline(event).await,
        ["1 event 500", "held: endpoint_disabled"]
    );
    assert_eq!(
        status(&world, endpoint).await,
        Status::Disabled(DisabledReason::Owner)
    );

    world.change(endpoint, switched(true)).await;
    world.settle().await;
    assert_eq!(
        world.timeline(event).await,
        ["1 event 500", "2 event 200", "delivered"]
    );
    assert_eq!(world.deliveries(meanwhile).await, []);
}

#[tokio::test]
async fn what_waits_when_its_endpoint_is_deleted_is_cancelled_from_that_moment() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    let tried = world.publish("acme", "1").await;
    world.settle().await;
    let handed_over = world.publish("acme", "2").await;
    world.receivers.take();
    world.delete(endpoint).await;

    for _ in 0..2 {
        assert_eq!(
            world.timeline(tried).await,
            ["1 event 500", "cancelled: endpoint_deleted"]
        );
        assert_eq!(world.timeline(handed_over).await, ["cancelled: endpoint_deleted"]);
        world.after(seconds(1_000)).await;
    }
    assert_eq!(world.receivers.take().len(), 0);
    assert_eq!(
        world.unfinished(),
        0,
        "the sweeper has written what was true already"
    );
}

#[tokio::test]
async fn what_is_in_flight_when_its_endpoint_is_deleted_is_delivered_or_cancelled() {
    for (answer, end) in [(200, "delivered"), (500, "cancelled: endpoint_deleted")] {
        let mut world = world().await;
        let endpoint = world.endpoint("acme", URL).await;
        world.receivers.script(URL, &[Reply::Status(answer)]);
        let event = world.publish("acme", "{}").await;
        world.launch(1).await;
        world.delete(endpoint).await;
        world.tick_jobs().await;
        world.land().await;
        world.after(seconds(100_000)).await;

        assert_eq!(
            world.timeline(event).await,
            [format!("1 event {answer}"), end.into()]
        );
        assert_eq!(world.unfinished(), 0);
        assert_eq!(world.receivers.take().len(), 1);
    }
}

#[tokio::test]
async fn a_deleted_tenant_takes_its_deliveries_along() {
    let mut world = world().await;
    world.tenant("other").await;
    world.endpoint("acme", URL).await;
    world.endpoint("other", "https://other.example/").await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    let tried = world.publish("acme", "1").await;
    world.settle().await;
    let handed_over = world.publish("acme", "2").await;
    world.receivers.take();
    world.delete_tenant("acme").await;
    let others = world.publish("other", "3").await;

    for _ in 0..2 {
        assert_eq!(
            world.timeline(tried).await,
            ["1 event 500", "cancelled: tenant_deleted"]
        );
        assert_eq!(world.timeline(handed_over).await, ["cancelled: tenant_deleted"]);
        world.after(seconds(1_000)).await;
    }
    assert_eq!(world.timeline(others).await, ["1 event 200", "delivered"]);
    assert_eq!(world.receivers.take().len(), 1);
    assert_eq!(world.unfinished(), 0);
}

#[tokio::test]
async fn the_list_of_an_endpoint_shows_its_own_deliveries_with_the_latest_answer() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.endpoint("acme", "https://elsewhere.example/hook").await;
    world
        .receivers
        .script(URL, &[Reply::Status(503), Reply::Status(204)]);
    let first = world.publish("acme", "1").await;
    world.settle().await;
    world.test(endpoint).await.unwrap();
    let second = world.publish("acme", "2").await;

    let configured = world.store.config().endpoint(endpoint.n()).unwrap();
    let list = async |states: Vec<State>, before, limit| {
        let filter = DeliveryFilter {
            states,
            without_tests: true,
            ..DeliveryFilter::default()
        };
        let listing = world
            .engine
            .deliveries_of_endpoint(&configured, filter, before, limit);
        let page = listing.await.unwrap();
        let shown = page.items.iter();
        let shown = shown.map(|delivery| (delivery.event, delivery.last_status));
        (shown.collect::<Vec<_>>(), page.next)
    };
    assert_eq!(
        list(vec![], None, 2).await,
        (vec![(second, None), (first, Some(503))], None)
    );
    let (newest, next) = list(vec![State::Pending, State::Held], None, 1).await;
    assert_eq!(newest, [(second, None)]);
    assert_eq!(
        list(vec![], next, 1).await,
        (vec![(first, Some(503))], None),
        "the first is the last"
    );
    assert_eq!(list(vec![State::Delivered], None, 1).await, (vec![], None));
}
