//! Pages show every row once, newest first, wherever it is found.

use super::super::world::{World, endpoint, only};
use super::{ENDPOINTS, on_both_sides};
use crate::deliveries::DeliveryFilter;
use crate::events::EventFilter;
use crate::period::Period;
use stentor_domain::id::Id;
use stentor_domain::key::Scope;

/// Not a part of anything, so that a page lies across every border.
const PAGE: u32 = 37;
/// More than that many pages are not needed here.
const PAGES_MAX: usize = 1_000;
const TENANTS: [i64; 2] = [11, 12];

/// The keys that `question` answers, newest first.
fn keys(world: &World, question: &str) -> Vec<i64> {
    let texts = world
        .database
        .texts(&format!("SELECT CAST(n AS TEXT) FROM {question} ORDER BY n DESC"));
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// The keys of all pages: `page` tells those of the one before a key.
async fn all(page: impl AsyncFn(Option<i64>) -> Vec<i64>) -> Vec<i64> {
    let mut seen: Vec<i64> = Vec::new();
    for _ in 0..PAGES_MAX {
        let keys = page(seen.last().copied()).await;
        if keys.is_empty() {
            return seen;
        }
        seen.extend(keys);
    }
    panic!("there is always another page");
}

async fn all_deliveries(world: &World, scope: Scope, filter: &DeliveryFilter) -> Vec<i64> {
    all(async |before| {
        let page = world.store.deliveries(scope, filter.clone(), before, PAGE).await;
        page.unwrap().iter().map(|delivery| delivery.id.n()).collect()
    })
    .await
}

async fn all_events(world: &World, scope: Scope, filter: &EventFilter) -> Vec<i64> {
    all(async |before| {
        let page = world.store.events(scope, filter.clone(), before, PAGE).await;
        page.unwrap().iter().map(|event| event.id.n()).collect()
    })
    .await
}

#[tokio::test]
async fn an_endpoints_pages_show_each_of_its_deliveries_once() {
    let world = on_both_sides().await;
    for n in ENDPOINTS {
        let filter = DeliveryFilter {
            endpoint: Some(endpoint(n)),
            ..DeliveryFilter::default()
        };
        let all = keys(&world, &format!("deliveries WHERE endpoint = {n}"));
        for scope in [Scope::Root, only(n / 10)] {
            assert_eq!(all_deliveries(&world, scope, &filter).await, all);
        }
    }
}

#[tokio::test]
async fn a_tenants_pages_show_each_of_its_deliveries_and_events_once() {
    let world = on_both_sides().await;
    for n in TENANTS {
        let deliveries = keys(&world, &format!("deliveries WHERE tenant = {n}"));
        let events = keys(&world, &format!("events WHERE tenant = {n}"));
        assert_eq!(
            all_deliveries(&world, only(n), &DeliveryFilter::default()).await,
            deliveries
        );
        assert_eq!(all_events(&world, only(n), &EventFilter::default()).await, events);
    }
}

/// Both bounds of a period are looked at on both sides of the border, and at the border itself.
#[tokio::test]
async fn a_period_is_the_same_on_both_sides_of_the_border() {
    let world = on_both_sides().await;
    let border = world.database.number("SELECT deliveries FROM listed");
    let first = world.database.number("SELECT min(n) FROM deliveries");
    let last = world.database.number("SELECT max(n) FROM deliveries");
    let times = [first, border, border + (1 << 21), last].map(|n| Some(Id { n, tag: 0 }.made_at()));
    for since in times {
        for until in times {
            let period = Period { since, until };
            let (least, below) = period.keys(None);
            let held = format!("n >= {least} AND n < {below}");
            let filter = DeliveryFilter {
                period,
                ..DeliveryFilter::default()
            };
            let all = keys(&world, &format!("deliveries WHERE tenant = 11 AND {held}"));
            assert_eq!(all_deliveries(&world, only(11), &filter).await, all);
            let filter = EventFilter {
                period,
                ..EventFilter::default()
            };
            let all = keys(&world, &format!("events WHERE tenant = 11 AND {held}"));
            assert_eq!(all_events(&world, only(11), &filter).await, all);
        }
    }
}
