//! Endpoints with a rate limit: how many requests start in any second.

use super::{URL, seconds, world};
use std::time::Duration;
use stentor_domain::Timestamp;
use stentor_testkit::{EndpointFields, Reply, World};

const STEP: Duration = Duration::from_millis(10);

fn limited(rate: i64) -> EndpointFields {
    EndpointFields {
        rate_limit: Some(Some(rate)),
        ..EndpointFields::default()
    }
}

/// Lets so many milliseconds pass, step by step; tells when requests came.
async fn watch(world: &mut World, millis: usize) -> Vec<Timestamp> {
    let mut came = Vec::new();
    for _ in 0..millis / 10 {
        world.after(STEP).await;
        let received = world.receivers.take().len();
        came.extend(std::iter::repeat_n(world.now(), received));
    }
    came
}

/// A process that has worked for more than a second.
async fn settled(world: &mut World) {
    world.settle().await;
    world.after(seconds(2)).await;
}

/// The most that came within any second.
fn most(came: &[Timestamp]) -> usize {
    let within = |from: &Timestamp| {
        came.iter()
            .filter(|at| *at >= from && **at < from.plus(seconds(1)))
            .count()
    };
    came.iter().map(within).max().unwrap_or(0)
}

#[tokio::test]
async fn no_more_than_the_limit_start_in_any_second_and_evenly() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, limited(10)).await;
    settled(&mut world).await;
    world.publish_many("acme", 60).await;
    let came = watch(&mut world, 4_000).await;
    assert!(most(&came) <= 10, "{came:?}");
    assert!(came.len() >= 38, "{}", came.len());
    let gaps: Vec<Duration> = came.windows(2).map(|two| two[1].since(two[0])).collect();
    let (least, longest) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    assert!(*least >= 9 * STEP && *longest <= 12 * STEP, "{gaps:?}");
}

#[tokio::test]
async fn a_death_in_between_changes_nothing() {
    let mut world = world().await;
    world.endpoint_with("acme", URL, limited(10)).await;
    settled(&mut world).await;
    world.publish_many("acme", 60).await;
    let mut came = watch(&mut world, 1_500).await;
    let mut world = world.kill_and_restart().await;
    world.settle().await;
    came.extend(watch(&mut world, 3_000).await);
    assert!(most(&came) <= 10, "{came:?}");
    assert!(came.len() >= 15 + 19, "{}", came.len());
}

#[tokio::test]
async fn a_change_of_the_limit_takes_effect() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, limited(2)).await;
    settled(&mut world).await;
    world.publish_many("acme", 100).await;
    let came = watch(&mut world, 2_000).await.len();
    assert!((3..=4).contains(&came), "{came}");
    world.change(endpoint, limited(20)).await;
    let came = watch(&mut world, 2_000).await;
    assert!(most(&came) <= 20 && came.len() >= 28, "{}", came.len());
    world.change(endpoint, limited(4)).await;
    let came = watch(&mut world, 2_000).await;
    assert!(most(&came) <= 4 && came.len() >= 7, "{}", came.len());
    let none = EndpointFields {
        rate_limit: Some(None),
        ..EndpointFields::default()
    };
    world.change(endpoint, none).await;
    world.after(seconds(1)).await;
    world.settle().await;
    assert_eq!(world.unfinished(), 0, "the rest goes at once");
}

#[tokio::test]
async fn a_limit_that_is_set_while_many_wait_in_memory_holds_for_them_too() {
    let mut world = world().await;
    let endpoint = world.endpoint("acme", URL).await;
    world.acquaint("acme").await;
    settled(&mut world).await;
    let events = world.publish_many("acme", 30).await;
    world.change(endpoint, limited(10)).await;
    let mut came = watch(&mut world, 50).await;
    let owned = "SELECT count(*) FROM work WHERE owner IS NOT NULL";
    assert!(world.number(owned) <= 1, "what rests for long waits in the store");
    came.extend(watch(&mut world, 4_000).await);
    assert!(most(&came) <= 10, "{came:?}");
    assert_eq!(came.len(), 30);
    for event in events {
        assert_eq!(world.timeline(event).await, ["1 event 200", "delivered"]);
    }
}

