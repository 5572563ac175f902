//! Whose turn it is, and how many at once.

use super::{URL, seconds, world};
use stentor_domain::limits::{FANOUT_INLINE_MAX, IN_FLIGHT_MAX};
use stentor_testkit::{EndpointFields, Reply, Setup, TestDatabase, World, order_paid};

/// What is handed over or claimed, as far as the process has room.
const WAITING_MOST: usize = 8_192 + 4_096;

fn with_in_flight(most: i64) -> EndpointFields {
    EndpointFields {
        max_in_flight: Some(Some(most)),
        ..EndpointFields::default()
    }
}

/// RX-27.
#[tokio::test]
async fn no_more_than_its_bound_are_in_flight_to_an_endpoint() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, with_in_flight(3)).await;
    world.acquaint("acme").await;
    // Handed over, and claimed: both ways keep the bound.
    for claimed in [false, true] {
        if claimed {
            world.drop_fresh().await;
        }
        world.publish_many("acme", 20).await;
        world.clock.step(seconds(2));
        world.launch(3).await;
        world.land().await;
        world.settle().await;
        assert_eq!(world.receivers.open_most(), 3);
    }
    assert_eq!(world.receivers.take().len(), 40);
}

#[tokio::test]
async fn no_more_than_the_servers_bound_are_in_flight_altogether() {
    let mut setup = Setup::default();
    setup.limits.in_flight_max = 5;
    let mut world = World::with(setup).await;
    for tenant in ["a", "b", "c"] {
        world.tenant(tenant).await;
        world
            .endpoint(tenant, &format!("https://{tenant}.example/"))
            .await;
        world.acquaint(tenant).await;
    }
    for tenant in ["a", "b", "c"] {
        world.publish_many(tenant, 10).await;
    }
    world.launch(5).await;
    world.land().await;
    world.settle().await;
    assert_eq!(world.receivers.open_most(), 5);
    assert_eq!(world.receivers.take().len(), 30);
}

#[tokio::test]
async fn a_tenant_with_a_thousand_waiting_does_not_delay_anothers_first() {
    let mut setup = Setup::default();
    setup.limits.in_flight_max = 4;
    let mut world = World::with(setup).await;
    for tenant in ["big", "small"] {
        world.tenant(tenant).await;
        world
            .endpoint(tenant, &format!("https://{tenant}.example/"))
            .await;
        world.acquaint(tenant).await;
    }
    world.publish_many("big", 1_000).await;
    let first = world.publish("small", "{}").await;
    world.launch(4).await;

    let received = world.receivers.take();
    assert!(
        received.iter().any(|one| one.id() == first.to_string()),
        "among the first four"
    );
    world.land().await;
    world.settle().await;
    assert_eq!(world.receivers.take().len(), 997);
}

#[tokio::test]
async fn a_silent_receiver_delays_no_other() {
    let mut world = world().await;
    let fails = "https://slow.example/";
    world.endpoint_with("acme", fails, with_in_flight(1)).await;
    world.endpoint("acme", URL).await;
    world.receivers.script(fails, &[Reply::Status(500)]);
    world.publish_many("acme", 50).await;
    world.settle().await;
    assert_eq!(world.received_by_url()[URL], 50);
    // What failed takes its turns when it is due, and what is new goes out meanwhile.
    let event = world.publish("acme", "last").await;
    world.settle().await;
    let delivered = world
        .deliveries(event)
        .await
        .iter()
        .filter(|one| one.state.finished())
        .count();
    assert_eq!(delivered, 1);
}

/// Copies the only endpoint, which is quicker than making so many. The copies have no secrets: they are not of interest.
pub(super) fn copy_endpoint(database: &TestDatabase, copies: usize) {
    database.execute(&format!(
        "INSERT INTO endpoints (n, tag, tenant, project, number, shard, name, url, events, timeout_seconds,
                                retry_schedule, created_at, updated_at, config_version)
         WITH RECURSIVE copies (c) AS (SELECT 1 UNION ALL SELECT c + 1 FROM copies WHERE c < {copies})
         SELECT n + 256 * c, tag, tenant, project, number + c, (shard + c) % 256, name, url || '/' || c, events,
                timeout_seconds, retry_schedule, created_at, updated_at, config_version
         FROM endpoints, copies WHERE number = 1;
         UPDATE tenants SET next_number = (SELECT max(number) + 1 FROM endpoints)"
    ));
}

