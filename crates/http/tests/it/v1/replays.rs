//! `/v1/replays`, as its callers see it.

use crate::world::World;
use serde_json::{Value, json};
use std::time::Duration;

/// A tenant's key, its one endpoint, and three deliveries of it that were cancelled, a minute apart; from the third on a minute has
/// passed, too.
async fn tenant_with_deliveries(world: &World, uid: &str) -> (String, String) {
    let key = world.tenant_key(uid).await;
    let body = json!({"name": "orders", "url": "https://example.com/hook"});
    let endpoint = world.with(&key).post("/v1/endpoints", body).await.text("id");
    pause(world, &key, &endpoint, "PAUSED").await;
    for event_type in ["order.paid", "order.paid", "user.made"] {
        let body = json!({"tenant": uid, "type": event_type, "payload": 1});
        world.root().post("/v1/events", body).await.expect(202);
        world.clock.step(Duration::from_secs(60));
    }
    let waiting = world.with(&key).get("/v1/deliveries?status=held").await;
    for id in waiting.each("id") {
        let cancel = format!("/v1/deliveries/{id}/cancel");
        world.with(&key).post(&cancel, json!({})).await.expect(200);
    }
    (key, endpoint)
}

async fn pause(world: &World, key: &str, endpoint: &str, status: &str) {
    let path = format!("/v1/endpoints/{endpoint}");
    let changed = world.with(key).patch(&path, json!({ "status": status })).await;
    changed.expect(200);
}

