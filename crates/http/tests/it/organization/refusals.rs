//! How the contract says no, and to whom.

use super::{made, published, published_with, world};
use crate::world::{Answer, World};
use axum::body::Body;
use http::Method;
use serde_json::{Value, json};

/// Fails unless the answer is a refusal in this contract's words; gives its code.
fn refused(answer: &Answer, status: u16, error: &str) -> String {
    assert_eq!(answer.status, status, "{}", answer.raw);
    assert_eq!(answer.headers["content-type"], "application/json");
    let names: Vec<&String> = answer.body.as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 4, "{}", answer.raw);
    let begin = format!("{{\"statusCode\":{status},\"message\":");
    assert!(answer.raw.starts_with(&begin), "{}", answer.raw);
    let end = format!(",\"error\":\"{error}\",\"code\":\"{}\"}}", answer.text("code"));
    assert!(answer.raw.ends_with(&end), "{}", answer.raw);
    answer.text("code")
}

/// Every operation, for the endpoint with this path.
fn operations(path: &str) -> [(String, Value); 5] {
    [
        ("POST /webhooks".to_owned(), published()),
        ("GET /webhooks".to_owned(), Value::Null),
        (format!("PUT {path}"), json!({"events": ["*"]})),
        (format!("DELETE {path}"), Value::Null),
        (format!("POST {path}/test"), Value::Null),
    ]
}

#[tokio::test]
async fn without_a_key_nothing_is_answered() {
    let (world, key) = world().await;
    let path = made(&world.with(&key), published()).await;
    for (operation, body) in operations(&path) {
        let (none, _) = (vec![], ());
        let bearer = vec![("authorization", "Bearer stn_ten_unknown")];
        let two = vec![("x-api-key", key.as_str()), ("authorization", "Bearer other")];
        for headers in [none, bearer, two] {
            let answer = world.with_headers(headers).call(&operation, body.clone()).await;
            match answer.status {
                429 => assert_eq!(
                    refused(&answer, 429, "Too Many Requests"),
                    "too_many_failed_authentications"
                ),
                _ => assert_eq!(refused(&answer, 401, "Unauthorized"), "unauthenticated"),
            }
        }
    }
}

#[tokio::test]
async fn a_revoked_key_is_unknown_and_a_read_only_one_looks_on() {
    let (world, key) = world().await;
    let path = made(&world.with(&key), published()).await;
    let read_only = json!({"role": "tenant", "tenant": "acme", "read_only": true});
    let read_only = world.key(read_only).await.text("key");
    for (operation, body) in operations(&path) {
        let answer = world.with(&read_only).call(&operation, body).await;
        match operation.as_str() {
            "GET /webhooks" => drop(answer.expect(200)),
            _ => assert_eq!(refused(&answer, 403, "Forbidden"), "forbidden"),
        }
    }
    let revoked = world.key(json!({"role": "tenant", "tenant": "acme"})).await;
    world
        .root()
        .delete(&format!("/v1/keys/{}", revoked.text("id")))
        .await
        .expect(204);
    let answer = world.with(&revoked.text("key")).get("/webhooks").await;
    assert_eq!(refused(&answer, 401, "Unauthorized"), "unauthenticated");
}

#[tokio::test]
async fn what_is_another_tenants_does_not_exist() {
    let (world, key) = world().await;
    let path = made(&world.with(&key), published()).await;
    let other = world.tenant_key("other").await;
    for (operation, body) in operations(&path).into_iter().skip(2) {
        let answer = world.with(&other).call(&operation, body).await;
        assert_eq!(refused(&answer, 404, "Not Found"), "not_found", "{operation}");
    }
    assert_eq!(world.with(&other).get("/webhooks").await.raw, "{\"data\":[]}");
    let named = world.with(&other).and("x-tenant", "acme").get("/webhooks").await;
    assert_eq!(refused(&named, 404, "Not Found"), "not_found");
    assert_eq!(world.with(&key).get("/webhooks").await.each("id").len(), 1);
}

#[tokio::test]
async fn an_id_in_any_other_spelling_names_nothing() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let path = made(&asker, published()).await;
    let id = path.strip_prefix("/webhooks/").unwrap();
    let uuid = id.strip_prefix("wh-").unwrap();
    for wrong in [
        uuid.to_owned(),
        format!("ep_{uuid}"),
        format!("wh_{uuid}"),
        format!("wh-{}", uuid.to_uppercase()),
        format!("wh-{}", uuid.replace('-', "")),
        format!("{id}0"),
        "wh-a1b2c3d4-e5f6-7890-abcd-ef1234567890".to_owned(),
        "%ff".to_owned(),
        "1".to_owned(),
    ] {
        for (operation, body) in operations(&format!("/webhooks/{wrong}")).into_iter().skip(2) {
            let answer = asker.call(&operation, body).await;
            assert_eq!(refused(&answer, 404, "Not Found"), "not_found", "{operation}");
        }
    }
}

