//! Replays: what an endpoint was sent before, or never, is sent again.

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
async fn a_death_between_slices_repeats_nothing_and_leaves_nothing_out() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let events = world.publish_many("acme", 1_000).await;
    world.settle().await;
    received(&world);
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    for slices in 0..8 {
        for _ in 0..=slices % 2 {
            world.tick_jobs().await;
        }
        world = world.kill_and_restart().await;
    }
    world.settle().await;

    assert_eq!(
        world.replay_line(replay).await,
        "done, looked at 1000 of 1000, replayed 1000, skipped 0"
    );
    let again = received(&world);
    assert_eq!(again.len(), 1_000);
    assert_eq!(again.iter().collect::<HashSet<_>>().len(), 1_000);
    for event in [events[0], events[500], events[999]] {
        assert_eq!(
            world.timeline(event).await,
            ["1 event 200", "2 replay 200", "delivered"]
        );
    }
}

#[tokio::test]
async fn a_death_while_it_looks_for_what_is_missing_makes_no_delivery_twice() {
    let mut world = world().await;
    world.publish_many("acme", 500).await;
    let endpoint = world.endpoint("acme", URL).await;
    let missing = ReplayFields {
        missing: true,
        ..all_of(endpoint)
    };
    let replay = world.replay(missing).await.unwrap();
    for _ in 0..5 {
        world.tick_jobs().await;
        world = world.kill_and_restart().await;
    }
    world.settle().await;
    assert_eq!(
        world.replay_line(replay).await,
        "done, looked at 500 of 500, replayed 500, skipped 0"
    );
    let received = received(&world);
    assert_eq!(received.len(), 500);
    assert_eq!(received.iter().collect::<HashSet<_>>().len(), 500);
}

#[tokio::test]
async fn a_large_replay_goes_at_its_endpoints_pace_and_buries_nothing() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let many = usize::try_from(REPLAY_DUE_MAX).unwrap() * 2;
    world.publish_many("acme", many).await;
    world.settle().await;
    received(&world);
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    while world.tick_jobs().await > 0 {}
    assert_eq!(world.unfinished(), i64::from(REPLAY_DUE_MAX));
    assert_eq!(
        world.replay_line(replay).await,
        "running, looked at 1000 of 2000, replayed 1000, skipped 0"
    );
    world.drop_fresh().await;
    let fresh = world.publish("acme", "fresh").await;
    world.after(seconds(1)).await;

    let received = received(&world);
    assert_eq!(received.len(), many + 1);
    let place = received.iter().position(|id| *id == fresh.to_string()).unwrap();
    let ahead = usize::try_from(REPLAY_DUE_MAX + REPLAY_SLICE_ROWS).unwrap();
    assert!(place <= ahead, "{place} were sent before it");
    assert_eq!(
        world.replay_line(replay).await,
        "done, looked at 2000 of 2000, replayed 2000, skipped 0"
    );
}

#[tokio::test]
async fn a_second_replay_of_an_endpoint_waits_for_the_first_and_others_do_not() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let other = world.endpoint("acme", OTHER).await;
    world.publish_many("acme", 1_000).await;
    world.settle().await;
    world.receivers.take();
    let first = world.replay(all_of(endpoint)).await.unwrap();
    let second = world.replay(all_of(endpoint)).await.unwrap();
    let elsewhere = world.replay(all_of(other)).await.unwrap();
    let states = async |world: &World| {
        let mut states = Vec::new();
        for id in [first, second, elsewhere] {
            states.push(world.replay_now(id).await.state.as_str());
        }
        states
    };
    assert_eq!(states(&world).await, ["queued", "queued", "queued"]);
    for _ in 0..6 {
        world.tick_jobs().await;
    }
    assert_eq!(states(&world).await, ["running", "queued", "running"]);
    let considered = [
        world.replay_now(first).await.progress.considered,
        world.replay_now(elsewhere).await.progress.considered,
    ];
    assert_eq!(considered, [400, 400], "each has its turn");
    world.settle().await;
    assert_eq!(states(&world).await, ["done", "done", "done"]);
    let counts = world.received_by_url();
    // What the first one has brought and is on its way is not sent once more by the second.
    let twice = usize::try_from(world.replay_now(second).await.progress.replayed).unwrap();
    assert!(twice < 1_000);
    assert_eq!((counts[URL], counts[OTHER]), (1_000 + twice, 1_000));
}

