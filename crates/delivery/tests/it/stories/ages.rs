//! What goes because it is old: payloads, and what was finished.

use super::{URL, seconds};
use stentor_domain::delivery::State;
use stentor_engine::jobs::retention::Retention;
use stentor_engine::{Error, Settings};
use stentor_testkit::{EndpointFields, ReplayFields, Reply, Setup, World, all_of, order_paid};

const DAY: u64 = 86_400;
/// The tables that grow with what is published.
const GROWING: [&str; 6] = ["events", "work", "deliveries", "attempts", "event_keys", "fanout"];

/// A world with tenant `acme`, whose operator keeps payloads and what was finished for so many days; 0 is for ever.
async fn world(payload_days: u32, attempt_days: u32) -> World {
    let retention = Retention {
        payload_days,
        attempt_days,
    };
    let settings = Settings {
        retention,
        ..Settings::default()
    };
    let world = World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    world.tenant("acme").await;
    world
}

/// One failed attempt, then a wait of a week.
fn patient() -> EndpointFields {
    EndpointFields {
        retry_schedule: Some(vec![7 * 86_400]),
        ..EndpointFields::default()
    }
}

fn left(world: &World) -> Vec<(&'static str, i64)> {
    let count = |table| (table, world.number(&format!("SELECT count(*) FROM {table}")));
    GROWING
        .into_iter()
        .map(count)
        .filter(|(_, rows)| *rows > 0)
        .collect()
}

