//! `GET .../deliveries`.

use super::{assert_fields, code, data, made, names_in_order, path, refused, text, world};
use crate::world::World;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use stentor_domain::Timestamp;
use stentor_domain::attempt::{Exchange, Outcome};
use stentor_domain::delivery::Reason;
use stentor_domain::judge::Effect;
use stentor_store::Handover;
use stentor_store::hot::{Claimed, Next};

const FIELDS: [&str; 8] = [
    "id",
    "event",
    "status",
    "responseStatus",
    "attempts",
    "createdAt",
    "deliveredAt",
    "nextRetryAt",
];

/// Publishes an event of app `app`; gives its only delivery as it is handed over.
async fn publish(world: &mut World, app: &str, event_type: &str) -> Claimed {
    let body = json!({"tenant": app, "type": event_type, "payload": {}});
    world.root().post("/v1/events", body).await.expect(202);
    world.handed_over().await
}

/// Records an attempt.
async fn record(world: &World, claimed: &Claimed, outcome: Outcome, next: Next) {
    let exchange = Exchange::default();
    world.record(claimed, outcome, exchange, next, Effect::None).await;
}

/// The first attempt failed; the second is due then.
fn waits(due_at: Timestamp) -> Next {
    Next::Retry {
        due_at,
        failed: 1,
        first_at: Some(due_at),
    }
}

/// An endpoint of app `acme` that wants everything; gives the path of its deliveries.
async fn endpoint(world: &World, key: &str) -> (Value, String) {
    let made = made(
        &world.with(key),
        json!({"url": "https://example.com/hook", "events": ["*"]}),
    )
    .await;
    let deliveries = format!("{}/deliveries", path(&made));
    (made, deliveries)
}

async fn items(world: &World, key: &str, list: &str) -> Vec<Value> {
    let page = data(&world.with(key).get(list).await, 200);
    page["items"].as_array().unwrap().clone()
}

/// The ids of a page, and the cursor of the next one.
async fn page(world: &World, key: &str, list: &str) -> (Vec<String>, Option<String>) {
    let page = data(&world.with(key).get(list).await, 200);
    assert_fields(&page, &["items", "nextCursor"]);
    let items = page["items"].as_array().unwrap();
    let next = page["nextCursor"].as_str().map(str::to_owned);
    (items.iter().map(|item| text(item, "id")).collect(), next)
}

#[tokio::test]
async fn a_delivery_shows_where_it_is_in_the_words_of_the_contract() {
    let (mut world, key) = world().await;
    let (made, list) = endpoint(&world, &key).await;
    let claimed = publish(&mut world, "acme", "order.paid").await;
    let accepted = claimed.delivery.0.made_at().iso_millis();
    let answer = world.with(&key).get(&list).await;
    names_in_order(&answer.raw, &FIELDS);
    let fresh = &items(&world, &key, &list).await[0];
    assert_fields(fresh, &FIELDS);
    let expected = json!({
        "id": claimed.delivery.0.uuid(), "event": "order.paid", "status": "PENDING", "responseStatus": null,
        "attempts": 0, "createdAt": accepted, "deliveredAt": null, "nextRetryAt": null
    });
    assert_eq!(fresh, &expected);

    let retry_at = world.store.clock().now().plus(Duration::from_secs(5));
    record(&world, &claimed, Outcome::Answered(503), waits(retry_at)).await;
    let waits = &items(&world, &key, &list).await[0];
    let shown = |item: &Value| {
        json!([
            item["status"],
            item["responseStatus"],
            item["attempts"],
            item["nextRetryAt"]
        ])
    };
    assert_eq!(shown(waits), json!(["PENDING", 503, 1, retry_at.iso_millis()]));

    let put = format!("PUT {}", path(&made));
    data(&world.with(&key).call(&put, json!({"active": false})).await, 200);
    let held = &items(&world, &key, &list).await[0];
    assert_eq!(shown(held), json!(["PENDING", 503, 1, null]));
    data(&world.with(&key).call(&put, json!({"active": true})).await, 200);

    let delivered = publish(&mut world, "acme", "order.paid").await;
    world.clock.step(Duration::from_secs(3));
    record(&world, &delivered, Outcome::Answered(204), Next::Delivered).await;
    let newest = &items(&world, &key, &list).await[0];
    assert_eq!(shown(newest), json!(["DELIVERED", 204, 1, null]));
    assert_eq!(newest["deliveredAt"], world.store.clock().now().iso_millis());

    let exhausted = publish(&mut world, "acme", "order.paid").await;
    let next = Next::Exhausted(Reason::ScheduleEnded);
    record(&world, &exhausted, Outcome::Answered(500), next).await;
    let newest = &items(&world, &key, &list).await[0];
    assert_eq!(shown(newest), json!(["FAILED", 500, 1, null]));
    assert_eq!(newest["deliveredAt"], Value::Null);
}