#[tokio::test]
async fn an_endpoint_has_a_bounded_number_of_replays_to_come() {
    let world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let mut asked = Vec::new();
    for _ in 0..REPLAYS_PER_ENDPOINT_MAX {
        asked.push(world.replay(all_of(endpoint)).await.unwrap());
    }
    let refused = world.replay(all_of(endpoint)).await;
    assert!(is_conflict(&refused, "replay_limit_reached"));
    world.cancel_replay(asked[3]).await.unwrap();
    world.replay(all_of(endpoint)).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_replay_replays_nothing_more_and_ends_what_it_brought() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.publish_many("acme", 3_000).await;
    world.settle().await;
    received(&world);
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    let queued = world.replay(all_of(endpoint)).await.unwrap();
    while world.tick_jobs().await > 0 {}
    world.launch(16).await;
    let in_flight = received(&world);
    let cancelled = world.cancel_replay(replay).await.unwrap();
    assert_eq!(cancelled.state.as_str(), "cancelled");
    assert!(is_conflict(&world.cancel_replay(replay).await, "replay_finished"));
    world.cancel_replay(queued).await.unwrap();
    while world.tick_jobs().await > 0 {}
    world.land().await;
    world.settle().await;
    world.after(seconds(100)).await;

    assert_eq!(received(&world), [""; 0], "only what was in flight was sent");
    assert_eq!(in_flight.len(), 16);
    assert_eq!(world.unfinished(), 0);
    assert_eq!(
        (ended(&world, "delivered"), ended(&world, "cancelled")),
        (2_016, 984)
    );
    assert_eq!(
        world.replay_line(replay).await,
        "cancelled: requested, looked at 1000 of 3000, replayed 1000, skipped 0"
    );
    assert_eq!(
        world.replay_line(queued).await,
        "cancelled: requested, looked at 0, replayed 0, skipped 0"
    );
    // They can be replayed in their turn.
    let cancelled = ReplayFields {
        status: Some("cancelled".into()),
        ..all_of(endpoint)
    };
    world.replay(cancelled).await.unwrap();
    world.settle().await;
    assert_eq!(received(&world).len(), 984);
    assert_eq!(
        (ended(&world, "delivered"), ended(&world, "cancelled")),
        (3_000, 0)
    );
}

#[tokio::test]
async fn a_wish_to_cancel_a_replay_survives_the_death_of_the_process() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.publish_many("acme", 500).await;
    world.settle().await;
    received(&world);
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    for _ in 0..3 {
        world.tick_jobs().await;
    }
    world.cancel_replay(replay).await.unwrap();
    world.tick_jobs().await;
    let mut world = world.kill_and_restart().await;
    while world.tick_jobs().await > 0 {}
    world.settle().await;
    assert_eq!(received(&world).len(), 0);
    assert_eq!(world.unfinished(), 0);
}

#[tokio::test]
async fn what_is_replayed_to_a_paused_endpoint_is_held() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let event = world.publish("acme", "{}").await;
    world.settle().await;
    world.pause(endpoint).await;
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    assert_eq!(
        world.replay_line(replay).await,
        "queued: endpoint_paused, looked at 0, replayed 0, skipped 0"
    );
    world.after(seconds(10)).await;
    assert_eq!(
        world.timeline(event).await,
        ["1 event 200", "held: endpoint_paused"]
    );
    world.resume(endpoint).await;
    world.settle().await;
    assert_eq!(
        world.timeline(event).await,
        ["1 event 200", "2 replay 200", "delivered"]
    );
}

