//! Erasing content, as its callers see it: who may, what remains, and that it says why.

use crate::world::World;
use serde_json::{Value, json};
use std::time::Duration;
use stentor_domain::limits::KEPT_DAYS;

/// A tenant with a paused endpoint, its key, and an event with a delivery that is held.
async fn tenant_with_event(world: &World, uid: &str) -> (String, String) {
    let key = world.tenant_key(uid).await;
    let made = world
        .with(&key)
        .post(
            "/v1/endpoints",
            json!({"name": "orders", "url": "https://example.com/hook"}),
        )
        .await;
    let pause = format!("/v1/endpoints/{}", made.text("id"));
    world
        .with(&key)
        .patch(&pause, json!({"status": "PAUSED"}))
        .await
        .expect(200);
    (key, publish(world, uid).await)
}

async fn publish(world: &World, tenant: &str) -> String {
    let body = json!({"tenant": tenant, "type": "order.paid", "payload": {"name": "Marguerite"}});
    let published = world.root().post("/v1/events", body).await;
    published.expect(202);
    published.text("id")
}

async fn work_in_background(world: &World) {
    while world.engine.tick_jobs().await.unwrap() > 0 {}
}

/// The event and its one delivery.
async fn seen(world: &World, event: &str) -> (Value, Value) {
    let seen = world.root().get(&format!("/v1/events/{event}")).await.expect(200);
    let page = world.root().get(&format!("/v1/deliveries?event={event}")).await;
    let [delivery] = page.expect(200)["data"]
        .as_array()
        .unwrap()
        .clone()
        .try_into()
        .unwrap();
    (seen, delivery)
}

#[tokio::test]
async fn an_erased_event_shows_no_content_and_why() {
    let world = World::start().await;
    let (key, event) = tenant_with_event(&world, "acme").await;
    let before = world.root().get(&format!("/v1/events/{event}")).await;
    assert_eq!(before.expect(200)["payload"]["name"], "Marguerite");

    let erased = world.root().delete(&format!("/v1/events/{event}/content")).await;
    assert_eq!((erased.status, erased.raw.as_str()), (204, ""));
    for _ in 0..2 {
        let (event, delivery) = seen(&world, &event).await;
        assert_eq!(
            (&event["payload"], &event["payload_gone"]),
            (&Value::Null, &json!("erased"))
        );
        assert_eq!(
            (
                &delivery["status"],
                &delivery["reason"],
                &delivery["payload_gone"]
            ),
            (&json!("cancelled"), &json!("payload_expired"), &json!("erased"))
        );
        assert_eq!(delivery["finished_at"], "2024-01-01T00:00:00.000Z");
        let retry = format!("/v1/deliveries/{}/retry", delivery["id"].as_str().unwrap());
        let refused = world.with(&key).post(&retry, json!({})).await;
        assert_eq!(refused.verdict(), (409, "payload_expired"));
        // The second time when nothing is left of it.
        work_in_background(&world).await;
    }
    let log = world.root().get("/v1/audit?limit=2").await;
    assert_eq!(
        log.each("action"),
        ["event.content_erasure_finished", "event.content_erased"]
    );
    assert_eq!(log.each("object"), [&event, &event]);
    let again = world.root().delete(&format!("/v1/events/{event}/content")).await;
    assert_eq!(again.status, 204);
}

#[tokio::test]
async fn erasing_all_of_a_tenants_content_leaves_others_and_what_comes_later() {
    let world = World::start().await;
    let (_, event) = tenant_with_event(&world, "acme").await;
    let (_, others) = tenant_with_event(&world, "other").await;
    let erased = world.root().delete("/v1/tenants/acme/content").await;
    assert_eq!(erased.status, 204);
    let later = publish(&world, "acme").await;
    work_in_background(&world).await;

    assert_eq!(seen(&world, &event).await.0["payload_gone"], "erased");
    for kept in [others, later] {
        let (event, delivery) = seen(&world, &kept).await;
        assert_eq!(
            (&event["payload_gone"], &delivery["status"]),
            (&Value::Null, &json!("held"))
        );
    }
    let page = world.root().get("/v1/events?tenant=acme").await;
    let gone: Vec<_> = page.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["payload_gone"].clone())
        .collect();
    assert_eq!(gone, [Value::Null, json!("erased")]);
}

#[tokio::test]
async fn whoever_may_not_publish_may_not_erase_either() {
    let world = World::start().await;
    let (tenant_key, event) = tenant_with_event(&world, "acme").await;
    let reader = world
        .key(json!({"role": "project", "read_only": true}))
        .await
        .text("key");
    let elsewhere = world.project("elsewhere").await;
    let stranger = world
        .key(json!({"role": "project", "project": elsewhere}))
        .await
        .text("key");
    let of_event = format!("/v1/events/{event}/content");
    for path in [of_event.as_str(), "/v1/tenants/acme/content"] {
        assert_eq!(
            world.with(&tenant_key).delete(path).await.verdict(),
            (403, "forbidden")
        );
        assert_eq!(
            world.with(&reader).delete(path).await.verdict(),
            (403, "forbidden")
        );
        assert_eq!(
            world.with(&stranger).delete(path).await.verdict(),
            (404, "not_found")
        );
    }
    let unknown = "/v1/events/evt_00800000-0000-7000-8000-000000000abe/content";
    for path in [unknown, "/v1/events/x/content", "/v1/tenants/nobody/content"] {
        assert_eq!(world.root().delete(path).await.verdict(), (404, "not_found"));
    }
    assert_eq!(seen(&world, &event).await.0["payload_gone"], Value::Null);

    let project_key = world.key(json!({"role": "project"})).await.text("key");
    assert_eq!(world.with(&project_key).delete(&of_event).await.status, 204);
}

#[tokio::test]
async fn an_old_event_goes_and_is_not_found_any_more() {
    let world = World::start().await;
    let (key, event) = tenant_with_event(&world, "acme").await;
    world
        .clock
        .step(Duration::from_secs(86_400 * u64::from(KEPT_DAYS + 1)));
    work_in_background(&world).await;
    let path = format!("/v1/events/{event}");
    assert_eq!(world.with(&key).get(&path).await.verdict(), (404, "not_found"));
    let page = world.with(&key).get("/v1/deliveries").await;
    assert_eq!(page.body["data"], json!([]));
}