#[tokio::test]
async fn the_filter_takes_the_words_that_are_shown() {
    let (mut world, key) = world().await;
    let (_, list) = endpoint(&world, &key).await;
    let due_at = world.store.clock().now().plus(Duration::from_secs(5));
    let mut by_status = Vec::new();
    for (next, status) in [
        (Some(Next::Delivered), "DELIVERED"),
        (Some(Next::Exhausted(Reason::ScheduleEnded)), "FAILED"),
        (None, "PENDING"),
        (Some(waits(due_at)), "PENDING"),
        (Some(waits(due_at)), "FAILED"),
    ] {
        let claimed = publish(&mut world, "acme", "order.paid").await;
        if let Some(next) = next {
            record(&world, &claimed, Outcome::Answered(200), next).await;
        }
        by_status.insert(0, (claimed.delivery.0.uuid(), status));
    }
    let cancel = format!("POST /v1/deliveries/dlv_{}/cancel", by_status[0].0);
    world.with(&key).call(&cancel, Value::Null).await.expect(200);
    for word in ["PENDING", "DELIVERED", "FAILED"] {
        let (found, next) = page(&world, &key, &format!("{list}?status={word}")).await;
        let expected = by_status.iter().filter(|(_, status)| *status == word);
        let expected: Vec<_> = expected.map(|(id, _)| id.clone()).collect();
        assert_eq!((found, next), (expected, None), "{word}");
    }
    for word in ["pending", "HELD", "CANCELLED", "", "PENDING,FAILED", "PENDING%00"] {
        let answer = world.with(&key).get(&format!("{list}?status={word}")).await;
        let (_, message, field) = refused(&answer, 422);
        assert_eq!(field.as_deref(), Some("status"), "{word}");
        assert!(message.contains("PENDING, DELIVERED or FAILED"), "{message}");
    }
    let twice = world
        .with(&key)
        .get(&format!("{list}?status=PENDING&status=FAILED"))
        .await;
    let (_, message, field) = refused(&twice, 422);
    assert_eq!(
        (message.as_str(), field.as_deref()),
        ("status: must be given once", Some("status"))
    );
    let both = world.with(&key).get(&format!("{list}?status=x&limit=0")).await;
    let (_, message, field) = refused(&both, 422);
    assert_eq!(field.as_deref(), Some("status"));
    assert!(message.contains("limit: must be 1 to 100"), "{message}");
}

#[tokio::test]
async fn a_page_has_twenty_items_unless_it_is_told_otherwise() {
    let (mut world, key) = world().await;
    let (_, list) = endpoint(&world, &key).await;
    let batch = |count: usize| {
        let one = json!({"type": "order.paid", "payload": {}});
        json!({"events": vec![one; count]})
    };
    world
        .root()
        .and("x-tenant", "acme")
        .post("/v1/events/batch", batch(101))
        .await
        .expect(202);
    while !matches!(world.fresh.next().await.unwrap(), Handover::Claimed(_)) {}
    for (query, count) in [("", 20), ("?limit=1", 1), ("?limit=100", 100)] {
        let (found, next) = page(&world, &key, &format!("{list}{query}")).await;
        assert_eq!((found.len(), next.is_some()), (count, true), "{query}");
    }
    for limit in ["0", "101", "-1", "", "x", "1.5"] {
        let answer = world.with(&key).get(&format!("{list}?limit={limit}")).await;
        assert_eq!(refused(&answer, 422).2.as_deref(), Some("limit"), "{limit}");
    }
}

