//! `/v1/endpoints/{id}/stats` and `/v1/tenants/{id}/stats`, as their callers see them.

use crate::world::World;
use serde_json::{Value, json};
use std::time::Duration;
use stentor_domain::attempt::{ErrorClass, Exchange, Outcome, Timing};
use stentor_domain::judge::Effect;
use stentor_store::hot::Next;

const HOUR: Duration = Duration::from_secs(3_600);

/// A tenant's key, its id, and the id of its one endpoint, which wants everything.
async fn tenant_with_endpoint(world: &World, uid: &str) -> (String, String, String) {
    let key = world.tenant_key(uid).await;
    let body = json!({"name": "orders", "url": "https://example.com/hook"});
    let endpoint = world.with(&key).post("/v1/endpoints", body).await;
    endpoint.expect(201);
    let tenant = world.root().get(&format!("/v1/tenants/{uid}")).await.text("id");
    (key, tenant, endpoint.text("id"))
}

/// Publishes an event whose one attempt comes out like this.
async fn publish(world: &mut World, tenant: &str, outcome: Outcome, millis: u32) {
    let body = json!({"tenant": tenant, "type": "order.paid", "payload": 1});
    world.root().post("/v1/events", body).await.expect(202);
    let claimed = world.handed_over().await;
    let exchange = Exchange {
        timing: Timing {
            total_micros: millis * 1_000,
            ..Timing::default()
        },
        ..Exchange::default()
    };
    let now = world.store.clock().now();
    let next = match outcome.error_class() {
        None => Next::Delivered,
        Some(_) => Next::Retry {
            due_at: now.plus(HOUR),
            failed: 1,
            first_at: Some(now),
        },
    };
    world
        .record(&claimed, outcome, exchange, next, Effect::None)
        .await;
}

fn counts(of: &Value) -> Value {
    json!([of["deliveries"], of["attempts"], of["latency_ms"]])
}

#[tokio::test]
async fn statistics_tell_what_became_of_what_was_accepted_hour_by_hour() {
    let mut world = World::start().await;
    let (key, tenant, endpoint) = tenant_with_endpoint(&world, "acme").await;
    publish(&mut world, "acme", Outcome::Answered(200), 100).await;
    publish(&mut world, "acme", Outcome::Answered(500), 2).await;
    world.clock.step(HOUR);
    publish(&mut world, "acme", Outcome::Failed(ErrorClass::Timeout), 10_000).await;

    let path = format!("/v1/endpoints/{endpoint}/stats");
    let span = "since=2024-01-01T00:10:00Z&until=2024-01-01T03:00:00Z";
    let stats = world.with(&key).get(&format!("{path}?{span}")).await.expect(200);
    assert_eq!(
        (&stats["since"], &stats["until"], &stats["bucket"]),
        (
            &json!("2024-01-01T00:00:00.000Z"),
            &json!("2024-01-01T03:00:00.000Z"),
            &json!("hour")
        )
    );
    let buckets = stats["buckets"].as_array().unwrap();
    let starts: Vec<&Value> = buckets.iter().map(|bucket| &bucket["start"]).collect();
    assert_eq!(
        starts,
        [
            "2024-01-01T00:00:00.000Z",
            "2024-01-01T01:00:00.000Z",
            "2024-01-01T02:00:00.000Z"
        ]
    );
    let none = json!({"total": 0, "pending": 0, "held": 0, "delivered": 0, "exhausted": 0, "cancelled": 0});
    let with = |changes: Value| {
        let mut all = none.clone();
        let fields = all.as_object_mut().unwrap();
        fields.extend(changes.as_object().unwrap().clone());
        all
    };
    assert_eq!(
        counts(&buckets[0]),
        json!([
            with(json!({"total": 2, "pending": 1, "delivered": 1})),
            {"total": 2, "succeeded": 1, "failed": 1, "errors": {"http_status": 1}},
            {"p50": 1.984, "p95": 102.4, "p99": 102.4},
        ])
    );
    assert_eq!(
        counts(&buckets[2]),
        json!([
            none,
            {"total": 0, "succeeded": 0, "failed": 0, "errors": {}},
            {"p50": null, "p95": null, "p99": null},
        ])
    );
    assert_eq!(
        counts(&stats["totals"]),
        json!([
            with(json!({"total": 3, "pending": 2, "delivered": 1})),
            {"total": 3, "succeeded": 1, "failed": 2, "errors": {"http_status": 1, "timeout": 1}},
            {"p50": 102.4, "p95": 9961.472, "p99": 9961.472},
        ])
    );

    let by_day = world
        .with(&key)
        .get(&format!("{path}?bucket=day"))
        .await
        .expect(200);
    assert_eq!(
        (&by_day["since"], &by_day["until"]),
        (
            &json!("2023-12-31T00:00:00.000Z"),
            &json!("2024-01-02T00:00:00.000Z")
        ),
        "a day before now"
    );
    assert_eq!(by_day["totals"], stats["totals"]);
    let of_tenant = world
        .with(&key)
        .get(&format!("/v1/tenants/{tenant}/stats?{span}"))
        .await;
    assert_eq!(of_tenant.expect(200), stats, "its one endpoint");
    let by_uid = world.root().get(&format!("/v1/tenants/acme/stats?{span}")).await;
    assert_eq!(by_uid.expect(200), stats);
}

#[tokio::test]
async fn a_tenant_sees_its_own_statistics_only() {
    let world = World::start().await;
    let (_, tenant, endpoint) = tenant_with_endpoint(&world, "acme").await;
    let (other, ..) = tenant_with_endpoint(&world, "other").await;
    for path in [
        format!("/v1/endpoints/{endpoint}/stats"),
        format!("/v1/tenants/{tenant}/stats"),
    ] {
        assert_eq!(
            world.with(&other).get(&path).await.verdict(),
            (404, "not_found"),
            "{path}"
        );
        assert_eq!(world.with("").get(&path).await.status, 401);
    }
    let named = world.root().and("x-tenant", "other");
    let path = format!("/v1/tenants/{tenant}/stats");
    assert_eq!(named.get(&path).await.verdict(), (404, "not_found"));
}

#[tokio::test]
async fn a_bad_question_names_its_fields() {
    let world = World::start().await;
    let (key, _, endpoint) = tenant_with_endpoint(&world, "acme").await;
    for (query, fields) in [
        (
            "since=yesterday&until=7&bucket=minute",
            vec!["since", "until", "bucket"],
        ),
        (
            "since=2024-01-02T00:00:00Z&until=2024-01-01T00:00:00Z",
            vec!["until"],
        ),
        ("since=2024-01-02T00:00:00Z", vec!["since"]),
        ("since=2020-01-02T00:00:00Z", vec!["since"]),
        ("bucket=day&since=2020-01-02T00:00:00Z", vec!["since"]),
        ("bucket=day&bucket=hour", vec!["bucket"]),
    ] {
        let path = format!("/v1/endpoints/{endpoint}/stats?{query}");
        let refused = world.with(&key).get(&path).await;
        assert_eq!(refused.status, 422, "{query}: {}", refused.raw);
        assert_eq!(refused.faults(), fields, "{query}");
    }
}
