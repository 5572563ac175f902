//! Receivers that fail, and come back: the breaker, throttling, and endpoints that are disabled.

use super::{URL, seconds, world};
use std::time::Duration;
use stentor_domain::attempt::ErrorClass;
use stentor_domain::endpoint::{DisabledReason, Status};
use stentor_domain::health::{Breaker, Health};
use stentor_domain::id::EndpointId;
use stentor_testkit::{EndpointFields, Reply, Setup, World};

const DAY: u64 = 24 * 3600;

async fn health(world: &World, endpoint: EndpointId) -> Health {
    world.found(endpoint).await.health
}

async fn breaker(world: &World, endpoint: EndpointId) -> Breaker {
    health(world, endpoint).await.breaker(world.now())
}

/// One retry, an hour later: failures come from new events alone.
fn patient() -> EndpointFields {
    EndpointFields {
        retry_schedule: Some(vec![3_600]),
        ..EndpointFields::default()
    }
}

/// Publishes so many events, each once what came of the one before is known.
async fn publish_in_turn(world: &mut World, events: usize) {
    for _ in 0..events {
        world.publish("acme", "{}").await;
        world.settle().await;
    }
}

#[tokio::test]
async fn ten_failures_in_a_row_open_the_breaker_and_one_probe_goes_out_when_its_time_comes() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, patient()).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    publish_in_turn(&mut world, 9).await;
    assert_eq!(breaker(&world, endpoint).await, Breaker::Closed);
    world.publish("acme", "{}").await;
    world.settle().await;
    assert_eq!(breaker(&world, endpoint).await, Breaker::Open);
    let reason = health(&world, endpoint).await.reason().unwrap();
    assert!(
        reason.starts_with("10 attempts failed in a row, the last with status 500."),
        "{reason}"
    );
    world.receivers.take();
    world.publish_many("acme", 50).await;
    world.after(seconds(29)).await;
    assert_eq!(world.receivers.take().len(), 0);
    // The waits double with every probe that fails: 30 s, a minute, two.
    for wait in [1, 60, 120, 240, 480, 600, 600] {
        world.after(seconds(wait)).await;
        assert_eq!(world.receivers.take().len(), 1, "a probe after {wait} s");
    }
}

#[tokio::test]
async fn a_receiver_that_comes_back_gets_more_with_each_success_and_loses_nothing() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, patient()).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    publish_in_turn(&mut world, 10).await;
    let events = world.publish_many("acme", 200).await;
    world.settle().await;
    assert_eq!(world.receivers.take().len(), 10);
    world.receivers.script(URL, &[Reply::Status(200)]);

    world.clock.step(seconds(31));
    world.launch(1).await;
    assert_eq!(world.receivers.open_most(), 1, "one probe");
    assert_eq!(breaker(&world, endpoint).await, Breaker::HalfOpen);
    world.land().await;
    assert_eq!(breaker(&world, endpoint).await, Breaker::HalfOpen);
    world.launch(2).await;
    assert_eq!(world.receivers.open_most(), 2, "then two at once");
    world.land().await;
    world.settle().await;
    assert_eq!(breaker(&world, endpoint).await, Breaker::Closed);
    for event in events {
        assert_eq!(world.timeline(event).await, ["1 event 200", "delivered"]);
    }
}

#[tokio::test]
async fn an_open_breaker_delays_attempts_and_counts_none() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, patient()).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    publish_in_turn(&mut world, 10).await;
    let event = world.publish("acme", "{}").await;
    world.after(seconds(20)).await;
    assert_eq!(world.timeline(event).await, ["pending"]);
    world.receivers.script(URL, &[Reply::Status(200)]);
    world.after(seconds(11)).await;
    assert_eq!(world.timeline(event).await, ["1 event 200", "delivered"]);
}

#[tokio::test]
async fn the_breaker_survives_the_death_of_the_process() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, patient()).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    publish_in_turn(&mut world, 10).await;
    world.publish("acme", "{}").await;
    world.receivers.take();
    let mut world = world.kill_and_restart().await;
    world.after(seconds(20)).await;
    assert_eq!(world.receivers.take().len(), 0);
    assert_eq!(breaker(&world, endpoint).await, Breaker::Open);
    world.after(seconds(11)).await;
    assert_eq!(world.receivers.take().len(), 1);
}

#[tokio::test]
async fn moving_or_resuming_an_endpoint_forgives_what_it_was() {
    for moves in [true, false] {
        let mut world = world().await;
        let endpoint = world.endpoint_with("acme", URL, patient()).await;
        world.receivers.script(URL, &[Reply::Status(500)]);
        publish_in_turn(&mut world, 10).await;
        let event = world.publish("acme", "{}").await;
        world.receivers.script(URL, &[Reply::Status(200)]);
        if moves {
            let fields = EndpointFields {
                url: Some("https://elsewhere.example/".to_owned()),
                ..EndpointFields::default()
            };
            world.change(endpoint, fields).await;
        } else {
            world.pause(endpoint).await;
            world.resume(endpoint).await;
        }
        assert_eq!(health(&world, endpoint).await.consecutive_failures, 0);
        world.after(seconds(2)).await;
        assert_eq!(world.timeline(event).await, ["1 event 200", "delivered"]);
    }
}

