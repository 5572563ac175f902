//! Filters as they are set and shown, and the dry run that tells whether and why an event goes to an endpoint.

use super::{call, made, path, plain_with, send, send_text};
use crate::world::World;
use serde_json::{Value, json};

fn match_path(endpoint: &Value) -> String {
    format!("{}/match", path("POST", endpoint))
}

/// Whether an event would go to the endpoint, and why.
async fn told(world: &World, key: &str, endpoint: &Value, event: Value) -> (bool, String) {
    let answer = call(world, key, &match_path(endpoint), event).await.expect(200);
    let reason = answer["reason"].as_str().unwrap().to_owned();
    (answer["matches"].as_bool().unwrap(), reason)
}

#[tokio::test]
async fn a_filter_comes_back_as_it_was_sent_and_null_clears_it() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let body = r#"{"name": "a", "url": "https://example.com/", "filter": { "id" : 9007199254740993, "a":{"$gt" :1.0} }}"#;
    let answer = send_text(&world, &key, "POST /v1/endpoints", &[], body.into()).await;
    let endpoint = answer.expect(201);
    // To the last digit and space.
    assert!(
        answer
            .raw
            .contains(r#""filter":{ "id" : 9007199254740993, "a":{"$gt" :1.0} }"#)
    );
    let same = call(&world, &key, &path("PATCH", &endpoint), json!({"name": "b"})).await;
    assert_eq!(same.expect(200)["filter"]["id"], 9_007_199_254_740_993_i64);
    let cleared = call(&world, &key, &path("PATCH", &endpoint), json!({"filter": null})).await;
    assert_eq!(cleared.expect(200)["filter"], Value::Null);
    let bad = json!({"filter": {"a.b": {"$gte": {}}}});
    let refused = call(&world, &key, &path("PATCH", &endpoint), bad).await;
    let (_, fields) = refused.refusal(422);
    assert_eq!(fields, ["filter.a.b.$gte"]);
}

#[tokio::test]
async fn the_first_thing_that_does_not_fit_is_told() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let fields = json!({
        "events": ["order.*", "invoice.paid"],
        "channels": ["eu", "us"],
        "filter": {"data.total": {"$gte": 100}},
    });
    let endpoint = made(&world, &key, plain_with(fields)).await;
    let event = |event_type: &str, channels: &[&str], total: Value| {
        let payload = json!({"data": {"total": total}});
        json!({"type": event_type, "channels": channels, "payload": payload})
    };
    for (event, matches, reason) in [
        (
            event("order.paid", &["us"], json!(100)),
            true,
            "The event would go to the endpoint.",
        ),
        (
            event("user.made", &[], json!(1)),
            false,
            "The endpoint wants events of the types order.*, invoice.paid, but not of the type user.made.",
        ),
        (
            event("order.paid", &[], json!(1)),
            false,
            "The endpoint wants events of the channels eu, us; this one has none.",
        ),
        (
            event("order.paid", &["asia"], json!(1)),
            false,
            "The endpoint wants events of the channels eu, us; this one has asia.",
        ),
        (
            event("order.paid", &["eu"], json!("100")),
            false,
            "The endpoint's filter does not hold: data.total is \"100\", but $gte asks for 100.",
        ),
    ] {
        assert_eq!(
            told(&world, &key, &endpoint, event).await,
            (matches, reason.to_owned())
        );
    }
    call(
        &world,
        &key,
        &path("PATCH", &endpoint),
        json!({"status": "PAUSED"}),
    )
    .await;
    let held = "The event would go to the endpoint, and be held, since it is paused.";
    let event = event("invoice.paid", &["eu"], json!(200));
    assert_eq!(
        told(&world, &key, &endpoint, event).await,
        (true, held.to_owned())
    );
}

#[tokio::test]
async fn no_answer_quotes_more_than_a_little_of_a_payload() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain_with(json!({"filter": {"a": 1}}))).await;
    let event = json!({"type": "a", "payload": {"a": "x".repeat(100_000)}});
    let (matches, reason) = told(&world, &key, &endpoint, event).await;
    assert!(
        !matches && reason.contains("xxx...") && reason.len() < 200,
        "{reason}"
    );
}

#[tokio::test]
async fn a_dry_run_is_open_to_who_reads_and_publishes_nothing() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain_with(json!({}))).await;
    let event = json!({"type": "a", "payload": 1});
    assert!(told(&world, &key, &endpoint, event.clone()).await.0);
    let reader = json!({"role": "tenant", "tenant": "acme", "read_only": true});
    let reader = world.key(reader).await.text("key");
    assert!(told(&world, &reader, &endpoint, event.clone()).await.0);
    let stranger = world.tenant_key("globex").await;
    let refused = call(&world, &stranger, &match_path(&endpoint), event).await;
    refused.expect(404);
    let events = call(&world, &key, "GET /v1/events", Value::Null)
        .await
        .expect(200);
    assert_eq!(events["data"], json!([]));
}

#[tokio::test]
async fn what_is_no_event_is_refused() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain_with(json!({}))).await;
    for (body, field) in [
        (json!({"payload": 1}), "type"),
        (json!({"type": "a"}), "payload"),
        (json!({"type": "a b", "payload": 1}), "type"),
        (
            json!({"type": "a", "payload": 1, "channels": ["a b"]}),
            "channels.0",
        ),
        (json!({"type": "a", "payload": 1, "channels": "eu"}), "channels"),
    ] {
        let refused = call(&world, &key, &match_path(&endpoint), body.clone()).await;
        assert_eq!(refused.refusal(422).1, [field], "{body}");
    }
    let large = json!({"type": "a", "payload": "x".repeat(256 * 1024 - 1)});
    call(&world, &key, &match_path(&endpoint), large)
        .await
        .expect(413);
}

#[tokio::test]
async fn the_same_question_under_one_key_is_answered_as_the_first_time() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain_with(json!({}))).await;
    let event = json!({"type": "a", "payload": 1});
    let (once, ask) = ([("idempotency-key", "k")], match_path(&endpoint));
    let first = send(&world, &key, &ask, &once, event.clone()).await;
    call(
        &world,
        &key,
        &path("PATCH", &endpoint),
        json!({"filter": {"a": 1}}),
    )
    .await;
    let again = send(&world, &key, &ask, &once, event.clone()).await;
    assert_eq!(again.expect(200), first.expect(200));
    assert!(!told(&world, &key, &endpoint, event).await.0);
    let other = send(&world, &key, &ask, &once, json!({"type": "b", "payload": 1})).await;
    assert_eq!(other.refusal(409).0, "idempotency_key_reused");
}
