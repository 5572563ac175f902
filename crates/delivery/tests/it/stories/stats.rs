//! Statistics: every delivery is counted where it was accepted, as what has become of it, whatever dies in between.

use super::{URL, seconds, world};
use std::time::Duration;
use stentor_domain::attempt::ErrorClass;
use stentor_domain::id::EndpointId;
use stentor_domain::stats::{Counts, Hour};
use stentor_engine::Settings;
use stentor_engine::jobs::retention::Retention;
use stentor_store::stats::StatsOf;
use stentor_testkit::{EndpointFields, Reply, Setup, World, all_of};

const HOUR: u64 = 3_600;

fn retrying(waits: &[i64]) -> EndpointFields {
    EndpointFields {
        retry_schedule: Some(waits.to_vec()),
        ..EndpointFields::default()
    }
}

/// Deliveries as people read them: what there is none of is left out.
fn told(counts: &Counts) -> String {
    let states = [
        ("pending", counts.pending),
        ("held", counts.held),
        ("delivered", counts.delivered),
        ("exhausted", counts.exhausted),
        ("cancelled", counts.cancelled),
    ];
    let states = states.into_iter().filter(|(_, count)| *count != 0);
    let deliveries: Vec<String> = states.map(|(state, count)| format!("{count} {state}")).collect();
    let attempts = &counts.attempts;
    let deliveries = deliveries.join(", ");
    format!(
        "{deliveries}; {} ok, {} failed",
        attempts.succeeded,
        attempts.all_failed()
    )
}

async fn seen(world: &World, endpoint: EndpointId) -> String {
    told(&world.stats(endpoint).await)
}

/// Long enough for everything to be folded.
async fn fold(world: &mut World) {
    world.after(seconds(60)).await;
    assert_eq!(world.number("SELECT count(*) FROM tallies"), 0);
}

#[tokio::test]
async fn a_delivery_is_counted_in_the_hour_of_its_acceptance_as_what_becomes_of_it() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, retrying(&[7_200])).await;
    let accepted = Hour::of(world.engine.now());
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    let event = world.publish("acme", "{}").await;
    assert_eq!(seen(&world, endpoint).await, "1 pending; 0 ok, 0 failed");
    world.settle().await;
    assert_eq!(seen(&world, endpoint).await, "1 pending; 0 ok, 1 failed");
    world.play(event).await;
    assert_eq!(seen(&world, endpoint).await, "1 delivered; 1 ok, 1 failed");
    world.publish("acme", "{}").await;

    let of = StatsOf::Endpoint(endpoint);
    let hours = world.store.stats(of, Hour(0)..Hour(u32::MAX)).await.unwrap();
    let later = Hour::of(world.engine.now());
    assert_eq!(hours.keys().copied().collect::<Vec<_>>(), [accepted, later]);
    assert_eq!(told(&hours[&accepted]), "1 delivered; 1 ok, 1 failed");
    let failed = hours[&accepted].attempts.failed.iter();
    assert_eq!(failed.collect::<Vec<_>>(), [(&ErrorClass::HttpStatus, &1)]);
    assert_eq!(told(&hours[&later]), "1 pending; 0 ok, 0 failed");
    let only = world.store.stats(of, accepted..later).await.unwrap();
    assert_eq!(only.keys().copied().collect::<Vec<_>>(), [accepted]);
}

#[tokio::test]
async fn what_is_counted_survives_every_death_and_every_fold() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, retrying(&[])).await;
    for _ in 0..3 {
        world.publish("acme", "{}").await;
    }
    world = world.kill_and_restart().await;
    assert_eq!(seen(&world, endpoint).await, "3 pending; 0 ok, 0 failed");
    world.launch(1).await;
    world.clock.step(seconds(1));
    // Sent, and not recorded: nobody knows of this attempt.
    world = world.kill_and_restart().await;
    assert_eq!(seen(&world, endpoint).await, "3 pending; 0 ok, 0 failed");
    // One at a time, as far as its receiver is not known to answer.
    for _ in 0..3 {
        world.after(seconds(1)).await;
    }
    world = world.kill_and_restart().await;
    assert_eq!(seen(&world, endpoint).await, "3 delivered; 3 ok, 0 failed");
    fold(&mut world).await;
    assert_eq!(seen(&world, endpoint).await, "3 delivered; 3 ok, 0 failed");

    world
        .receivers
        .script(URL, &[Reply::Status(400), Reply::Status(200)]);
    world.publish("acme", "{}").await;
    world.publish("acme", "{}").await;
    world.settle().await;
    let all = "4 delivered, 1 exhausted; 4 ok, 1 failed";
    assert_eq!(seen(&world, endpoint).await, all, "folded and not folded");
    fold(&mut world).await;
    world = world.kill_and_restart().await;
    assert_eq!(seen(&world, endpoint).await, all);
    let rows = world.number("SELECT count(*) FROM stats");
    assert_eq!(rows, 1, "one hour of one endpoint");
}

#[tokio::test]
async fn what_is_accepted_together_is_counted_in_one_row() {
    let world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.endpoint("acme", "https://other.example/").await;
    world.publish_many("acme", 100).await;
    assert_eq!(seen(&world, endpoint).await, "100 pending; 0 ok, 0 failed");
    assert_eq!(
        world.number("SELECT count(*) FROM tallies"),
        1,
        "of 200 deliveries"
    );
}

