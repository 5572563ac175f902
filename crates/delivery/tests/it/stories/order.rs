//! Ordered endpoints: one request after the other, in the order of acceptance, whatever happens.

use super::{URL, seconds, world};
use stentor_domain::delivery::State;
use stentor_domain::health::Breaker;
use stentor_domain::id::{EndpointId, EventId};
use stentor_domain::limits::UNORDERED_MAX;
use stentor_engine::publish::Publication;
use stentor_testkit::{EndpointFields, Reply, Setup, TestDatabase, World, order_paid};

fn ordered() -> EndpointFields {
    EndpointFields {
        ordered: Some(true),
        ..EndpointFields::default()
    }
}

/// An ordered endpoint with this retry schedule.
fn ordered_with(waits: &[i64]) -> EndpointFields {
    EndpointFields {
        retry_schedule: Some(waits.to_vec()),
        ..ordered()
    }
}

fn switch(on: bool) -> EndpointFields {
    EndpointFields {
        ordered: Some(on),
        ..EndpointFields::default()
    }
}

/// The payloads that were received since the last look, in order.
fn received(world: &World) -> Vec<String> {
    world.receivers.take().iter().map(|one| one.text()).collect()
}

fn numbers(of: std::ops::Range<usize>) -> Vec<String> {
    of.map(|n| n.to_string()).collect()
}

async fn states(world: &World, events: &[EventId]) -> Vec<&'static str> {
    let mut states = Vec::new();
    for event in events {
        states.push(world.delivery(*event).await.state.as_str());
    }
    states
}

#[tokio::test]
async fn events_are_sent_one_after_the_other_in_the_order_of_acceptance() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, ordered()).await;
    world.acquaint("acme").await;
    let events = world.publish_many("acme", 40).await;
    world.launch(1).await;
    world.land().await;
    world.settle().await;
    assert_eq!(received(&world), numbers(0..40));
    assert_eq!(world.receivers.open_most(), 1);
    assert!(
        states(&world, &events)
            .await
            .iter()
            .all(|one| *one == "delivered")
    );
}

#[tokio::test]
async fn a_dispatcher_that_works_by_itself_keeps_the_order_of_several_publishers() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, ordered()).await;
    world.run();
    let publish = async |who: usize| {
        for n in 0..20 {
            world.publish("acme", &format!("[{who}, {n:02}]")).await;
        }
    };
    let publishers = (0..4).map(|who| Box::pin(publish(who)));
    futures_util::future::join_all(publishers).await;
    world.receivers.answered(80).await;
    world.stop().await;
    let received = received(&world);
    assert_eq!(received.len(), 80);
    for who in 0..4 {
        let own = received.iter().filter(|one| one.starts_with(&format!("[{who},")));
        assert!(own.is_sorted(), "{received:?}");
    }
}

#[tokio::test]
async fn one_that_fails_holds_back_all_behind_it_until_it_is_delivered() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, ordered_with(&[5, 300])).await;
    let fails = [Reply::Status(500), Reply::Status(500), Reply::Status(200)];
    world.receivers.script(URL, &fails);
    let events = world.publish_many("acme", 3).await;
    world.settle().await;
    assert_eq!(received(&world), ["0"]);
    let later = world.publish("acme", "3").await;
    world.after(seconds(4)).await;
    assert_eq!(received(&world), [""; 0]);
    world.after(seconds(2)).await;
    assert_eq!(received(&world), ["0"]);
    world.after(seconds(299)).await;
    assert_eq!(received(&world), [""; 0]);
    world.after(seconds(61)).await;
    assert_eq!(received(&world), ["0", "1", "2", "3"]);
    assert_eq!(
        world.timeline(events[0]).await,
        ["1 event 500", "2 event 500", "3 event 200", "delivered"]
    );
    assert_eq!(world.timeline(later).await, ["1 event 200", "delivered"]);
}

#[tokio::test]
async fn one_that_is_exhausted_lets_the_next_go() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, ordered_with(&[5])).await;
    let fails = [Reply::Status(500), Reply::Status(500), Reply::Status(200)];
    world.receivers.script(URL, &fails);
    let events = world.publish_many("acme", 2).await;
    world.settle().await;
    world.after(seconds(6)).await;
    assert_eq!(received(&world), ["0", "0", "1"]);
    assert_eq!(states(&world, &events).await, ["exhausted", "delivered"]);
}

