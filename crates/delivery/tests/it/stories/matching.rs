//! Which endpoints an event goes to.

use super::{URL, seconds, world};
use stentor_testkit::{EndpointFields, Publication, World, order_paid};

/// What receivers get of an event: the ends of their URLs, in order.
async fn reached(world: &mut World, publication: Publication) -> Vec<String> {
    let published = world.publish_all(vec![publication]).await.unwrap();
    world.settle().await;
    let ends: Vec<String> = world
        .received_by_url()
        .into_keys()
        .filter_map(|url| Some(url.strip_prefix(URL)?.trim_start_matches('/').to_owned()))
        .collect();
    assert_eq!(published[0].deliveries as usize, ends.len(), "what was answered");
    ends
}

fn wanting(events: &[&str]) -> EndpointFields {
    EndpointFields {
        events: Some(events.iter().map(|&text| text.to_owned()).collect()),
        ..EndpointFields::default()
    }
}

fn of_type(event_type: &str) -> Publication {
    Publication {
        event_type: event_type.into(),
        ..order_paid("acme", "{}")
    }
}

#[tokio::test]
async fn a_prefix_gets_all_that_is_below_it() {
    let mut world = world().await;
    for (end, events) in [
        ("all", &["*"][..]),
        ("below", &["order.*"]),
        ("exact", &["order.paid", "order.refund.failed"]),
        ("deep", &["order.refund.*"]),
        ("other", &["orders.*", "user.*"]),
    ] {
        let url = format!("{URL}/{end}");
        world.endpoint_with("acme", &url, wanting(events)).await;
    }
    for (event_type, ends) in [
        ("order.paid", &["all", "below", "exact"][..]),
        ("order.refund.failed", &["all", "below", "deep", "exact"]),
        ("order.refund", &["all", "below"]),
        ("order", &["all"]),
        ("user.made", &["all", "other"]),
    ] {
        assert_eq!(
            reached(&mut world, of_type(event_type)).await,
            ends,
            "{event_type}"
        );
    }
}

fn in_channels(names: &[&str]) -> EndpointFields {
    EndpointFields {
        channels: Some(Some(names.iter().map(|&name| name.to_owned()).collect())),
        ..EndpointFields::default()
    }
}

fn through(names: &[&str]) -> Publication {
    Publication {
        channels: names.iter().map(|&name| name.to_owned()).collect(),
        ..order_paid("acme", "{}")
    }
}

#[tokio::test]
async fn an_endpoint_with_channels_gets_only_events_that_have_one_of_them() {
    let mut world = world().await;
    world.endpoint("acme", &format!("{URL}/all")).await;
    for (end, names) in [("eu", &["eu"][..]), ("both", &["us", "eu"])] {
        world
            .endpoint_with("acme", &format!("{URL}/{end}"), in_channels(names))
            .await;
    }
    for (names, ends) in [
        (&[][..], &["all"][..]),
        (&["eu"], &["all", "both", "eu"]),
        (&["asia", "us"], &["all", "both"]),
        (&["asia"], &["all"]),
        (&["EU"], &["all"]),
    ] {
        assert_eq!(reached(&mut world, through(names)).await, ends, "{names:?}");
    }
}

#[tokio::test]
async fn what_an_endpoint_wants_counts_from_the_moment_it_is_changed() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, in_channels(&["eu"])).await;
    assert_eq!(reached(&mut world, through(&["us"])).await, [""; 0]);
    world.change(endpoint, in_channels(&["us"])).await;
    assert_eq!(reached(&mut world, through(&["us"])).await, [""]);
    let all = EndpointFields {
        channels: Some(None),
        ..wanting(&["user.*"])
    };
    world.change(endpoint, all).await;
    assert_eq!(reached(&mut world, through(&["us"])).await, [""; 0]);
    assert_eq!(reached(&mut world, of_type("user.made")).await, [""]);
}

fn filtered(filter: &str) -> EndpointFields {
    EndpointFields {
        filter: Some(Some(filter.into())),
        ..EndpointFields::default()
    }
}