fn since_ever(endpoint: &str) -> Value {
    json!({"endpoint": endpoint, "since": "2020-01-01T00:00:00Z"})
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

async fn until_idle(world: &World) {
    while world.engine.tick_jobs().await.unwrap() > 0 {}
}

#[tokio::test]
async fn a_replay_is_asked_for_watched_and_done() {
    let world = World::start().await;
    let (key, endpoint) = tenant_with_deliveries(&world, "acme").await;
    let body = with(since_ever(&endpoint), "type", json!("order.paid"));
    let asked = world.with(&key).post("/v1/replays", body).await.expect(202);
    let tenant = world.root().get("/v1/tenants/acme").await.text("id");
    assert!(asked["id"].as_str().unwrap().starts_with("rpl_"));
    assert_eq!(
        asked,
        json!({
            "id": asked["id"],
            "endpoint": endpoint,
            "tenant": tenant,
            "status": "queued",
            "reason": "endpoint_paused",
            "filter": {
                "since": "2020-01-01T00:00:00.000Z",
                "until": "2024-01-01T00:03:00.000Z",
                "status": null,
                "type": "order.paid",
                "missing": false,
            },
            "progress": {"total": null, "considered": 0, "replayed": 0, "skipped": 0},
            "created_at": "2024-01-01T00:03:00.000Z",
            "finished_at": null,
        })
    );
    until_idle(&world).await;
    let path = format!("/v1/replays/{}", asked["id"].as_str().unwrap());
    let done = world.with(&key).get(&path).await.expect(200);
    assert_eq!(
        (&done["status"], &done["reason"], &done["finished_at"]),
        (&json!("done"), &Value::Null, &json!("2024-01-01T00:03:00.000Z"))
    );
    assert_eq!(
        done["progress"],
        json!({"total": 3, "considered": 3, "replayed": 2, "skipped": 0})
    );
    let held = world.with(&key).get("/v1/deliveries?status=held").await;
    assert_eq!(held.each("trigger"), ["replay", "replay"]);
    assert_eq!(held.each("event_type"), ["order.paid", "order.paid"]);

    let log = world.root().get("/v1/audit").await;
    let row = &log.body["data"][0];
    assert_eq!(
        (&row["action"], &row["object"]),
        (&json!("replay.created"), &asked["id"])
    );
    assert_eq!(row["detail"], format!("for {endpoint}"));
}

#[tokio::test]
async fn a_dry_run_counts_and_changes_nothing() {
    let world = World::start().await;
    let (key, endpoint) = tenant_with_deliveries(&world, "acme").await;
    let all = with(since_ever(&endpoint), "dry_run", json!(true));
    for (field, value, expected) in [
        ("missing", json!(false), 3),
        ("missing", json!(true), 0),
        ("status", json!("cancelled"), 3),
        ("status", json!("delivered"), 0),
        ("type", json!("order.paid"), 2),
        ("until", json!("2024-01-01T00:02:00Z"), 2),
        ("since", json!("2024-01-01T00:01:00Z"), 2),
        ("until", json!("2099-01-01T00:00:00Z"), 3),
    ] {
        let body = with(all.clone(), field, value.clone());
        let counted = world.with(&key).post("/v1/replays", body).await.expect(200);
        assert_eq!(counted, json!({ "count": expected }), "{field}: {value}");
    }
    until_idle(&world).await;
    let replays = world.with(&key).get("/v1/replays").await.expect(200);
    assert_eq!(replays, json!({"data": [], "next_cursor": null}));
    let held = world.with(&key).get("/v1/deliveries?status=held").await;
    assert_eq!(held.each("id"), [""; 0]);
}

#[tokio::test]
async fn the_same_request_again_gets_the_first_answer() {
    let world = World::start().await;
    let (key, endpoint) = tenant_with_deliveries(&world, "acme").await;
    let asker = world.with(&key).and("idempotency-key", "k1");
    let first = asker.post("/v1/replays", since_ever(&endpoint)).await;
    first.expect(202);
    let again = asker.post("/v1/replays", since_ever(&endpoint)).await;
    assert_eq!((again.status, &again.raw), (202, &first.raw));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let other = with(since_ever(&endpoint), "dry_run", json!(true));
    assert_eq!(
        asker.post("/v1/replays", other.clone()).await.verdict(),
        (409, "idempotency_key_reused")
    );
    assert_eq!(world.with(&key).get("/v1/replays").await.each("id").len(), 1);

    let counting = world.with(&key).and("idempotency-key", "k2");
    let counted = counting.post("/v1/replays", other.clone()).await;
    counted.expect(200);
    until_idle(&world).await;
    assert_eq!(
        counting.post("/v1/replays", other.clone()).await.raw,
        counted.raw,
        "though they wait by now"
    );
    assert_eq!(world.with(&key).post("/v1/replays", other).await.body["count"], 0);

    let cancelling = world.with(&key).and("idempotency-key", "k3");
    let second = world.with(&key).post("/v1/replays", since_ever(&endpoint)).await;
    let cancel = format!("/v1/replays/{}/cancel", second.text("id"));
    let cancelled = cancelling.post(&cancel, json!({})).await;
    cancelled.expect(200);
    let again = cancelling.post(&cancel, json!({})).await;
    assert_eq!((again.status, &again.raw), (200, &cancelled.raw));
}

#[tokio::test]
async fn replays_are_listed_in_pages_newest_first() {
    let world = World::start().await;
    let (key, endpoint) = tenant_with_deliveries(&world, "acme").await;
    let (_, elsewhere) = tenant_with_deliveries(&world, "other").await;
    let mut asked = Vec::new();
    for _ in 0..3 {
        let made = world.with(&key).post("/v1/replays", since_ever(&endpoint)).await;
        asked.insert(0, made.text("id"));
    }
    let of_another = world.root().post("/v1/replays", since_ever(&elsewhere)).await;
    let first = world.with(&key).get("/v1/replays?limit=2").await;
    assert_eq!(first.each("id"), asked[..2]);
    let next = format!("/v1/replays?limit=2&cursor={}", first.text("next_cursor"));
    let last = world.with(&key).get(&next).await;
    assert_eq!(last.each("id"), asked[2..]);
    assert!(last.body["next_cursor"].is_null());
    asked.insert(0, of_another.text("id"));
    assert_eq!(world.root().get("/v1/replays").await.each("id"), asked);
    let named = world.root().get("/v1/replays?tenant=other").await;
    assert_eq!(named.each("id"), asked[..1]);
    assert_eq!(
        world.with(&key).get("/v1/replays?limit=0").await.faults(),
        ["limit"]
    );
    let foreign = format!("/v1/replays?tenant=other&cursor={}", first.text("next_cursor"));
    assert_eq!(world.root().get(&foreign).await.verdict(), (400, "bad_cursor"));
}

#[tokio::test]
async fn a_cancelled_replay_has_ended_and_brings_nothing() {
    let world = World::start().await;
    let (key, endpoint) = tenant_with_deliveries(&world, "acme").await;
    let running = world.with(&key).post("/v1/replays", since_ever(&endpoint)).await;
    // It starts; what it looks at is replayed by the next slice.
    world.engine.tick_jobs().await.unwrap();
    let cancel = format!("/v1/replays/{}/cancel", running.text("id"));
    let cancelled = world.with(&key).post(&cancel, json!({})).await.expect(200);
    assert_eq!(
        (&cancelled["status"], &cancelled["reason"]),
        (&json!("cancelled"), &json!("requested"))
    );
    assert!(cancelled["finished_at"].is_string());
    assert_eq!(
        world.with(&key).post(&cancel, json!({})).await.verdict(),
        (409, "replay_finished")
    );
    until_idle(&world).await;
    let held = world.with(&key).get("/v1/deliveries?status=held").await;
    assert_eq!(held.each("id"), [""; 0]);
    assert_eq!(
        world.root().get("/v1/audit").await.each("action")[0],
        "replay.cancelled"
    );
}

#[tokio::test]
async fn a_disabled_endpoint_and_a_deleted_one_are_refused() {
    let world = World::start().await;
    let (key, endpoint) = tenant_with_deliveries(&world, "acme").await;
    let dry = with(since_ever(&endpoint), "dry_run", json!(true));
    world
        .database
        .execute("UPDATE endpoints SET status = 'disabled', disabled_reason = 'gone', paused_at = NULL, config_version = 1000; UPDATE tenants SET config_version = 1000; UPDATE config_clock SET seq = 1000");
    let world = world.restart().await;
    for body in [since_ever(&endpoint), dry.clone()] {
        let refused = world.with(&key).post("/v1/replays", body).await;
        assert_eq!(refused.verdict(), (409, "endpoint_disabled"));
    }
    let path = format!("/v1/endpoints/{endpoint}");
    assert_eq!(world.with(&key).delete(&path).await.status, 204);
    for body in [since_ever(&endpoint), dry] {
        let refused = world.with(&key).post("/v1/replays", body).await;
        assert_eq!(refused.verdict(), (404, "not_found"));
    }
}

#[tokio::test]
async fn what_is_another_tenants_does_not_exist_and_a_reader_changes_nothing() {
    let world = World::start().await;
    let (key, endpoint) = tenant_with_deliveries(&world, "acme").await;
    let (other, _) = tenant_with_deliveries(&world, "other").await;
    let reader = world
        .key(json!({"role": "tenant", "tenant": "acme", "read_only": true}))
        .await
        .text("key");
    let asked = world.with(&key).post("/v1/replays", since_ever(&endpoint)).await;
    let path = format!("/v1/replays/{}", asked.text("id"));
    let dry = with(since_ever(&endpoint), "dry_run", json!(true));
    for (call, body, of_reader) in [
        ("POST /v1/replays".to_owned(), since_ever(&endpoint), 403),
        ("POST /v1/replays".to_owned(), dry, 403),
        (format!("POST {path}/cancel"), json!({}), 403),
        (format!("GET {path}"), Value::Null, 200),
    ] {
        let foreign = world.with(&other).call(&call, body.clone()).await;
        assert_eq!(foreign.verdict(), (404, "not_found"), "{call}");
        assert_eq!(
            world.with(&reader).call(&call, body).await.status,
            of_reader,
            "{call}"
        );
    }
    assert_eq!(world.with(&other).get("/v1/replays").await.each("id"), [""; 0]);
    for unknown in ["rpl_x", "dlv_018cc251-f400-7100-8000-000000000000"] {
        world
            .root()
            .get(&format!("/v1/replays/{unknown}"))
            .await
            .refusal(404);
    }
}

#[tokio::test]
async fn every_bad_field_is_named_at_once() {
    let world = World::start().await;
    let (key, endpoint) = tenant_with_deliveries(&world, "acme").await;
    let bad = json!({
        "endpoint": endpoint, "since": "2024-01-01T00:00:02Z", "until": "2024-01-01T00:00:01Z", "status": "pending",
        "type": "a..b",
    });
    for dry_run in [false, true] {
        let body = with(bad.clone(), "dry_run", json!(dry_run));
        let refused = world.with(&key).post("/v1/replays", body).await;
        assert_eq!(refused.refusal(422).1, ["since", "status", "type"]);
    }
    for (field, value) in [
        ("since", json!("yesterday")),
        ("since", json!("2099-01-01T00:00:00Z")),
        ("until", json!(7)),
        ("missing", json!("yes")),
        ("endpoint", json!(null)),
    ] {
        let body = with(since_ever(&endpoint), field, value);
        let refused = world.with(&key).post("/v1/replays", body).await;
        assert_eq!(refused.refusal(422).1, [field], "{}", refused.raw);
    }
    let without = world
        .with(&key)
        .post("/v1/replays", json!({ "endpoint": endpoint }))
        .await;
    assert_eq!(without.faults(), ["since"]);
}
