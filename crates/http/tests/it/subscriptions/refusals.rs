//! How the contract says no.

use super::{PATH, URL, made_at, places};
use crate::world::{Answer, World};
use axum::body::Body;
use http::Method;
use serde_json::{Value, json};
use stentor_engine::Settings;

/// Fails unless the answer is one sentence.
fn one_sentence(answer: &Answer, status: u16) {
    let document = answer.expect(status);
    assert_eq!(document.as_object().unwrap().len(), 1);
    assert!(!document["message"].as_str().unwrap().is_empty());
    assert_eq!(answer.headers["content-type"], "application/json");
}

#[tokio::test]
async fn each_field_at_fault_is_named_with_a_word_for_programs() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    let path = made_at(&asker).await;
    for (operation, body, place, kind) in [
        ("POST", json!({}), json!(["body", "url"]), "missing"),
        (
            "POST",
            json!({"url": null}),
            json!(["body", "url"]),
            "string_type",
        ),
        ("POST", json!({"url": 7}), json!(["body", "url"]), "string_type"),
        (
            "POST",
            json!({"url": "http://example.com"}),
            json!(["body", "url"]),
            "value_error",
        ),
        (
            "POST",
            json!({"url": "https://10.0.0.1/"}),
            json!(["body", "url"]),
            "value_error",
        ),
        (
            "POST",
            json!({"url": URL, "description": []}),
            json!(["body", "description"]),
            "string_type",
        ),
        (
            "POST",
            json!({"url": URL, "description": "\u{0}"}),
            json!(["body", "description"]),
            "value_error",
        ),
        (
            "POST",
            json!([{"url": URL}]),
            json!(["body"]),
            "model_attributes_type",
        ),
        ("POST", json!("text"), json!(["body"]), "model_attributes_type"),
        ("PATCH", json!([]), json!(["body"]), "model_attributes_type"),
        ("PATCH", json!({"url": {}}), json!(["body", "url"]), "string_type"),
        (
            "PATCH",
            json!({"enabled": "true"}),
            json!(["body", "enabled"]),
            "bool_type",
        ),
        (
            "PATCH",
            json!({"enabled": 1}),
            json!(["body", "enabled"]),
            "bool_type",
        ),
        (
            "PATCH",
            json!({"events": {}}),
            json!(["body", "events"]),
            "list_type",
        ),
        (
            "PATCH",
            json!({"events": [null]}),
            json!(["body", "events", 0]),
            "string_type",
        ),
    ] {
        let target = if operation == "POST" { PATH } else { &path };
        let answer = asker.call(&format!("{operation} {target}"), body.clone()).await;
        assert_eq!(places(&answer), json!([place]), "{operation} {body}");
        let fault = answer.body["detail"][0].as_object().unwrap();
        assert_eq!(fault["type"], json!(kind), "{operation} {body}");
        assert!(fault["msg"].is_string() && fault.len() == 3);
        assert_eq!(answer.body.as_object().unwrap().len(), 1);
        assert_eq!(answer.headers["content-type"], "application/json");
    }
}

#[tokio::test]
async fn a_header_at_fault_is_named_as_one() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    for (name, value) in [
        ("Idempotency-Key", ""),
        ("Idempotency-Key", &*"k".repeat(257)),
        ("X-Tenant", "ü"),
    ] {
        let answer = world
            .with(&key)
            .and(name, value)
            .post(PATH, json!({"url": URL}))
            .await;
        assert_eq!(places(&answer), json!([["header", name]]));
    }
}

#[tokio::test]
async fn what_is_no_json_is_400() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    let path = made_at(&asker).await;
    for (method, path) in [(Method::POST, PATH), (Method::PATCH, &path)] {
        for text in ["{", "nonsense", "{\"url\": NaN}", "\u{feff}{}", "[", "{} x"] {
            let answer = asker.ask(method.clone(), path, Body::from(text)).await;
            one_sentence(&answer, 400);
        }
        one_sentence(
            &asker
                .ask(method.clone(), path, Body::from(&b"{\"url\": \"\xff\"}"[..]))
                .await,
            400,
        );
        let large = json!({"description": "x".repeat(300 * 1024)}).to_string();
        one_sentence(&asker.ask(method.clone(), path, Body::from(large)).await, 413);
        let encoded = world.with(&key).and("content-encoding", "gzip");
        one_sentence(&encoded.ask(method.clone(), path, Body::from("{}")).await, 415);
    }
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_told_in_the_contracts_words() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    for path in ["/1/test", "/1/2", "/types/1", "/1//x"] {
        one_sentence(&asker.get(&format!("{PATH}{path}")).await, 404);
    }
    for (path, method, allow) in [
        ("", Method::PUT, "GET,HEAD,POST"),
        ("/", Method::DELETE, "GET,HEAD,POST"),
        ("/1", Method::POST, "GET,HEAD,PATCH,DELETE"),
        ("/1/", Method::PUT, "GET,HEAD,PATCH,DELETE"),
        ("/types/", Method::POST, "GET,HEAD"),
    ] {
        let answer = asker.ask(method, &format!("{PATH}{path}"), Body::empty()).await;
        one_sentence(&answer, 405);
        let sorted = |text: &str| {
            let mut methods: Vec<_> = text.split(',').map(str::to_owned).collect();
            methods.sort();
            methods
        };
        assert_eq!(sorted(answer.headers["allow"].to_str().unwrap()), sorted(allow));
    }
    // A path that only begins alike is nobody's.
    let stranger = asker.get("/api/v1/webhooks2").await;
    assert_eq!(stranger.verdict(), (404, "not_found"));
}

#[tokio::test]
async fn head_answers_as_get_without_a_body() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    made_at(&asker).await;
    for (path, status) in [
        ("", 200),
        ("/", 200),
        ("/types", 200),
        ("/1", 200),
        ("/2", 404),
        ("/x", 422),
    ] {
        let answer = asker.call(&format!("HEAD {PATH}{path}"), Value::Null).await;
        assert_eq!((answer.status, answer.raw.as_str()), (status, ""), "{path}");
        assert_eq!(answer.headers["content-type"], "application/json");
    }
}

#[tokio::test]
async fn the_tenants_limit_counts_all_endpoints() {
    let settings = Settings {
        endpoints_per_tenant_max: 2,
        ..Settings::default()
    };
    let world = World::start_with(settings).await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    let elsewhere = json!({"name": "n", "url": URL});
    asker.post("/v1/endpoints", elsewhere).await.expect(201);
    made_at(&asker).await;
    one_sentence(&asker.post(PATH, json!({"url": URL})).await, 409);
    asker.delete(&format!("{PATH}/1")).await.expect(204);
    assert_eq!(made_at(&asker).await, format!("{PATH}/3"));
}
