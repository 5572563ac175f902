//! Replays: what an endpoint was sent before, or never, is sent again. Here is what is replayed and what is not.
//!
//! - `course`: how they go on;
//! - `ends`: how they are cancelled, and what their endpoint has to do with it;
//! - `in_order`: what ordered endpoints get.

mod course;
mod ends;
mod in_order;

use super::{URL, seconds, world};
use std::collections::HashSet;
use stentor_domain::delivery::State;
use stentor_domain::id::EventId;
use stentor_domain::limits::{REPLAY_DUE_MAX, REPLAY_SLICE_ROWS, REPLAYS_PER_ENDPOINT_MAX};
use stentor_engine::Error;
use stentor_testkit::{EndpointFields, ReplayFields, Reply, World, all_of, order_paid};

const OTHER: &str = "https://other.example/";

fn is_conflict<T>(answer: &Result<T, Error>, expected: &str) -> bool {
    matches!(answer, Err(Error::Conflict { code, .. }) if *code == expected)
}

fn never_again() -> EndpointFields {
    EndpointFields {
        retry_schedule: Some(vec![]),
        ..EndpointFields::default()
    }
}

fn wants(event_type: &str) -> EndpointFields {
    EndpointFields {
        events: Some(vec![event_type.into()]),
        ..EndpointFields::default()
    }
}

/// Publishes an event of this type.
async fn publish_type(world: &World, event_type: &str) -> EventId {
    let mut publication = order_paid("acme", "{}");
    publication.event_type = event_type.into();
    world.publish_all(vec![publication]).await.unwrap()[0].id
}

/// The events of the requests since the last look, in order.
fn received(world: &World) -> Vec<String> {
    let all = world.receivers.take();
    all.iter().map(|one| one.id().to_owned()).collect()
}

/// Deliveries that have ended so.
fn ended(world: &World, state: &str) -> i64 {
    world.number(&format!(
        "SELECT count(*) FROM deliveries WHERE state = '{state}'"
    ))
}

fn texts(events: &[EventId]) -> Vec<String> {
    events.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn what_has_ended_is_sent_again_under_the_same_id_with_numbers_going_on_and_a_fresh_schedule() {
    let mut world = world().await;
    let fields = EndpointFields {
        retry_schedule: Some(vec![5]),
        ..EndpointFields::default()
    };
    world.endpoint_with("acme", URL, fields).await;
    world
        .receivers
        .script(URL, &[Reply::Status(200), Reply::Status(500), Reply::Status(500)]);
    let delivered = world.publish("acme", "1").await;
    world.settle().await;
    let exhausted = world.publish("acme", "2").await;
    world.play(exhausted).await;
    let cancelled = world.publish("acme", "3").await;
    world.cancel(cancelled).await.unwrap();
    world.settle().await;
    let endpoint = world.delivery(delivered).await.endpoint;
    received(&world);

    world.receivers.script(
        URL,
        &[
            Reply::Status(500),
            Reply::Status(200),
            Reply::Status(200),
            Reply::Status(200),
        ],
    );
    assert_eq!(world.dry_run(all_of(endpoint)).await.unwrap(), 3);
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    world.settle().await;
    world.after(seconds(10)).await;

    assert_eq!(
        world.replay_line(replay).await,
        "done, looked at 3 of 3, replayed 3, skipped 0"
    );
    assert_eq!(
        world.timeline(delivered).await,
        ["1 event 200", "2 replay 500", "3 replay 200", "delivered"]
    );
    assert_eq!(
        world.timeline(exhausted).await,
        ["1 event 500", "2 event 500", "3 replay 200", "delivered"]
    );
    assert_eq!(world.timeline(cancelled).await, ["1 replay 200", "delivered"]);
    let again = received(&world);
    assert_eq!(
        again,
        texts(&[delivered, exhausted, cancelled, delivered]),
        "the oldest first"
    );
}

#[tokio::test]
async fn a_replay_names_the_time_the_end_and_the_type() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, never_again()).await;
    let early = world.publish("acme", "1").await;
    world.settle().await;
    world.clock.step(seconds(60));
    let begin = world.now();
    let delivered = world.publish("acme", "2").await;
    let of_another_type = publish_type(&world, "order.sent").await;
    world.settle().await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    let exhausted = world.publish("acme", "3").await;
    world.settle().await;
    world.clock.step(seconds(60));
    let end = world.now();
    let late = world.publish("acme", "4").await;
    world.settle().await;
    world.clock.step(seconds(1));
    received(&world);

    let span = ReplayFields {
        since: begin,
        until: Some(end),
        ..all_of(endpoint)
    };
    let of = |status: Option<&str>, event_type: Option<&str>| ReplayFields {
        status: status.map(Into::into),
        event_type: event_type.map(Into::into),
        ..span.clone()
    };
    for (fields, expected) in [
        (of(None, None), vec![delivered, of_another_type, exhausted]),
        // It was delivered by the first of these.
        (of(Some("exhausted"), None), vec![]),
        (
            of(Some("delivered"), Some("order.paid")),
            vec![delivered, exhausted],
        ),
        (of(None, Some("order.sent")), vec![of_another_type]),
        (
            ReplayFields {
                until: None,
                ..of(None, Some("order.paid"))
            },
            vec![delivered, exhausted, late],
        ),
        (
            ReplayFields {
                since: early.0.made_at(),
                until: Some(begin),
                ..all_of(endpoint)
            },
            vec![early],
        ),
    ] {
        let counted = world.dry_run(fields.clone()).await.unwrap();
        assert_eq!(counted, expected.len() as u64, "{fields:?}");
        assert_eq!(world.receivers.take().len(), 0, "a dry run sends nothing");
        world.replay(fields.clone()).await.unwrap();
        world.settle().await;
        assert_eq!(received(&world), texts(&expected), "{fields:?}");
    }
}