#[tokio::test]
async fn who_asks_for_a_pause_gets_it_for_all_deliveries() {
    for (status, retry_after, pause) in [
        (429, Some("90"), 90),
        (502, None, 1),
        (504, Some("garbage"), 1),
        (503, Some("120"), 120),
    ] {
        let mut world = world().await;
        let endpoint = world.endpoint_with("acme", URL, patient()).await;
        let busy = match retry_after {
            Some(value) => Reply::RetryAfter(status, value),
            None => Reply::Status(status),
        };
        world.receivers.script(URL, &[busy, Reply::Status(200)]);
        world.publish("acme", "{}").await;
        world.settle().await;
        assert_eq!(breaker(&world, endpoint).await, Breaker::Throttled, "{status}");
        let events = world.publish_many("acme", 20).await;
        world.settle().await;
        world.after(Duration::from_millis(pause * 1_000 - 1)).await;
        assert_eq!(
            world.receivers.take().len(),
            1,
            "{status}: nothing before the pause has passed"
        );
        // It is made up to a fifth longer.
        world.clock.step(Duration::from_millis(pause * 200 + 1));
        world.launch(1).await;
        assert_eq!(world.receivers.open_most(), 1, "{status}: then one");
        world.land().await;
        world.settle().await;
        for event in events {
            assert_eq!(world.timeline(event).await.last().unwrap(), "delivered");
        }
        assert_eq!(breaker(&world, endpoint).await, Breaker::Closed);
    }
}

/// RX-23: one event for many endpoints of one host, which asks all of them for a pause at one moment.
#[tokio::test]
async fn many_endpoints_of_one_busy_host_do_not_come_back_at_one_moment() {
    const MANY: usize = 40;
    for busy in [
        Reply::RetryAfter(429, "10"),
        Reply::RetryAfter(503, "10"),
        Reply::Status(429),
    ] {
        let mut world = world().await;
        for n in 0..MANY {
            let url = format!("https://busy.example/{n}");
            world.endpoint_with("acme", &url, patient()).await;
            world.receivers.script(&url, &[busy.clone(), Reply::Status(200)]);
        }
        world.publish("acme", "{}").await;
        world.settle().await;
        assert_eq!(world.receivers.take().len(), MANY);
        let answered_at = world.now();
        // What is published next asks again, once for each.
        world.publish("acme", "{}").await;
        for _ in 0..300 {
            world.after(Duration::from_millis(50)).await;
        }
        let came: Vec<Duration> = (world.receivers.take().iter())
            .map(|one| one.at.since(answered_at))
            .collect();
        assert!(came.len() == MANY, "{busy:?}: {}", came.len());
        let first = *came.iter().min().unwrap();
        let least = match busy {
            Reply::RetryAfter(..) => seconds(10),
            _ => seconds(1),
        };
        assert!(first >= least, "{busy:?}: {first:?}");
        let at_once = |at: &Duration| came.iter().filter(|other| *other == at).count();
        let herd = came.iter().map(at_once).max().unwrap();
        // Spread over a fifth of the wait: that of a second is no more than four steps.
        assert!(herd <= MANY / 2, "{busy:?}: {herd} at one moment");
    }
}

#[tokio::test]
async fn a_failure_without_a_wish_for_a_pause_throttles_nobody() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, patient()).await;
    world.receivers.script(
        URL,
        &[
            Reply::RetryAfter(500, "90"),
            Reply::Status(503),
            Reply::Status(200),
        ],
    );
    for _ in 0..3 {
        world.publish("acme", "{}").await;
        world.settle().await;
        assert_eq!(breaker(&world, endpoint).await, Breaker::Closed);
    }
    assert_eq!(world.receivers.take().len(), 3);
}

/// RX-26.
#[tokio::test]
async fn five_days_without_a_success_disable_and_switching_on_resumes_what_was_held() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    let mut events = Vec::new();
    // Something every day, so that it is asked often enough.
    for _ in 0..6 {
        events.push(world.publish("acme", "{}").await);
        for _ in 0..24 {
            world.after(seconds(3_600)).await;
        }
    }
    let found = world.found(endpoint).await;
    assert_eq!(found.endpoint.status, Status::Disabled(DisabledReason::Failing));
    let after = world.publish("acme", "{}").await;
    assert!(
        world.deliveries(after).await.is_empty(),
        "a disabled endpoint matches nothing"
    );
    world.receivers.script(URL, &[Reply::Status(200)]);
    world.resume(endpoint).await;
    world.after(seconds(DAY)).await;
    for event in events {
        let timeline = world.timeline(event).await;
        let last = timeline.last().unwrap();
        assert!(
            last == "delivered" || last.starts_with("exhausted"),
            "{timeline:?}"
        );
    }
    assert_eq!(world.found(endpoint).await.endpoint.status, Status::Active);
}