#[tokio::test]
async fn a_key_above_tenants_names_the_organization_except_in_a_path_that_implies_it() {
    let (world, key) = world().await;
    let path = made(&world.with(&key), published()).await;
    let project = world.key(json!({"role": "project", "project": "default"})).await;
    for key in [&world.root, &project.text("key")] {
        for (operation, body) in operations(&path).into_iter().take(2) {
            let answer = world.with(key).call(&operation, body.clone()).await;
            assert_eq!(refused(&answer, 400, "Bad Request"), "tenant_required");
            assert!(answer.text("message").contains("X-Tenant"));
            let named = world
                .with(key)
                .and("x-tenant", "acme")
                .call(&operation, body)
                .await;
            assert!(matches!(named.status, 200 | 201), "{}", named.raw);
        }
        let changed = world
            .with(key)
            .call(&format!("PUT {path}"), json!({"events": ["*"]}))
            .await;
        changed.expect(200);
    }
}

#[tokio::test]
async fn paths_methods_and_bodies_that_nothing_takes_are_refused_in_the_same_words() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let path = made(&asker, published()).await;
    for (operation, allowed) in [
        ("PATCH /webhooks".to_owned(), "GET,HEAD,POST"),
        ("DELETE /webhooks/".to_owned(), "GET,HEAD,POST"),
        (format!("GET {path}"), "PUT,DELETE"),
        (format!("POST {path}"), "PUT,DELETE"),
        (format!("GET {path}/test"), "POST"),
    ] {
        let answer = asker.call(&operation, Value::Null).await;
        assert_eq!(refused(&answer, 405, "Method Not Allowed"), "method_not_allowed");
        let mut told: Vec<&str> = answer.headers["allow"].to_str().unwrap().split(',').collect();
        let mut expected: Vec<&str> = allowed.split(',').collect();
        told.sort_unstable();
        expected.sort_unstable();
        assert_eq!(told, expected, "{operation}");
    }
    for unknown in [
        format!("{path}/tests"),
        format!("{path}/test/x"),
        "/webhooks//".into(),
    ] {
        let answer = asker.call(&format!("POST {unknown}"), Value::Null).await;
        match unknown.as_str() {
            // Slashes at the end never matter.
            "/webhooks//" => assert_eq!(refused(&answer, 400, "Bad Request"), "validation_failed"),
            _ => assert_eq!(refused(&answer, 404, "Not Found"), "not_found"),
        }
    }
    let elsewhere = asker.get("/webhooksx").await;
    assert_eq!(elsewhere.headers["content-type"], "application/problem+json");

    let head = asker.ask(Method::HEAD, "/webhooks", Body::empty()).await;
    assert_eq!((head.status, head.raw.as_str()), (200, ""));
    let answer = asker.ask(Method::POST, "/webhooks", Body::from("{")).await;
    assert_eq!(refused(&answer, 400, "Bad Request"), "malformed_json");
    let encoded = asker.clone().and("content-encoding", "gzip");
    let answer = encoded.post("/webhooks", published()).await;
    assert_eq!(
        refused(&answer, 415, "Unsupported Media Type"),
        "unsupported_content_encoding"
    );
    let large = published_with(json!({"padding": "x".repeat(300 * 1024)}));
    let answer = asker.post("/webhooks", large).await;
    assert_eq!(refused(&answer, 413, "Payload Too Large"), "payload_too_large");
    let long_key = "k".repeat(257);
    let keyed = asker.clone().and("idempotency-key", &long_key);
    let answer = keyed.post("/webhooks", published()).await;
    assert_eq!(refused(&answer, 400, "Bad Request"), "validation_failed");
    assert_eq!(
        answer.body["message"],
        json!(["Idempotency-Key: must be 1 to 256 characters"])
    );
}

#[tokio::test]
async fn a_database_that_is_away_is_told_in_the_same_words() {
    let (world, key) = world().await;
    let path = made(&world.with(&key), published()).await;
    world.store.close().await;
    let changes = operations(&path).into_iter();
    // Reading may still do.
    for (operation, body) in changes.filter(|(operation, _)| operation != "GET /webhooks") {
        let answer = world.with(&key).call(&operation, body).await;
        assert_eq!(
            refused(&answer, 503, "Service Unavailable"),
            "unavailable",
            "{operation}"
        );
        assert_eq!(answer.headers["retry-after"], "2");
        assert!(answer.headers.contains_key("x-ratelimit-remaining"));
    }
}

#[tokio::test]
async fn a_pattern_is_taken_and_shown_and_one_that_is_none_is_told_the_rule() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    let events = json!(["order.*", "user.made"]);
    let made = asker
        .post("/webhooks", published_with(json!({"events": events})))
        .await;
    assert_eq!(made.expect(201)["events"], events);
    let answer = asker
        .post("/webhooks", published_with(json!({"events": ["*.paid"]})))
        .await;
    assert_eq!(refused(&answer, 400, "Bad Request"), "validation_failed");
    let rule = "must be an event type such as order.completed, or a prefix with all below it such as order.*";
    assert_eq!(answer.body["message"], json!([format!("events.0: {rule}")]));
}