/// Each fold is a commit. Where a tally comes every tenth of a second, that is one in a second or so, and not one for each of them.
#[tokio::test]
async fn what_is_nearly_old_enough_is_folded_with_what_is() {
    let world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    for _ in 0..20 {
        world.publish("acme", "{}").await;
        world.clock.step(Duration::from_millis(100));
    }
    let tallies = || world.number("SELECT count(*) FROM tallies");
    world.clock.step(seconds(28) - Duration::from_millis(1));
    world.tick_jobs().await;
    assert_eq!(tallies(), 20, "none is half a minute old");
    world.clock.step(Duration::from_millis(1));
    world.tick_jobs().await;
    assert_eq!(tallies(), 9);
    world.clock.step(Duration::from_millis(900));
    world.tick_jobs().await;
    assert_eq!(tallies(), 9, "the oldest of these is not");
    assert_eq!(seen(&world, endpoint).await, "20 pending; 0 ok, 0 failed");
}

#[tokio::test]
async fn what_is_steered_by_hand_is_counted_as_it_ends() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, retrying(&[60])).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    world.cancel(event).await.unwrap();
    assert_eq!(seen(&world, endpoint).await, "1 cancelled; 0 ok, 1 failed");

    world.retry(event).await.unwrap();
    assert_eq!(seen(&world, endpoint).await, "1 pending; 0 ok, 1 failed");
    world.receivers.script(URL, &[Reply::Status(200)]);
    world.settle().await;
    assert_eq!(seen(&world, endpoint).await, "1 delivered; 1 ok, 1 failed");

    world.after(seconds(60)).await;
    world.replay(all_of(endpoint)).await.unwrap();
    // It starts, then reopens.
    world.tick_jobs().await;
    world.tick_jobs().await;
    assert_eq!(seen(&world, endpoint).await, "1 pending; 1 ok, 1 failed");
    world.after(seconds(1)).await;
    assert_eq!(seen(&world, endpoint).await, "1 delivered; 2 ok, 1 failed");
}

#[tokio::test]
async fn a_cancelled_delivery_in_flight_is_counted_as_what_its_attempt_makes_of_it() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, retrying(&[60])).await;
    world.acquaint("acme").await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    let failing = world.publish("acme", "{}").await;
    let succeeding = world.publish("acme", "{}").await;
    world.launch(2).await;
    world.cancel(failing).await.unwrap();
    world.cancel(succeeding).await.unwrap();
    world.land().await;
    assert_eq!(
        seen(&world, endpoint).await,
        "2 delivered, 1 cancelled; 2 ok, 1 failed"
    );
}

#[tokio::test]
async fn what_waits_is_counted_as_its_endpoint_lets_it() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let other = world.endpoint("acme", "https://other.example/").await;
    world.pause(endpoint).await;
    world.publish("acme", "{}").await;
    world.settle().await;
    assert_eq!(seen(&world, endpoint).await, "1 held; 0 ok, 0 failed");
    let tenant = world
        .engine
        .endpoint(&world.root, endpoint)
        .unwrap()
        .endpoint
        .tenant;
    let both = world.stats_of(StatsOf::Tenant(tenant)).await;
    assert_eq!(told(&both), "1 held, 1 delivered; 1 ok, 0 failed");

    world.delete(endpoint).await;
    assert_eq!(seen(&world, endpoint).await, "1 cancelled; 0 ok, 0 failed");
    world.tick_jobs().await;
    assert_eq!(
        seen(&world, endpoint).await,
        "1 cancelled; 0 ok, 0 failed",
        "swept"
    );
    assert_eq!(seen(&world, other).await, "1 delivered; 1 ok, 0 failed");
    let both = world.stats_of(StatsOf::Tenant(tenant)).await;
    assert_eq!(told(&both), "1 delivered, 1 cancelled; 1 ok, 0 failed");
}

#[tokio::test]
async fn tests_are_not_counted_and_simulated_attempts_took_no_time() {
    let mut world = World::new().await;
    world.sandbox().await;
    world.tenant("acme").await;
    let endpoint = world.endpoint("acme", URL).await;
    world.test(endpoint).await.unwrap();
    assert_eq!(world.stats(endpoint).await, Counts::default());
    world.publish("acme", "{}").await;
    world.settle().await;
    let counts = world.stats(endpoint).await;
    assert_eq!((counts.delivered, counts.attempts.simulated), (1, 1));
    assert_eq!(counts.attempts.latencies.quantile_micros(50), None);
}

#[tokio::test]
async fn what_has_expired_is_counted_no_more_and_what_ends_later_neither() {
    let retention = Retention {
        payload_days: 0,
        attempt_days: 2,
    };
    let settings = Settings {
        retention,
        ..Settings::default()
    };
    let mut world = World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    world.tenant("acme").await;
    let endpoint = world.endpoint_with("acme", URL, retrying(&[7 * 86_400])).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    world.publish("acme", "1").await;
    world.settle().await;
    world.publish("acme", "2").await;
    world.settle().await;
    assert_eq!(
        seen(&world, endpoint).await,
        "1 pending, 1 delivered; 1 ok, 1 failed"
    );
    world.after(seconds(72 * HOUR)).await;
    assert_eq!(world.stats(endpoint).await, Counts::default());
    world.after(seconds(5 * 24 * HOUR)).await;
    assert_eq!(world.unfinished(), 0);
    fold(&mut world).await;
    assert_eq!(world.stats(endpoint).await, Counts::default());
}