#[tokio::test]
async fn who_was_not_asked_for_two_days_has_not_failed_for_them() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, patient()).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    for _ in 0..4 {
        world.publish("acme", "{}").await;
        world.after(seconds(3_700)).await;
        world.after(seconds(2 * DAY)).await;
    }
    assert_eq!(world.found(endpoint).await.endpoint.status, Status::Active);
}

#[tokio::test]
async fn an_operator_may_let_endpoints_fail_for_ever() {
    let mut world = World::with(Setup {
        patience: None,
        ..Setup::default()
    })
    .await;
    world.tenant("acme").await;
    let endpoint = world.endpoint_with("acme", URL, patient()).await;
    world.receivers.script(URL, &[Reply::Status(500)]);
    for _ in 0..10 {
        world.publish("acme", "{}").await;
        world.after(seconds(DAY)).await;
    }
    assert_eq!(world.found(endpoint).await.endpoint.status, Status::Active);
}

#[tokio::test]
async fn endpoints_on_one_dead_host_share_its_probes_and_all_come_back_with_it() {
    let urls = [
        "https://dead.example/a",
        "https://dead.example/b",
        "https://dead.example/c",
    ];
    let mut world = world().await;
    for url in urls {
        world.endpoint_with("acme", url, patient()).await;
        world.receivers.script(url, &[Reply::Fails(ErrorClass::Connect)]);
    }
    publish_in_turn(&mut world, 10).await;
    world.receivers.take();
    for wait in [31, 61, 121] {
        world.publish("acme", "{}").await;
        world.after(seconds(wait)).await;
        assert_eq!(world.receivers.take().len(), 1, "one probe for all");
    }
    for url in urls {
        world.receivers.script(url, &[Reply::Status(200)]);
    }
    let event = world.publish("acme", "{}").await;
    world.after(seconds(241)).await;
    let deliveries = world.deliveries(event).await;
    assert!(
        deliveries.iter().all(|one| one.state.as_str() == "delivered"),
        "{deliveries:?}"
    );
}

/// A tenant `bad` with so many endpoints that time out.
async fn bad_endpoints(world: &mut World, count: usize) {
    world.tenant("bad").await;
    for n in 0..count {
        let url = format!("https://bad-{n}.example/");
        world.endpoint("bad", &url).await;
        world.receivers.script(&url, &[Reply::Fails(ErrorClass::Timeout)]);
    }
}

#[tokio::test]
async fn those_that_do_not_answer_hold_a_quarter_of_the_places_and_one_each() {
    let mut setup = Setup::default();
    setup.limits.in_flight_max = 16;
    let mut world = World::with(setup).await;
    world.tenant("good").await;
    world.endpoint("good", URL).await;
    world.acquaint("good").await;
    bad_endpoints(&mut world, 10).await;
    world.publish_many("bad", 20).await;
    world.publish_many("good", 30).await;
    // Four of those not asked yet, and the twelve that are left.
    world.launch(16).await;
    let open = world.received_by_url();
    assert_eq!(open[URL], 12);
    assert_eq!(open.len(), 5);
    assert!(open.iter().all(|(url, times)| url == URL || *times == 1));
    world.land().await;
    world.settle().await;
    assert_eq!(world.received_by_url()[URL], 18);
}

#[tokio::test]
async fn places_that_hung_together_are_given_again_one_after_the_other() {
    let mut setup = Setup::default();
    setup.limits.in_flight_max = 16;
    let mut world = World::with(setup).await;
    bad_endpoints(&mut world, 20).await;
    world.publish("bad", "{}").await;
    world.launch(4).await;
    world.clock.step(seconds(10));
    world.land().await;
    // Four in a second, as many as there are: the first at once.
    for free in 1..=4 {
        world.launch_some().await;
        assert_eq!(world.receivers.open_now().len(), free);
        world.land().await;
        world.clock.step(Duration::from_millis(250));
    }
}

#[tokio::test]
async fn those_that_did_not_answer_leave_places_to_those_not_asked_yet() {
    let mut setup = Setup::default();
    setup.limits.in_flight_max = 16;
    let mut world = World::with(setup).await;
    bad_endpoints(&mut world, 10).await;
    world.publish("bad", "{}").await;
    world.settle().await;
    world.receivers.take();
    world.tenant("new").await;
    for n in 0..5 {
        world.endpoint("new", &format!("https://new-{n}.example/")).await;
    }
    world.publish("new", "{}").await;
    // All of the bad ones are due again. Of the four places for both kinds they may begin only the first two.
    world.clock.step(seconds(7));
    world.launch(4).await;
    let open = world.received_by_url();
    let new = open.keys().filter(|url| url.contains("new")).count();
    assert_eq!((open.len(), new), (4, 3), "{open:?}");
    world.land().await;
    world.settle().await;
}