#[tokio::test]
async fn one_that_is_cancelled_lets_the_next_go_at_once() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, ordered_with(&[3_600])).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    let events = world.publish_many("acme", 4).await;
    world.settle().await;
    // One that waits behind it is left out.
    assert_eq!(world.cancel(events[2]).await.unwrap().state, State::Cancelled);
    world.settle().await;
    assert_eq!(received(&world), ["0"]);
    assert_eq!(world.cancel(events[0]).await.unwrap().state, State::Cancelled);
    world.settle().await;
    assert_eq!(received(&world), ["1", "3"]);
}

#[tokio::test]
async fn the_first_retried_by_hand_goes_at_once_and_one_behind_it_does_not_overtake() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, ordered_with(&[3_600])).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    let events = world.publish_many("acme", 3).await;
    world.settle().await;
    world.retry(events[2]).await.unwrap();
    world.settle().await;
    assert_eq!(received(&world), ["0"]);
    world.retry(events[0]).await.unwrap();
    world.settle().await;
    assert_eq!(received(&world), ["0", "1", "2"]);
}

#[tokio::test]
async fn a_finished_one_that_is_retried_by_hand_comes_last() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, ordered()).await;
    let events = world.publish_many("acme", 2).await;
    world.settle().await;
    world.pause(endpoint).await;
    world.publish("acme", "2").await;
    world.retry(events[0]).await.unwrap();
    world.publish("acme", "3").await;
    received(&world);
    world.resume(endpoint).await;
    world.settle().await;
    assert_eq!(received(&world), ["2", "0", "3"]);
}

#[tokio::test]
async fn a_death_changes_nothing_and_what_was_in_flight_is_repeated_first() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, ordered_with(&[5, 60])).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    world.publish_many("acme", 3).await;
    world.settle().await;
    assert_eq!(received(&world), ["0"]);

    let mut world = world.kill_and_restart().await;
    world.publish("acme", "3").await;
    world.settle().await;
    assert_eq!(received(&world), [""; 0]);
    world.clock.step(seconds(6));
    world.launch(1).await;
    let mut world = world.kill_and_restart().await;
    world.receivers.script(URL, &[Reply::Status(200)]);
    world.settle().await;
    assert_eq!(received(&world), ["0", "0", "1", "2", "3"]);
}

#[tokio::test]
async fn a_stop_in_good_order_breaks_off_and_the_next_start_goes_on_there() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, ordered()).await;
    world.publish_many("acme", 3).await;
    world.launch(1).await;
    let mut world = world.stop_and_restart().await;
    world.settle().await;
    world.after(seconds(10)).await;
    assert_eq!(received(&world), ["0", "0", "1", "2"]);
}

#[tokio::test]
async fn pausing_and_rotating_keep_the_order() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, ordered_with(&[5])).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    world.publish_many("acme", 2).await;
    world.settle().await;
    world.pause(endpoint).await;
    world.publish("acme", "2").await;
    world.rotate(endpoint, 0).await;
    world.after(seconds(60)).await;
    assert_eq!(received(&world), ["0"]);
    world.resume(endpoint).await;
    world.publish("acme", "3").await;
    world.settle().await;
    assert_eq!(received(&world), ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn an_open_breaker_keeps_the_order() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, ordered_with(&[1; 40])).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    world.publish_many("acme", 3).await;
    for _ in 0..10 {
        world.after(seconds(2)).await;
    }
    assert_eq!(received(&world), vec!["0"; 10]);
    let health = world.found(endpoint).await.health;
    assert_eq!(health.breaker(world.now()), Breaker::Open);
    world.receivers.script(URL, &[Reply::Status(200)]);
    world.after(seconds(31)).await;
    assert_eq!(received(&world), ["0", "1", "2"]);
    assert_eq!(world.receivers.open_most(), 1);
}