#[tokio::test]
async fn what_was_accepted_after_a_replay_was_asked_for_is_not_replayed() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let before = world.publish("acme", "1").await;
    world.settle().await;
    let later = ReplayFields {
        until: Some(world.now().plus(seconds(3_600))),
        ..all_of(endpoint)
    };
    // In the same millisecond as the replay, and after it.
    let replay = world.replay(later).await.unwrap();
    let after = world.publish("acme", "2").await;
    world.settle().await;

    assert_eq!(
        world.timeline(before).await,
        ["1 event 200", "2 replay 200", "delivered"]
    );
    assert_eq!(world.timeline(after).await, ["1 event 200", "delivered"]);
    let replay = world.replay_now(replay).await;
    assert_eq!(
        (replay.spec.until, replay.progress.replayed),
        (replay.created_at, 1)
    );
}

#[tokio::test]
async fn what_is_unfinished_a_test_or_without_its_payload_is_skipped() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.test(endpoint).await.unwrap();
    let purged = world.publish("acme", "1").await;
    let delivered = world.publish("acme", "2").await;
    world.settle().await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    let waiting = world.publish("acme", "3").await;
    world.settle().await;
    world.database().execute(&format!(
        "UPDATE events SET payload = NULL WHERE n = {}",
        purged.n()
    ));
    received(&world);

    assert_eq!(world.dry_run(all_of(endpoint)).await.unwrap(), 1);
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    world.settle().await;
    // Two that have ended, a test, and one that waits.
    assert_eq!(
        world.replay_line(replay).await,
        "done, looked at 4 of 4, replayed 1, skipped 2"
    );
    assert_eq!(received(&world), texts(&[delivered]));
    assert_eq!(world.timeline(waiting).await, ["1 event 500", "pending"]);
    assert_eq!(world.timeline(purged).await, ["1 event 200", "delivered"]);
}

#[tokio::test]
async fn an_event_without_a_delivery_gets_one_where_the_endpoint_wants_it_now() {
    let mut world = world().await;
    let first = world.endpoint("acme", OTHER).await;
    let old = world.publish("acme", "1").await;
    let of_another_type = publish_type(&world, "order.sent").await;
    let purged = world.publish("acme", "2").await;
    world.settle().await;
    world.database().execute(&format!(
        "UPDATE events SET payload = NULL WHERE n = {}",
        purged.n()
    ));
    world.test(first).await.unwrap();
    let endpoint = world.endpoint_with("acme", URL, wants("order.paid")).await;
    let delivered = world.publish("acme", "3").await;
    world.settle().await;
    world.pause(endpoint).await;
    let held = world.publish("acme", "4").await;
    world.settle().await;
    world.receivers.take();

    let missing = ReplayFields {
        missing: true,
        ..all_of(endpoint)
    };
    for again in [false, true] {
        assert_eq!(
            world.dry_run(missing.clone()).await.unwrap(),
            u64::from(!again),
            "what a replay has brought is not missing any more, even while it is held"
        );
        let replay = world.replay(missing.clone()).await.unwrap();
        world.settle().await;
        let expected = if again { "replayed 0" } else { "replayed 1" };
        assert_eq!(
            world.replay_line(replay).await,
            format!("done, looked at 6 of 6, {expected}, skipped 1")
        );
    }
    world.resume(endpoint).await;
    world.settle().await;
    assert_eq!(
        received(&world),
        texts(&[held, old]),
        "fresh ones first: they were due before"
    );
    for (event, deliveries) in [
        (old, 2),
        (of_another_type, 1),
        (purged, 1),
        (delivered, 2),
        (held, 2),
    ] {
        assert_eq!(world.deliveries(event).await.len(), deliveries, "{event}");
    }
    let replayed = &world.deliveries(old).await[0];
    assert_eq!(
        (replayed.endpoint, replayed.state, replayed.trigger.as_str()),
        (endpoint, State::Delivered, "replay")
    );
    // Delivered by now: still not missing.
    assert_eq!(world.dry_run(missing).await.unwrap(), 0);
}