#[tokio::test]
async fn pages_neither_repeat_nor_skip_while_new_deliveries_arrive_and_old_ones_end() {
    let (mut world, key) = world().await;
    let (_, list) = endpoint(&world, &key).await;
    let mut waiting = Vec::new();
    for _ in 0..9 {
        waiting.push(publish(&mut world, "acme", "order.paid").await);
    }
    let expected: Vec<_> = waiting
        .iter()
        .rev()
        .map(|claimed| claimed.delivery.0.uuid())
        .collect();
    let (mut seen, mut query) = (Vec::new(), String::new());
    loop {
        let (found, next) = page(&world, &key, &format!("{list}?limit=2{query}")).await;
        seen.extend(found);
        let Some(cursor) = next else { break };
        query = format!("&cursor={cursor}");
        publish(&mut world, "acme", "order.paid").await;
        let ends = waiting.remove(waiting.len() / 2);
        record(&world, &ends, Outcome::Answered(200), Next::Delivered).await;
    }
    assert_eq!(seen, expected);
    // The status is judged when a page is read.
    let (delivered, _) = page(&world, &key, &format!("{list}?status=DELIVERED")).await;
    assert_eq!(delivered.len(), 4);
}

#[tokio::test]
async fn a_cursor_is_good_for_the_list_that_gave_it_alone() {
    let (mut world, key) = world().await;
    let other_key = world.tenant_key("other").await;
    let body = json!({"url": "https://example.com/hook", "events": ["*"]});
    let others = data(
        &world.with(&other_key).post("/apps/other/webhooks", body).await,
        201,
    );
    let others = format!("/apps/other/webhooks/{}/deliveries", text(&others, "id"));
    let (_, list) = endpoint(&world, &key).await;
    for app in ["acme", "other", "acme", "other"] {
        publish(&mut world, app, "order.paid").await;
    }
    let (_, sibling) = endpoint(&world, &key).await;
    let cursor = page(&world, &key, &format!("{list}?limit=1")).await.1.unwrap();
    let foreign = page(&world, &other_key, &format!("{others}?limit=1"))
        .await
        .1
        .unwrap();
    let of_v1 = world
        .with(&key)
        .get("/v1/deliveries?limit=1")
        .await
        .text("next_cursor");

    let tenant = world.root().get("/v1/tenants/acme").await.text("id");
    let by_id = list.replace("/acme/", &format!("/{tenant}/"));
    for (list, key) in [(&list, &key), (&by_id, &key), (&list, &world.root)] {
        let (found, next) = page(&world, key, &format!("{list}?cursor={cursor}")).await;
        assert_eq!((found.len(), next), (1, None));
    }
    let altered: BTreeSet<String> = (0..cursor.len())
        .map(|at| {
            let mut letters = cursor.clone().into_bytes();
            letters[at] = if letters[at] == b'A' { b'B' } else { b'A' };
            String::from_utf8(letters).unwrap()
        })
        .collect();
    assert_eq!(altered.len(), cursor.len());
    let made_up = [
        "",
        "x",
        "AAAAAAAAAAA",
        &cursor[1..],
        &format!("{cursor}A"),
        &foreign,
        &of_v1,
    ];
    for bad in altered.iter().map(String::as_str).chain(made_up) {
        let answer = world.with(&key).get(&format!("{list}?cursor={bad}")).await;
        assert_eq!(code(&answer, 400), "bad_cursor", "{bad}");
    }
    for (list, key) in [(&sibling, &key), (&others, &other_key)] {
        let answer = world.with(key).get(&format!("{list}?cursor={cursor}")).await;
        assert_eq!(code(&answer, 400), "bad_cursor");
    }
}

#[tokio::test]
async fn only_the_endpoints_own_deliveries_are_listed() {
    let (mut world, key) = world().await;
    let (_, list) = endpoint(&world, &key).await;
    let own = publish(&mut world, "acme", "order.paid").await.delivery.0.uuid();
    let (_, sibling) = endpoint(&world, &key).await;
    assert_eq!(page(&world, &key, &list).await, (vec![own], None));
    assert_eq!(page(&world, &key, &sibling).await, (vec![], None));
}