#[tokio::test]
async fn an_event_reaches_every_one_of_many_endpoints_exactly_once() {
    const ENDPOINTS: usize = 2_100;
    let mut setup = Setup::default();
    setup.settings.endpoints_per_tenant_max = 10_000;
    let world = World::with(setup).await;
    world.tenant("acme").await;
    world.endpoint("acme", URL).await;
    let copy = |database: &TestDatabase| copy_endpoint(database, ENDPOINTS - 1);
    let world = world.kill_and_restart_after(copy).await;
    let event = world.publish("acme", "{}").await;
    // Those who come later are not meant, and a death in between loses none.
    world.endpoint("acme", "https://receiver.example/late").await;
    world.tick_jobs().await;
    let mut world = world.kill_and_restart().await;
    world.settle().await;
    world.after(seconds(10)).await;

    let received = world.received_by_url();
    assert_eq!(received.len(), ENDPOINTS);
    assert!(received.values().all(|times| *times == 1));
    assert!(!received.contains_key("https://receiver.example/late"));
    let deliveries = world.deliveries(event).await;
    assert_eq!(deliveries.len(), ENDPOINTS);
    assert!(deliveries.iter().all(|one| one.state.as_str() == "delivered"));
}

/// AP-19.
#[tokio::test]
async fn an_event_for_a_hundred_thousand_endpoints_goes_out_bit_by_bit_and_holds_up_nobody() {
    const ENDPOINTS: usize = 100_000;
    const ROUNDS: i64 = 5;
    let mut setup = Setup::default();
    setup.settings.endpoints_per_tenant_max = 200_000;
    let world = World::on(TestDatabase::in_memory(), setup).await;
    world.tenant("big").await;
    world.endpoint("big", "https://big.example/").await;
    let copy = |database: &TestDatabase| copy_endpoint(database, ENDPOINTS - 1);
    let mut world = world.kill_and_restart_after(copy).await;
    world.tenant("small").await;
    world.endpoint("small", URL).await;
    world.acquaint("small").await;

    let published = world.publish_all(vec![order_paid("big", "{}")]).await.unwrap();
    assert_eq!(published[0].deliveries as usize, ENDPOINTS);
    let inline = i64::try_from(FANOUT_INLINE_MAX).unwrap();
    assert_eq!(world.unfinished(), inline, "one commit does not write them all");
    for round in 1..=ROUNDS {
        let event = world.publish("small", "{}").await;
        world.launch_some().await;
        let received = world.receivers.take();
        assert!(
            received.iter().any(|one| one.id() == event.to_string()),
            "the small one goes out at once"
        );
        let in_memory = world.in_memory();
        assert!(in_memory.waiting <= WAITING_MOST, "{in_memory:?}");
        assert!(in_memory.in_flight <= IN_FLIGHT_MAX, "{in_memory:?}");
        world.tick_jobs().await;
        let written = world.unfinished() - 1;
        assert!(written <= inline * (round + 1), "{written} after {round} slices");
        world.land().await;
    }
}

#[tokio::test]
async fn an_attempt_that_panics_gives_its_place_back_and_is_repeated_by_the_next_start() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, with_in_flight(1)).await;
    world.receivers.script(URL, &[Reply::Panics, Reply::Status(200)]);
    world.run();
    let first = world.publish("acme", "first").await;
    let second = world.publish("acme", "second").await;
    world.receivers.answered(2).await;
    world.stop().await;
    let received = world.receivers.take();
    let ids: Vec<_> = received.iter().map(|one| one.id().to_owned()).collect();
    assert_eq!(ids, [first.to_string(), second.to_string()]);

    let mut world = world.kill_and_restart().await;
    world.settle().await;
    let received = world.receivers.take();
    assert_eq!((received.len(), received[0].id()), (1, &*first.to_string()));
}
