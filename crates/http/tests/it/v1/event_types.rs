//! `/v1/event-types`.

use std::time::Duration;

use crate::world::World;
use serde_json::{Value, json};

const PATH: &str = "/v1/event-types/order.completed";

#[tokio::test]
async fn an_event_type_is_made_read_changed_archived_and_brought_back() {
    let world = World::start().await;
    let body = json!({ "name": "order.completed", "description": "An order was paid.", "validate": false });
    let made = world.root().post("/v1/event-types", body).await;
    let shown = |description: &str, archived: bool, updated_at: &str| {
        json!({
            "name": "order.completed",
            "description": description,
            "schema": null,
            "validate": false,
            "archived": archived,
            "created_at": "2024-01-01T00:00:00.000Z",
            "updated_at": updated_at,
        })
    };
    assert_eq!(made.status, 201);
    assert_eq!(
        made.body,
        shown("An order was paid.", false, "2024-01-01T00:00:00.000Z")
    );

    world.clock.step(Duration::from_secs(1));
    let changed = world.root().patch(PATH, json!({ "description": "Paid." })).await;
    assert_eq!(changed.status, 200);
    assert_eq!(changed.body, shown("Paid.", false, "2024-01-01T00:00:01.000Z"));
    assert_eq!(world.root().get(PATH).await.body, changed.body);

    world.clock.step(Duration::from_secs(1));
    assert_eq!(world.root().delete(PATH).await.status, 204);
    assert!(world.root().get("/v1/event-types").await.each("name").is_empty());
    let archived = shown("Paid.", true, "2024-01-01T00:00:02.000Z");
    assert_eq!(world.root().get(PATH).await.body, archived);
    world.clock.step(Duration::from_secs(1));
    assert_eq!(world.root().delete(PATH).await.status, 204);
    assert_eq!(
        world.root().get(PATH).await.body,
        archived,
        "archiving twice is archiving once"
    );

    let body = json!({ "name": "order.completed", "description": "Again." });
    let restored = world.root().post("/v1/event-types", body).await;
    assert_eq!(restored.status, 201);
    assert_eq!(restored.body, shown("Again.", false, "2024-01-01T00:00:03.000Z"));
    assert_eq!(
        world.root().get("/v1/event-types").await.each("name"),
        ["order.completed"]
    );
}

#[tokio::test]
async fn a_name_is_registered_once_in_each_project() {
    let world = World::start().await;
    world.project("other").await;
    let body = json!({ "name": "order.completed", "description": "" });
    let create = |path: &'static str| {
        let (asker, body) = (world.root(), body.clone());
        async move { asker.post(path, body).await }
    };
    assert_eq!(create("/v1/event-types").await.status, 201);
    assert_eq!(
        create("/v1/event-types").await.verdict(),
        (409, "event_type_exists")
    );
    assert_eq!(create("/v1/event-types?project=other").await.status, 201);
    world
        .root()
        .delete("/v1/event-types/order.completed?project=other")
        .await;
    assert_eq!(world.root().get(PATH).await.body["archived"], false);
}

#[tokio::test]
async fn event_types_are_listed_newest_first_in_pages() {
    let world = World::start().await;
    for name in ["a", "b", "c"] {
        let body = json!({ "name": name, "description": "" });
        world.root().post("/v1/event-types", body).await;
    }
    let first = world.root().get("/v1/event-types?limit=2").await;
    assert_eq!(first.each("name"), ["c", "b"]);
    let next = format!("/v1/event-types?limit=2&cursor={}", first.text("next_cursor"));
    let last = world.root().get(&next).await;
    assert_eq!(last.each("name"), ["a"]);
    assert!(last.body["next_cursor"].is_null());
    let bad = world.root().get("/v1/event-types?limit=many").await;
    assert_eq!((bad.status, bad.faults()), (422, vec!["limit"]));
}