#[tokio::test]
async fn a_delivery_that_waits_ends_with_the_payload_it_waits_to_send() {
    let mut world = world(2, 0).await;
    world.endpoint_with("acme", URL, patient()).await;
    world.receivers.script(URL, &[Reply::Status(503)]);
    let event = world.publish("acme", r#"{"a":1}"#).await;
    world.after(seconds(2 * DAY)).await;
    assert_eq!(world.payload(event).await.as_deref(), Ok(r#"{"a":1}"#));
    assert_eq!(world.timeline(event).await, ["1 event 503", "pending"]);

    world.after(seconds(DAY)).await;
    assert_eq!(world.payload(event).await, Err("expired"));
    assert_eq!(
        world.timeline(event).await,
        ["1 event 503", "cancelled: payload_expired"]
    );
    assert_eq!(
        world.number("SELECT count(*) FROM events WHERE payload IS NOT NULL"),
        0
    );
    let retried = world.retry(event).await;
    assert!(
        matches!(
            retried,
            Err(Error::Conflict {
                code: "payload_expired",
                ..
            })
        ),
        "{retried:?}"
    );
    world.after(seconds(30 * DAY)).await;
    assert_eq!(
        world.receivers.take().len(),
        1,
        "nothing is sent without its payload"
    );
}

#[tokio::test]
async fn what_is_held_ends_with_its_payload_and_is_not_sent_when_its_endpoint_resumes() {
    let mut world = world(1, 0).await;
    let endpoint = world.endpoint("acme", URL).await;
    world.pause(endpoint).await;
    let event = world.publish("acme", "1").await;
    world.after(seconds(2 * DAY)).await;
    let delivery = world.delivery(event).await;
    assert_eq!(delivery.state, State::Cancelled);
    assert_eq!(delivery.finished_at, Some(world.now()));

    world.resume(endpoint).await;
    world.settle().await;
    assert_eq!(world.timeline(event).await, ["cancelled: payload_expired"]);
    assert_eq!(world.receivers.take().len(), 0);
}

#[tokio::test]
async fn what_is_in_flight_when_its_payload_goes_ends_with_its_attempt() {
    for (answer, end) in [(200, "delivered"), (503, "cancelled: payload_expired")] {
        let mut world = world(1, 0).await;
        world.endpoint("acme", URL).await;
        world.receivers.script(URL, &[Reply::Status(answer)]);
        let event = world.publish("acme", "1").await;
        world.launch(1).await;
        world.clock.step(seconds(2 * DAY));
        while world.tick_jobs().await > 0 {}
        assert_eq!(world.delivery(event).await.state, State::Pending);
        world.land().await;
        world.settle().await;

        assert_eq!(
            world.timeline(event).await,
            [format!("1 event {answer}"), end.into()]
        );
        assert_eq!(world.receivers.take().len(), 1);
        assert_eq!(
            world.number("SELECT count(*) FROM events WHERE payload IS NOT NULL"),
            0
        );
    }
}

#[tokio::test]
async fn what_waits_in_memory_when_its_payload_goes_is_not_sent() {
    let mut world = world(1, 0).await;
    world.endpoint("acme", URL).await;
    let event = world.publish("acme", "1").await;
    world.clock.step(seconds(2 * DAY));
    while world.tick_jobs().await > 0 {}
    world.settle().await;
    assert_eq!(world.timeline(event).await, ["cancelled: payload_expired"]);
    assert_eq!(world.receivers.take().len(), 0);
}

#[tokio::test]
async fn a_fan_out_that_goes_on_when_its_payload_goes_is_ended_whole() {
    let mut world = world(1, 0).await;
    world.endpoint("acme", URL).await;
    let event = world.publish("acme", "1").await;
    world.settle().await;
    let behind = format!(
        "INSERT INTO fanout (event, tenant, after_endpoint)
         SELECT n, tenant, 0 FROM events WHERE n = {}",
        event.n()
    );
    world.database().execute(&behind);
    world.after(seconds(2 * DAY)).await;

    assert_eq!(world.unfinished(), 0);
    assert_eq!(world.number("SELECT count(*) FROM fanout"), 0);
}

#[tokio::test]
async fn what_neither_age_keeps_goes_whole() {
    let mut world = world(2, 2).await;
    world.endpoint_with("acme", URL, patient()).await;
    world
        .receivers
        .script(URL, &[Reply::Status(200), Reply::Status(503)]);
    let with_id = || {
        let mut publication = order_paid("acme", "1");
        publication.event_id = Some("order-7".into());
        vec![publication]
    };
    world.publish_all(with_id()).await.unwrap();
    world.publish("acme", "2").await;
    world.publish("acme", "3").await;
    world.after(seconds(3 * DAY)).await;
    assert_eq!(left(&world), []);

    let anew = world.publish_all(with_id()).await.unwrap();
    assert!(!anew[0].existing, "the id is free again");
    world.receivers.script(URL, &[Reply::Status(200)]);
    world.settle().await;
    assert_eq!(world.timeline(anew[0].id).await, ["1 event 200", "delivered"]);
}

#[tokio::test]
async fn what_was_finished_goes_before_its_payload_where_that_is_kept_longer() {
    let mut world = world(0, 2).await;
    let endpoint = world.endpoint_with("acme", URL, patient()).await;
    world
        .receivers
        .script(URL, &[Reply::Status(200), Reply::Status(503), Reply::Status(200)]);
    let delivered = world.publish("acme", "1").await;
    world.settle().await;
    let waits = world.publish("acme", "2").await;
    world.settle().await;
    world.after(seconds(3 * DAY)).await;
    assert_eq!(world.payload(delivered).await.as_deref(), Ok("1"));
    assert!(world.deliveries(delivered).await.is_empty());
    assert_eq!(
        world.timeline(waits).await,
        ["1 event 503", "pending"],
        "it is not finished"
    );

    world.retry(waits).await.unwrap();
    world.settle().await;
    assert_eq!(
        world.timeline(waits).await,
        ["1 event 503", "2 event 200", "delivered"]
    );
    world.pause(endpoint).await;
    world.after(seconds(DAY)).await;
    assert_eq!(
        left(&world),
        [("events", 2)],
        "finished, it goes with the next day"
    );
}

#[tokio::test]
async fn nothing_goes_where_everything_is_kept_for_ever() {
    let mut world = world(0, 0).await;
    world.endpoint("acme", URL).await;
    let event = world.publish("acme", "1").await;
    world.after(seconds(10_000 * DAY)).await;
    assert_eq!(world.payload(event).await.as_deref(), Ok("1"));
    assert_eq!(world.timeline(event).await, ["1 event 200", "delivered"]);
}

#[tokio::test]
async fn what_has_gone_does_not_return_where_it_would_be_kept_longer() {
    let mut world = world(1, 0).await;
    world.endpoint_with("acme", URL, patient()).await;
    world.receivers.script(URL, &[Reply::Status(503)]);
    let event = world.publish("acme", "1").await;
    world.after(seconds(2 * DAY)).await;
    let forever = |setup: &mut Setup| setup.settings.retention.payload_days = 0;
    let mut world = world.kill_and_restart_with(forever).await;
    world.settle().await;
    assert_eq!(world.payload(event).await, Err("expired"));
}

#[tokio::test]
async fn a_pass_that_dies_at_any_slice_is_done_by_the_next_start() {
    for slices in [0, 1, 2, 3, 5, 8, 12] {
        let mut world = world(2, 1).await;
        let endpoint = world.endpoint_with("acme", URL, patient()).await;
        world.receivers.script(URL, &[Reply::Status(503)]);
        let failed = world.publish("acme", "1").await;
        world.settle().await;
        world.pause(endpoint).await;
        let held = world.publish("acme", "2").await;
        world.settle().await;
        world.clock.step(seconds(2 * DAY));
        for _ in 0..slices {
            world.tick_jobs().await;
        }
        let mut world = world.kill_and_restart().await;
        world.settle().await;
        // A day is left of both payloads; neither delivery is finished.
        for event in [failed, held] {
            assert_eq!(
                world.delivery(event).await.state,
                State::Held,
                "after {slices} slices"
            );
        }
        world.clock.step(seconds(DAY));
        for _ in 0..slices {
            world.tick_jobs().await;
        }
        let mut world = world.kill_and_restart().await;
        world.settle().await;
        assert_eq!(left(&world), [], "after {slices} slices");
    }
}

#[tokio::test]
async fn what_was_delivered_so_long_ago_that_nobody_knows_is_not_sent_again_as_missing() {
    let mut world = world(0, 1).await;
    let endpoint = world.endpoint("acme", URL).await;
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    world.after(seconds(3 * DAY)).await;
    assert_eq!(world.payload(event).await.as_deref(), Ok("{}"));
    world.receivers.take();

    let missing = ReplayFields {
        missing: true,
        ..all_of(endpoint)
    };
    assert_eq!(world.dry_run(missing.clone()).await.unwrap(), 0);
    world.replay(missing).await.unwrap();
    world.settle().await;
    assert_eq!(world.receivers.take().len(), 0);
}