#[tokio::test]
async fn failures_and_retries_count() {
    let mut world = world().await;
    let fields = EndpointFields {
        retry_schedule: Some(vec![1; 3]),
        ..limited(5)
    };
    world.endpoint_with("acme", URL, fields).await;
    settled(&mut world).await;
    // Not ten failures in a row, which would open the breaker.
    world.receivers.script(
        URL,
        &[
            Reply::Status(500),
            Reply::Status(500),
            Reply::Status(200),
            Reply::Status(500),
            Reply::Status(200),
            Reply::Status(500),
            Reply::Status(200),
        ],
    );
    world.publish_many("acme", 10).await;
    let came = watch(&mut world, 4_000).await;
    assert_eq!(came.len(), 14);
    assert!(most(&came) <= 5, "{came:?}");
    assert_eq!(world.unfinished(), 0);
}

#[tokio::test]
async fn a_test_goes_past_it() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, limited(1)).await;
    settled(&mut world).await;
    world.publish_many("acme", 2).await;
    world.settle().await;
    assert_eq!(world.receivers.take().len(), 1);
    world.test(endpoint).await.unwrap();
    assert_eq!(world.receivers.take().len(), 1, "the test, and nothing else");
    assert_eq!(watch(&mut world, 1_100).await.len(), 1);
}

#[tokio::test]
async fn what_rests_slows_nobody_else_and_takes_no_room() {
    let mut world = world().await;
    for n in 0..20 {
        let url = format!("https://receiver.example/{n}");
        world.endpoint_with("acme", &url, limited(1)).await;
    }
    world.tenant("other").await;
    world.endpoint("other", URL).await;
    settled(&mut world).await;
    world.publish_many("acme", 100).await;
    world.publish_many("other", 100).await;
    world.settle().await;
    let counts = world.received_by_url();
    assert_eq!(counts[URL], 100);
    assert!(counts.iter().all(|(url, count)| url == URL || *count == 1));
    world.after(Duration::from_millis(500)).await;
    let owned = "SELECT count(*) FROM work WHERE owner IS NOT NULL";
    assert_eq!(world.number(owned), 0, "nothing is claimed long before its turn");
}

#[tokio::test]
async fn an_ordered_endpoint_keeps_order_and_rate() {
    let mut world = world().await;
    let fields = EndpointFields {
        ordered: Some(true),
        retry_schedule: Some(vec![1]),
        ..limited(10)
    };
    world.endpoint_with("acme", URL, fields).await;
    settled(&mut world).await;
    world
        .receivers
        .script(URL, &[Reply::Status(500), Reply::Status(200)]);
    world.publish_many("acme", 10).await;
    let mut texts = Vec::new();
    for _ in 0..300 {
        world.after(STEP).await;
        let received = world.receivers.take();
        assert!(received.len() <= 1);
        texts.extend(received.iter().map(|one| one.text()));
    }
    assert_eq!(texts, ["0", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[tokio::test]
async fn one_that_is_cancelled_while_it_rests_is_not_sent() {
    let mut world = world().await;
    let fields = EndpointFields {
        ordered: Some(true),
        ..limited(1)
    };
    world.endpoint_with("acme", URL, fields).await;
    settled(&mut world).await;
    let events = world.publish_many("acme", 3).await;
    world.settle().await;
    assert_eq!(world.receivers.take().len(), 1);
    // By now the second is in memory, and rests.
    world.after(Duration::from_millis(980)).await;
    assert_eq!(
        world.number("SELECT count(*) FROM work WHERE owner IS NOT NULL"),
        1
    );
    world.cancel(events[1]).await.unwrap();
    world.after(Duration::from_millis(100)).await;
    let received = world.receivers.take();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].text(), "2");
    assert_eq!(world.timeline(events[1]).await, ["cancelled: requested"]);
}
