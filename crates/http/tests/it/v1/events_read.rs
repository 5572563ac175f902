//! `GET /v1/events`, as its callers see it.

use crate::world::World;
use serde_json::{Value, json};
use std::time::Duration;

async fn publish(world: &World, tenant: &str, event_type: &str) -> String {
    let body = json!({"tenant": tenant, "type": event_type, "event_id": format!("own-{event_type}"),
                      "payload": {"a": [1, null]}, "occurred_at": "2023-12-31T23:00:00Z"});
    let event = world
        .with(&world.root)
        .call("POST /v1/events", body)
        .await
        .expect(202);
    event["id"].as_str().unwrap().to_owned()
}

async fn ids(world: &World, key: &str, query: &str) -> Vec<String> {
    let page = world
        .with(key)
        .call(&format!("GET /v1/events{query}"), Value::Null)
        .await
        .expect(200);
    let data = page["data"].as_array().unwrap();
    data.iter()
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn an_event_is_shown_with_its_payload_as_it_was_published() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let id = publish(&world, "acme", "order.paid").await;
    let answer = world
        .with(&key)
        .call(&format!("GET /v1/events/{id}"), Value::Null)
        .await;
    let event = answer.expect(200);
    assert!(
        answer.raw.contains(r#""payload":{"a":[1,null]}"#),
        "{}",
        answer.raw
    );
    assert_eq!(event["payload_gone"], Value::Null);
    assert_eq!(event["event_id"], "own-order.paid");
    assert_eq!(event["deliveries"], 0);
    assert_eq!(event["occurred_at"], "2023-12-31T23:00:00.000Z");

    let other = world.tenant_key("other").await;
    world
        .with(&other)
        .call(&format!("GET /v1/events/{id}"), Value::Null)
        .await
        .refusal(404);
    world
        .with(&world.root)
        .call("GET /v1/events/evt_x", Value::Null)
        .await
        .refusal(404);
}

#[tokio::test]
async fn events_are_listed_newest_first_each_tenants_own() {
    let world = World::start().await;
    let (acme, other) = (world.tenant_key("acme").await, world.tenant_key("other").await);
    let first = publish(&world, "acme", "order.paid").await;
    world.clock.step(Duration::from_secs(60));
    let begin = world.store.clock().now().iso_millis();
    let second = publish(&world, "acme", "user.made").await;
    let foreign = publish(&world, "other", "user.made").await;
    assert_eq!(ids(&world, &acme, "").await, [&*second, &*first]);
    assert_eq!(ids(&world, &other, "").await, [&*foreign]);
    assert_eq!(ids(&world, &world.root, "").await, [&*foreign, &*second, &*first]);
    assert_eq!(
        ids(&world, &world.root, "?tenant=acme&type=user.made").await,
        [&*second]
    );
    assert_eq!(ids(&world, &acme, &format!("?since={begin}")).await, [&*second]);
    assert_eq!(ids(&world, &acme, &format!("?until={begin}")).await, [&*first]);
    let page = world
        .with(&acme)
        .call("GET /v1/events?limit=1", Value::Null)
        .await
        .expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(ids(&world, &acme, &format!("?cursor={cursor}")).await, [&*first]);
    assert_eq!(page["data"][0]["payload"], Value::Null);

    let (_, fields) = world
        .with(&acme)
        .call("GET /v1/events?type=*&since=x", Value::Null)
        .await
        .refusal(422);
    assert_eq!(fields, ["type", "since"]);
}