#[tokio::test]
async fn what_breaks_a_rule_is_named() {
    let world = World::start().await;
    for (body, fields) in [
        (json!({ "description": "" }), vec!["name"]),
        (json!({ "name": "a" }), vec!["description"]),
        (json!({ "name": "a", "description": null }), vec!["description"]),
        (json!({ "name": "", "description": "" }), vec!["name"]),
        (json!({ "name": "order.*", "description": "" }), vec!["name"]),
        (
            json!({ "name": "a b", "description": "x".repeat(1_001) }),
            vec!["name", "description"],
        ),
        (
            json!({ "name": "a", "description": "\u{0}" }),
            vec!["description"],
        ),
        (
            json!({ "name": "a", "description": "", "schema": [] }),
            vec!["schema"],
        ),
        (
            json!({ "name": "a", "description": "", "schema": { "items": { "$ref": "https://example.com/a" } } }),
            vec!["schema.items.$ref"],
        ),
        (
            json!({ "name": "a", "description": "", "schema": { "properties": { "a": { "type": "text" } } } }),
            vec!["schema.properties.a.type"],
        ),
        (
            json!({ "name": "a b", "description": "", "schema": { "pattern": "(a)\\1" }, "validate": true }),
            vec!["name", "schema.pattern"],
        ),
        (
            json!({ "name": "a", "description": "", "schema": null, "validate": true }),
            vec!["validate"],
        ),
        (
            json!({ "name": "a", "description": "", "validate": "yes" }),
            vec!["validate"],
        ),
        (
            json!({ "name": "a", "description": "", "validate": true }),
            vec!["validate"],
        ),
        (
            json!({ "name": "a", "description": "", "project": 1 }),
            vec!["project"],
        ),
    ] {
        let refused = world.root().post("/v1/event-types", body.clone()).await;
        assert_eq!((refused.status, refused.faults()), (422, fields), "{body}");
    }
    let nowhere = json!({ "name": "a", "description": "", "project": "nowhere" });
    let nowhere = world.root().post("/v1/event-types", nowhere).await;
    assert_eq!(nowhere.verdict(), (404, "not_found"));

    let body = json!({ "name": "order.completed", "description": "é".repeat(1_000) });
    assert_eq!(world.root().post("/v1/event-types", body).await.status, 201);
    for (body, field) in [
        (json!({ "description": null }), "description"),
        (json!({ "description": "x".repeat(1_001) }), "description"),
        (json!({ "schema": "{}" }), "schema"),
        (
            json!({ "schema": { "$ref": "file:///etc/passwd" } }),
            "schema.$ref",
        ),
        (json!({ "validate": true }), "validate"),
        (json!({ "validate": null }), "validate"),
    ] {
        let refused = world.root().patch(PATH, body.clone()).await;
        assert_eq!((refused.status, refused.faults()), (422, vec![field]), "{body}");
    }
    for path in ["/v1/event-types/unknown", "/v1/event-types/not%20a%20name"] {
        for missing in [
            world.root().get(path).await,
            world.root().patch(path, json!({})).await,
            world.root().delete(path).await,
        ] {
            assert_eq!(missing.verdict(), (404, "not_found"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_schema_comes_back_as_it_was_sent_and_is_needed_while_it_is_enforced() {
    let world = World::start().await;
    let schema = json!({ "$schema": "http://json-schema.org/draft-07/schema#", "required": ["b", "a"] });
    let body = json!({ "name": "order.completed", "description": "", "schema": schema });
    let made = world.root().post("/v1/event-types", body).await.expect(201);
    assert_eq!((&made["schema"], &made["validate"]), (&schema, &json!(false)));
    let changed = world
        .root()
        .patch(PATH, json!({ "validate": true }))
        .await
        .expect(200);
    assert_eq!(
        (&changed["schema"], &changed["validate"]),
        (&schema, &json!(true))
    );
    let refused = world.root().patch(PATH, json!({ "schema": null })).await;
    assert_eq!(refused.refusal(422).1, ["validate"]);
    let both = json!({ "schema": null, "validate": false });
    let cleared = world.root().patch(PATH, both).await.expect(200);
    assert_eq!(
        (&cleared["schema"], &cleared["validate"]),
        (&json!(null), &json!(false))
    );
    let listed = world.root().get("/v1/event-types").await.expect(200);
    assert_eq!(listed["data"][0], cleared);
}

#[tokio::test]
async fn an_enforced_schema_refuses_payloads_from_the_moment_it_is_set() {
    let world = World::start().await;
    world.tenant("default", "acme").await;
    let schema = json!({ "properties": { "items": { "items": { "required": ["sku"] } } } });
    let body = json!({ "name": "order.completed", "description": "", "schema": schema, "validate": true });
    world.root().post("/v1/event-types", body).await.expect(201);
    let event = |event_type: &str, payload: Value| json!({ "tenant": "acme", "type": event_type, "payload": payload });
    let (good, bad) = (
        json!({ "items": [{ "sku": 1 }] }),
        json!({ "items": [{ "sku": 1 }, {}] }),
    );
    let publish = async |body: Value| world.root().post("/v1/events", body).await;

    publish(event("order.completed", good.clone())).await.expect(202);
    publish(event("order.refunded", bad.clone())).await.expect(202);
    let refused = publish(event("order.completed", bad.clone())).await;
    assert_eq!(refused.refusal(422).1, ["payload.items.1"]);
    let batch = [&good, &bad, &good, &json!([])].map(|payload| event("order.completed", payload.clone()));
    let batch = world
        .root()
        .post("/v1/events/batch", json!({ "events": batch }))
        .await;
    assert_eq!(batch.refusal(422).1, ["events.1.payload.items.1"]);
    let events = world.root().get("/v1/events").await.expect(200);
    assert_eq!(events["data"].as_array().unwrap().len(), 2);

    for change in [
        json!({ "validate": false }),
        json!({ "validate": true, "schema": {} }),
    ] {
        world.root().patch(PATH, change).await.expect(200);
        publish(event("order.completed", bad.clone())).await.expect(202);
    }
    world
        .root()
        .patch(PATH, json!({ "schema": schema }))
        .await
        .expect(200);
    publish(event("order.completed", bad.clone())).await.expect(422);
    let world = world.restart().await;
    let publish = async |body: Value| world.root().post("/v1/events", body).await;
    publish(event("order.completed", bad.clone())).await.expect(422);
    // What is archived is as if it had never been registered.
    world.root().delete(PATH).await;
    publish(event("order.completed", bad)).await.expect(202);
}

#[tokio::test]
async fn a_schema_holds_in_its_own_project_only() {
    let world = World::start().await;
    world.project("other").await;
    world.tenant("default", "acme").await;
    world.tenant("other", "umbrella").await;
    let body = json!({ "name": "order.completed", "description": "", "schema": { "type": "null" }, "validate": true });
    world.root().post("/v1/event-types", body).await.expect(201);
    let event = |tenant: &str| json!({ "tenant": tenant, "type": "order.completed", "payload": 1 });
    world.root().post("/v1/events", event("acme")).await.expect(422);
    let elsewhere = world
        .root()
        .post("/v1/events?project=other", event("umbrella"))
        .await;
    elsewhere.expect(202);
}

#[tokio::test]
async fn tenant_keys_read_the_types_of_their_project_and_change_none() {
    let world = World::start().await;
    world.project("other").await;
    world.tenant("default", "acme").await;
    world.tenant("other", "umbrella").await;
    let body = json!({ "name": "order.completed", "description": "" });
    world.root().post("/v1/event-types", body.clone()).await;
    let own = json!({ "role": "tenant", "tenant": "acme" });
    let own = world.key(own).await.text("key");
    let foreign = json!({ "role": "tenant", "tenant": "umbrella", "project": "other" });
    let foreign = world.key(foreign).await.text("key");
    let reader = json!({ "role": "project", "read_only": true });
    let reader = world.key(reader).await.text("key");

    for key in [&own, &reader] {
        let asker = world.with(key);
        assert_eq!(
            asker.get("/v1/event-types").await.each("name"),
            ["order.completed"]
        );
        assert_eq!(asker.get(PATH).await.status, 200);
        for refused in [
            asker.post("/v1/event-types", body.clone()).await,
            asker.patch(PATH, json!({ "description": "x" })).await,
            asker.delete(PATH).await,
        ] {
            assert_eq!(refused.verdict(), (403, "forbidden"));
        }
    }
    let foreign = world.with(&foreign);
    assert!(foreign.get("/v1/event-types").await.each("name").is_empty());
    assert_eq!(foreign.get(PATH).await.verdict(), (404, "not_found"));
    let named = foreign.get("/v1/event-types?project=default").await;
    assert_eq!(named.verdict(), (404, "not_found"));
}

#[tokio::test]
async fn a_repeated_creation_answers_as_the_first() {
    let world = World::start().await;
    let asker = world.root().and("idempotency-key", "once");
    let body = json!({ "name": "order.completed", "description": "" });
    let first = asker.post("/v1/event-types", body.clone()).await;
    let again = asker.post("/v1/event-types", body).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let other = json!({ "name": "order.failed", "description": "" });
    let other = asker.post("/v1/event-types", other).await;
    assert_eq!(other.verdict(), (409, "idempotency_key_reused"));
}
