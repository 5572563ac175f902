//! Which endpoints an event goes to.

use super::{URL, world};
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