#[tokio::test]
async fn nothing_is_replayed_to_an_endpoint_that_is_disabled_or_deleted() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.receivers.script(URL, &[Reply::Status(410)]);
    world.publish("acme", "{}").await;
    world.settle().await;
    assert!(is_conflict(
        &world.replay(all_of(endpoint)).await,
        "endpoint_disabled"
    ));
    assert!(is_conflict(
        &world.dry_run(all_of(endpoint)).await,
        "endpoint_disabled"
    ));
    world.delete(endpoint).await;
    for refused in [
        world.replay(all_of(endpoint)).await.err(),
        world.dry_run(all_of(endpoint)).await.err(),
    ] {
        assert!(matches!(refused, Some(Error::NotFound("endpoint"))));
    }
}

#[tokio::test]
async fn a_replay_waits_while_its_endpoint_is_disabled() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    let many = world.publish_many("acme", 500).await;
    world.settle().await;
    received(&world);
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    world.tick_jobs().await;
    world.tick_jobs().await;
    world.receivers.script(URL, &[Reply::Status(410)]);
    world.publish("acme", "{}").await;
    world.settle().await;
    let waits = world.replay_line(replay).await;
    assert!(
        waits.starts_with("running: endpoint_disabled, looked at "),
        "{waits}"
    );
    let sent = received(&world).len();
    world.after(seconds(1_000)).await;
    assert_eq!(world.replay_line(replay).await, waits);
    assert_eq!(received(&world).len(), 0);

    world.receivers.script(URL, &[Reply::Status(200)]);
    world.resume(endpoint).await;
    world.settle().await;
    assert!(received(&world).len() + sent > 500);
    for event in [many[0], many[499]] {
        assert_eq!(world.timeline(event).await.last().unwrap(), "delivered");
    }
    assert_eq!(world.replay_now(replay).await.state.as_str(), "done");
}

#[tokio::test]
async fn a_replay_ends_with_its_endpoint_or_its_tenant() {
    for with_tenant in [false, true] {
        let mut world = world().await;
        let endpoint = world.endpoint("acme", URL).await;
        world.publish_many("acme", 500).await;
        world.settle().await;
        received(&world);
        let running = world.replay(all_of(endpoint)).await.unwrap();
        let queued = world.replay(all_of(endpoint)).await.unwrap();
        for _ in 0..3 {
            world.tick_jobs().await;
        }
        let why = if with_tenant {
            world.delete_tenant("acme").await;
            "tenant_deleted"
        } else {
            world.delete(endpoint).await;
            "endpoint_deleted"
        };
        // From that moment on, and once it is written down.
        for _ in 0..2 {
            for replay in [running, queued] {
                let line = world.replay_line(replay).await;
                assert!(line.starts_with(&format!("cancelled: {why}, ")), "{line}");
                assert!(world.replay_now(replay).await.finished_at.is_some());
            }
            world.settle().await;
        }
        assert!(is_conflict(
            &world.cancel_replay(running).await,
            "replay_finished"
        ));
        assert_eq!((received(&world).len(), world.unfinished()), (0, 0));
        let to_do = world.number("SELECT count(*) FROM jobs WHERE swept_at IS NULL");
        assert_eq!(to_do, 0);
    }
}

#[tokio::test]
async fn what_fails_for_good_does_not_stop_a_large_replay() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.publish_many("acme", 1_500).await;
    world.settle().await;
    received(&world);
    // All but the last one fail, and wait for their next attempt.
    world.receivers.script(URL, &[Reply::Status(500)]);
    let replay = world.replay(all_of(endpoint)).await.unwrap();
    world.settle().await;
    assert_eq!(received(&world).len(), 1_500);
    assert_eq!(
        world.replay_line(replay).await,
        "done, looked at 1500 of 1500, replayed 1500, skipped 0"
    );
    assert_eq!(world.unfinished(), 1_500);
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