#[tokio::test]
async fn one_without_a_payload_lets_the_next_go() {
    let world = world().await;
    let endpoint = world.endpoint_with("acme", URL, ordered()).await;
    world.pause(endpoint).await;
    let events = world.publish_many("acme", 3).await;
    let purge = |database: &TestDatabase| {
        let (first, third) = (events[0].n(), events[2].n());
        database.execute(&format!(
            "UPDATE events SET payload = NULL WHERE n IN ({first}, {third})"
        ));
    };
    let mut world = world.kill_and_restart_after(purge).await;
    world.resume(endpoint).await;
    world.settle().await;
    assert_eq!(received(&world), ["1"]);
    assert_eq!(
        states(&world, &events).await,
        ["cancelled", "delivered", "cancelled"]
    );
}

#[tokio::test]
async fn a_test_goes_past_and_changes_nothing() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, ordered_with(&[5])).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    world.publish_many("acme", 2).await;
    world.settle().await;
    received(&world);
    world.test(endpoint).await.unwrap();
    let got = received(&world);
    assert_eq!(got.len(), 1);
    assert!(!["0", "1"].contains(&&*got[0]), "the test alone");
    world.after(seconds(6)).await;
    assert_eq!(received(&world), ["0", "1"]);
}

#[tokio::test]
async fn one_that_is_held_back_slows_nobody_else() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, ordered_with(&[3_600])).await;
    world.endpoint("acme", "https://other.example/").await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    world.publish_many("acme", 200).await;
    world.settle().await;
    let counts = world.received_by_url();
    assert_eq!((counts[URL], counts["https://other.example/"]), (1, 200));
}

#[tokio::test]
async fn nothing_overtakes_without_the_short_way_either() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, ordered_with(&[5])).await;
    world.drop_fresh().await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    world.publish_many("acme", 20).await;
    world.after(seconds(1)).await;
    assert_eq!(received(&world), ["0"]);
    world.after(seconds(6)).await;
    assert_eq!(received(&world), numbers(0..20));
}

#[tokio::test]
async fn switched_on_with_some_in_flight_and_some_in_memory_all_go_in_the_order_of_acceptance() {
    let mut world = world().await;
    let few = EndpointFields {
        max_in_flight: Some(Some(3)),
        retry_schedule: Some(vec![5]),
        ..EndpointFields::default()
    };
    let endpoint = world.endpoint_with("acme", URL, few).await;
    world.acquaint("acme").await;
    world.publish_many("acme", 6).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    world.launch(3).await;
    world.change(endpoint, switch(true)).await;
    world.publish("acme", "6").await;
    world.publish("acme", "7").await;
    world.land().await;
    world.settle().await;
    let mut first = received(&world);
    first.sort();
    assert_eq!(first, ["0", "1", "2"], "what was in flight, and nothing past it");
    assert_nothing_without_a_place(&world);
    world.receivers.script(URL, &[Reply::Status(200)]);
    world.after(seconds(6)).await;
    assert_eq!(received(&world), numbers(0..8));
}

#[track_caller]
fn assert_nothing_without_a_place(world: &World) {
    let without = "SELECT count(*) FROM work WHERE owner IS NULL AND seq IS NULL AND endpoint IN (SELECT endpoint FROM orders)";
    assert_eq!(world.number(without), 0);
}

#[tokio::test]
async fn what_was_in_flight_when_it_was_switched_on_has_its_place_after_a_death_too() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.acquaint("acme").await;
    world.publish_many("acme", 3).await;
    world.launch(3).await;
    world.change(endpoint, switch(true)).await;
    world.publish("acme", "3").await;
    let mut world = world.kill_and_restart().await;
    assert_nothing_without_a_place(&world);
    received(&world);
    world.settle().await;
    assert_eq!(received(&world), numbers(0..4));
}