#[tokio::test]
async fn an_endpoint_with_a_filter_gets_only_payloads_for_which_it_holds() {
    let mut world = world().await;
    world.endpoint("acme", &format!("{URL}/all")).await;
    for (end, filter) in [
        ("large", r#"{"total": {"$gte": 100}}"#),
        ("vip", r#"{"customer.tags": {"$in": ["vip", "staff"]}}"#),
        ("nothing", r#"{"$not": {}}"#),
    ] {
        world
            .endpoint_with("acme", &format!("{URL}/{end}"), filtered(filter))
            .await;
    }
    for (payload, ends) in [
        (r#"{"total": 100.00}"#, &["all", "large"][..]),
        (r#"{"total": 99.99}"#, &["all"]),
        (r#"{"total": "100"}"#, &["all"]),
        (
            r#"{"total": 1E400, "customer": {"tags": ["new", "vip"]}}"#,
            &["all", "large", "vip"],
        ),
        (r#"{"total": 1, "total": 200}"#, &["all", "large"]),
        (
            r#"{"text": "\ud800", "customer": {"tags": "staff"}}"#,
            &["all", "vip"],
        ),
        ("7", &["all"]),
    ] {
        let publication = order_paid("acme", payload);
        assert_eq!(reached(&mut world, publication).await, ends, "{payload}");
    }
}

#[tokio::test]
async fn a_filter_counts_from_the_moment_it_is_changed_and_after_a_restart() {
    let mut world = world().await;
    let endpoint = world.endpoint_with("acme", URL, filtered(r#"{"n": 1}"#)).await;
    let with = |n: u8| order_paid("acme", &format!(r#"{{"n": {n}}}"#));
    assert_eq!(reached(&mut world, with(2)).await, [""; 0]);
    world.change(endpoint, filtered(r#"{"n": 2}"#)).await;
    assert_eq!(reached(&mut world, with(2)).await, [""]);
    let mut world = world.kill_and_restart().await;
    assert_eq!(reached(&mut world, with(1)).await, [""; 0]);
    assert_eq!(reached(&mut world, with(2)).await, [""]);
    let none = EndpointFields {
        filter: Some(None),
        ..EndpointFields::default()
    };
    world.change(endpoint, none).await;
    assert_eq!(reached(&mut world, with(1)).await, [""]);
}

#[tokio::test]
async fn a_filter_that_cannot_be_read_lets_nothing_through() {
    let world = world().await;
    world.endpoint_with("acme", URL, filtered("{}")).await;
    world
        .database()
        .execute(r#"UPDATE endpoints SET filter = '{"a": {"$from_the_future": 1}}'"#);
    let mut world = world.kill_and_restart().await;
    assert_eq!(reached(&mut world, of_type("order.paid")).await, [""; 0]);
}

/// A tenant with so many copies of an endpoint, every other one with `even`, those between with `odd`. Nobody sends.
async fn crowd(copies: usize, even: &str, odd: &str) -> World {
    let world = world().await;
    world.endpoint("acme", URL).await;
    let columns = "tag, tenant, project, shard, name, url, events, timeout_seconds, retry_schedule, config_version, \
                   created_at, updated_at";
    world.database().execute(&format!(
        "INSERT INTO endpoints (n, number, {columns})
         WITH RECURSIVE copies (place) AS (SELECT 1 UNION ALL SELECT place + 1 FROM copies WHERE place < {copies})
         SELECT n + place, number + place, {columns} FROM endpoints, copies;
         DELETE FROM endpoints WHERE number = 1;
         UPDATE endpoints SET {even} WHERE number % 2 = 0;
         UPDATE endpoints SET {odd} WHERE number % 2 <> 0"
    ));
    // Only a start reads what was changed behind the store's back.
    let mut world = world.kill_and_restart().await;
    world.drop_fresh().await;
    world.clock.step(seconds(1));
    world
}

/// How many endpoints have a delivery, and how many of them have another number than an even one.
fn delivered_to(world: &World) -> (i64, i64) {
    let deliveries = "FROM work JOIN endpoints ON endpoints.n = work.endpoint";
    (
        world.number(&format!("SELECT count(DISTINCT endpoint) {deliveries}")),
        world.number(&format!("SELECT count(*) {deliveries} WHERE number % 2 <> 0")),
    )
}

#[tokio::test]
async fn what_follows_after_the_first_thousand_asks_for_the_same_channels() {
    let world = crowd(5_000, "channels = 'eu'", "channels = 'us'").await;
    let published = world.publish_all(vec![through(&["asia", "eu"])]).await.unwrap();
    assert_eq!(published[0].deliveries, 2_500);
    assert_eq!(delivered_to(&world), (1_000, 0));
    while world.tick_jobs().await > 0 {}
    assert_eq!(delivered_to(&world), (2_500, 0));
    assert_eq!(world.unfinished(), 2_500);
}

#[tokio::test]
async fn what_follows_after_the_first_thousand_asks_for_the_same_filters() {
    let world = crowd(5_000, r#"filter = '{"n": 1}'"#, r#"filter = '{"n": {"$ne": 1}}'"#).await;
    let published = world.publish_all(vec![order_paid("acme", r#"{"n": 1.0}"#)]).await;
    assert_eq!(published.unwrap()[0].deliveries, 2_500);
    assert_eq!(delivered_to(&world), (1_000, 0));
    while world.tick_jobs().await > 0 {}
    assert_eq!(delivered_to(&world), (2_500, 0));
    assert_eq!(world.unfinished(), 2_500);
}