#[tokio::test]
async fn with_a_status_what_is_missing_comes_behind_what_has_ended_so() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, never_again()).await;
    world.receivers.script(
        URL,
        &[
            Reply::Status(500),
            Reply::Status(200),
            Reply::Status(410),
            Reply::Status(200),
        ],
    );
    let exhausted = world.publish("acme", "1").await;
    world.settle().await;
    let delivered = world.publish("acme", "2").await;
    world.settle().await;
    let gone = world.publish("acme", "3").await;
    world.settle().await;
    let never_made = world.publish("acme", "4").await;
    world.settle().await;
    assert_eq!(world.deliveries(never_made).await.len(), 0, "it is disabled");
    world.resume(endpoint).await;
    world.settle().await;
    assert_eq!(
        world.timeline(gone).await,
        ["1 event 410", "2 event 200", "delivered"]
    );
    received(&world);

    let fields = ReplayFields {
        status: Some("exhausted".into()),
        missing: true,
        ..all_of(endpoint)
    };
    assert_eq!(world.dry_run(fields.clone()).await.unwrap(), 2);
    world.replay(fields).await.unwrap();
    world.settle().await;
    assert_eq!(received(&world), texts(&[exhausted, never_made]));
    assert_eq!(world.timeline(delivered).await, ["1 event 200", "delivered"]);
    assert_eq!(world.timeline(never_made).await, ["1 replay 200", "delivered"]);
}

#[tokio::test]
async fn a_replay_for_what_is_missing_waits_for_a_fan_out_that_goes_on() {
    let mut setup = stentor_testkit::Setup::default();
    setup.settings.endpoints_per_tenant_max = 2_000;
    let mut world = World::with(setup).await;
    world.tenant("acme").await;
    let mut endpoints = Vec::new();
    for n in 0..1_002 {
        endpoints.push(world.endpoint("acme", &format!("https://{n}.example/")).await);
    }
    let event = world.publish("acme", "{}").await;
    let last = endpoints[1_001];
    let missing = ReplayFields {
        missing: true,
        ..all_of(last)
    };
    assert!(is_conflict(&world.dry_run(missing.clone()).await, "fanning_out"));
    world.replay(missing.clone()).await.unwrap();
    // Its delivery is made by the fan-out, long after the event, and is not yet sent.
    world.drop_fresh().await;
    world.clock.step(seconds(5));
    while world.tick_jobs().await > 0 {}
    assert_eq!(world.dry_run(missing).await.unwrap(), 0);
    world.settle().await;
    let for_last = world.receivers.take();
    let for_last = for_last.iter().filter(|one| one.url == "https://1001.example/");
    assert_eq!(for_last.count(), 1);
    assert_eq!(world.deliveries(event).await.len(), 1_002);
}

#[tokio::test]
async fn a_bad_span_status_or_type_is_refused() {
    let world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let bad = ReplayFields {
        since: world.now(),
        status: Some("pending".into()),
        event_type: Some("order.*".into()),
        ..all_of(endpoint)
    };
    for refused in [
        world.replay(bad.clone()).await.err(),
        world.dry_run(bad).await.err(),
    ] {
        let Some(Error::Invalid(faults)) = refused else {
            panic!("it was taken")
        };
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(told[0], "since: must be in the past");
        assert_eq!(told[1], "status: must be delivered, exhausted or cancelled");
        assert!(told[2].starts_with("type: "));
    }
}