#[tokio::test]
async fn switched_off_what_was_held_back_goes_and_switched_on_again_the_order_goes_on() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, ordered_with(&[3_600])).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    world.publish_many("acme", 3).await;
    world.settle().await;
    assert_eq!(received(&world), ["0"]);
    world.change(endpoint, switch(false)).await;
    world.settle().await;
    let mut got = received(&world);
    got.sort();
    assert_eq!(got, ["1", "2"]);

    world.pause(endpoint).await;
    world.publish("acme", "3").await;
    world.publish("acme", "4").await;
    world.change(endpoint, switch(true)).await;
    world.publish("acme", "5").await;
    world.resume(endpoint).await;
    world.settle().await;
    assert_eq!(received(&world), [""; 0], "the first waits for its retry");
    world.after(seconds(3_600 + 720)).await;
    assert_eq!(received(&world), ["0", "3", "4", "5"]);
}

#[tokio::test]
async fn one_with_too_large_a_backlog_is_not_switched_on() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.pause(endpoint).await;
    let most = usize::try_from(UNORDERED_MAX).unwrap();
    let events = world.publish_many("acme", most + 1).await;
    let refused = switch_on(&world, endpoint).await.unwrap_err();
    assert!(
        refused.contains("more than 10000 of its deliveries wait"),
        "{refused}"
    );
    assert!(!world.found(endpoint).await.endpoint.settings.ordered);
    world.cancel(events[1]).await.unwrap();
    switch_on(&world, endpoint).await.unwrap();
    world.resume(endpoint).await;
    world
        .receivers
        .script(URL, &[Reply::Status(200), Reply::Status(500)]);
    world.settle().await;
    assert_eq!(received(&world), ["0", "2"]);
}

async fn switch_on(world: &World, endpoint: EndpointId) -> Result<(), String> {
    let changed = world
        .engine
        .update_endpoint(&world.root, endpoint, switch(true))
        .await;
    changed.map(drop).map_err(|error| format!("{error:?}"))
}

#[tokio::test]
async fn an_event_for_more_endpoints_than_one_commit_writes_keeps_its_place() {
    const OTHERS: usize = 1_100;
    let mut setup = Setup::default();
    setup.settings.endpoints_per_tenant_max = 10_000;
    let world = World::with(setup).await;
    world.tenant("acme").await;
    let paid = EndpointFields {
        events: Some(vec!["order.paid".into()]),
        ..EndpointFields::default()
    };
    world.endpoint_with("acme", "https://other.example/", paid).await;
    let copy = |database: &TestDatabase| super::fairness::copy_endpoint(database, OTHERS);
    let mut world = world.kill_and_restart_after(copy).await;
    let late = world.endpoint_with("acme", URL, ordered()).await;
    assert_eq!(
        world.number(&format!("SELECT count(*) FROM endpoints WHERE n < {}", late.n())),
        1_101
    );
    world.publish("acme", "0").await;
    let refunded = Publication {
        event_type: "order.refunded".into(),
        ..order_paid("acme", "1")
    };
    world.publish_all(vec![refunded]).await.unwrap();
    world.publish("acme", "2").await;
    world.settle().await;
    let received = world.receivers.take();
    let here: Vec<String> = received
        .iter()
        .filter(|one| one.url == URL)
        .map(|one| one.text())
        .collect();
    assert_eq!(here, numbers(0..3));
    assert_eq!(received.len(), 2 * 1_101 + 3);
}

#[tokio::test]
async fn what_has_no_place_by_somebodys_fault_does_not_wait_for_ever() {
    let world = world().await;
    let endpoint = world.endpoint_with("acme", URL, ordered()).await;
    world.pause(endpoint).await;
    world.publish_many("acme", 3).await;
    let lose = |database: &TestDatabase| database.execute("UPDATE work SET seq = NULL");
    let mut world = world.kill_and_restart_after(lose).await;
    world.resume(endpoint).await;
    world.publish("acme", "3").await;
    world.settle().await;
    world.after(seconds(1)).await;
    let mut got = received(&world);
    got.sort();
    assert_eq!(got, numbers(0..4));
}

#[tokio::test]
async fn a_deleted_one_leaves_nothing_behind() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, ordered_with(&[60])).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    let events = world.publish_many("acme", 2).await;
    world.settle().await;
    world.delete(endpoint).await;
    world.settle().await;
    assert_eq!(states(&world, &events).await, ["cancelled", "cancelled"]);
    assert_eq!(world.number("SELECT count(*) FROM orders"), 0);
    assert_eq!(world.unfinished(), 0);
}
