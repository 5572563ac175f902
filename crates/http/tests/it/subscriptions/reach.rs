//! Which keys reach which subscriptions.

use super::{PATH, URL, made, made_at, places};
use crate::world::{Asker, World};
use serde_json::{Value, json};

/// Every operation, on the subscription numbered 1.
const OPERATIONS: [&str; 6] = [
    "GET /api/v1/webhooks/types",
    "GET /api/v1/webhooks",
    "POST /api/v1/webhooks",
    "GET /api/v1/webhooks/1",
    "PATCH /api/v1/webhooks/1",
    "DELETE /api/v1/webhooks/1",
];

/// Fails unless the answer is a sentence and nothing else.
async fn refused(asker: &Asker<'_>, operation: &str, status: u16) {
    let answer = asker.call(operation, json!({"url": URL})).await;
    let document = answer.expect(status);
    assert_eq!(document.as_object().unwrap().len(), 1, "{operation}");
    assert!(document["message"].is_string(), "{operation}");
    assert_eq!(answer.headers["content-type"], "application/json");
}

#[tokio::test]
async fn another_tenants_subscription_does_not_exist() {
    let world = World::start().await;
    let (acme, ajax) = (world.tenant_key("acme").await, world.tenant_key("ajax").await);
    made(&world.with(&acme)).await;
    made(&world.with(&acme)).await;
    assert_eq!(world.with(&ajax).get(PATH).await.raw, "[]");
    for operation in &OPERATIONS[3..] {
        refused(&world.with(&ajax), operation, 404).await;
    }
    // Both have a number 1 now, and each has its own.
    let body = json!({"url": "https://ajax.example.com"});
    world.with(&ajax).post(PATH, body).await.expect(200);
    world.with(&ajax).delete(&format!("{PATH}/1")).await.expect(204);
    let kept = world.with(&acme).get(&format!("{PATH}/1")).await.expect(200);
    assert_eq!(kept["url"], json!(URL));
}

#[tokio::test]
async fn a_key_that_only_reads_reads() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let path = made_at(&world.with(&key)).await;
    let reader = world
        .key(json!({"role": "tenant", "tenant": "acme", "read_only": true}))
        .await
        .text("key");
    let reader = world.with(&reader);
    for operation in [
        "GET /api/v1/webhooks/types",
        "GET /api/v1/webhooks",
        "HEAD /api/v1/webhooks",
        "GET /api/v1/webhooks/1",
    ] {
        assert_eq!(
            reader.call(operation, Value::Null).await.status,
            200,
            "{operation}"
        );
    }
    for operation in [
        "POST /api/v1/webhooks",
        "PATCH /api/v1/webhooks/1",
        "DELETE /api/v1/webhooks/1",
    ] {
        refused(&reader, operation, 403).await;
    }
    assert_eq!(world.with(&key).get(&path).await.status, 200);
}

#[tokio::test]
async fn without_a_valid_key_there_is_nothing() {
    let world = World::start().await;
    let key = world.key(json!({"role": "root"})).await;
    world
        .root()
        .delete(&format!("/v1/keys/{}", key.text("id")))
        .await
        .expect(204);
    let revoked = key.text("key");
    for (operation, headers) in OPERATIONS.iter().zip([
        vec![],
        vec![("x-api-key", "stn_tenant_guess")],
        vec![("x-api-key", revoked.as_str())],
        vec![("x-api-key", revoked.as_str()), ("authorization", "Bearer other")],
        vec![("authorization", "Basic x")],
        vec![],
    ]) {
        // Only so many failures are answered in a minute.
        world.clock.step(std::time::Duration::from_secs(61));
        refused(&world.with_headers(headers), operation, 401).await;
    }
}

#[tokio::test]
async fn a_root_key_names_the_tenant() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    made(&world.with(&key)).await;
    for operation in &OPERATIONS[1..] {
        let answer = world.root().call(operation, json!({"url": URL})).await;
        assert_eq!(places(&answer), json!([["header", "X-Tenant"]]), "{operation}");
        assert_eq!(answer.body["detail"][0]["type"], json!("missing"));
        refused(&world.root().and("x-tenant", "nobody"), operation, 404).await;
    }
    let named = world.root().and("x-tenant", "acme");
    assert_eq!(named.get(&format!("{PATH}/1")).await.status, 200);
    assert_eq!(
        world
            .root()
            .get(&format!("{PATH}/?tenant=acme"))
            .await
            .expect(200)
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
