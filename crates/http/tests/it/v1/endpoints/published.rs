//! The published text, exchange by exchange.

use super::{call, made, path, plain, plain_with};
use crate::world::World;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn creating_answers_the_published_fields_in_their_order_and_then_those_of_v1() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let request = json!({
        "name": "my-webhook",
        "url": "https://example.com/webhook",
        "secret": "whsec_your_signing_secret",
        "headers_json": {},
        "timeout_seconds": 10
    });
    let answer = call(&world, &key, "POST /v1/endpoints", request).await;
    let id = answer.expect(201)["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("ep_") && id.len() == 39, "{id}");
    let expected = format!(
        "{{\"id\":\"{id}\",\"name\":\"my-webhook\",\"url\":\"https://example.com/webhook\",\"headers_json\":{{}},\
         \"timeout_seconds\":10,\"status\":\"ACTIVE\",\"paused_at\":null,\"created_at\":\"2024-01-01T00:00:00Z\",\
         \"updated_at\":\"2024-01-01T00:00:00Z\",\"uid\":null,\"number\":1,\"description\":null,\"events\":[\"*\"],\
         \"channels\":null,\"filter\":null,\"metadata\":null,\"retry_schedule\":[5,300,1800,7200,18000,36000,50400,72000,86400],\
         \"retry_anchor\":\"previous\",\"header_styles\":[\"standard\",\"v1\"],\"payload_format\":\"raw\",\
         \"max_in_flight\":null,\"rate_limit\":null,\"ordered\":false,\"disabled_reason\":null,\
         \"breaker\":{{\"state\":\"closed\",\"reason\":null,\"next_probe_at\":null}},\"public_key\":null,\"consecutive_failures\":0}}"
    );
    assert_eq!(answer.raw, expected);
    let got = call(&world, &key, &format!("GET /v1/endpoints/{id}"), json!(null)).await;
    assert_eq!((got.status, got.raw), (200, expected));
}

#[tokio::test]
async fn listing_is_a_bare_array_newest_first_with_its_cursor_in_the_link() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    assert_eq!(
        call(&world, &key, "GET /v1/endpoints", json!(null)).await.raw,
        "[]"
    );
    for name in ["one", "two", "three"] {
        made(&world, &key, plain_with(json!({"name": name}))).await;
    }
    let names = |list: &serde_json::Value| -> Vec<String> {
        let items = list.as_array().unwrap().iter();
        items
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = call(&world, &key, "GET /v1/endpoints?limit=2", json!(null)).await;
    assert_eq!(names(&first.expect(200)), ["three", "two"]);
    let link = first.headers["link"].to_str().unwrap();
    let next = link
        .strip_prefix('<')
        .and_then(|link| link.strip_suffix(">; rel=\"next\""));
    let second = call(&world, &key, &format!("GET {}", next.unwrap()), json!(null)).await;
    assert_eq!(names(&second.expect(200)), ["one"]);
    assert!(!second.headers.contains_key("link"));

    let bad = call(&world, &key, "GET /v1/endpoints?cursor=nonsense", json!(null)).await;
    assert_eq!(bad.refusal(400).0, "bad_cursor");
    for limit in ["0", "251", "x"] {
        let bad = call(
            &world,
            &key,
            &format!("GET /v1/endpoints?limit={limit}"),
            json!(null),
        )
        .await;
        assert_eq!(bad.refusal(422).1, ["limit"]);
    }
}

#[tokio::test]
async fn patching_pauses_and_resumes_and_leaves_the_rest_alone() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain()).await;
    world.clock.step(Duration::from_millis(43_200_900));
    let body = json!({"name": "updated-name", "status": "PAUSED"});
    let patched = call(&world, &key, &path("PATCH", &endpoint), body)
        .await
        .expect(200);
    let mut expected = endpoint.clone();
    expected.as_object_mut().unwrap().remove("secret");
    expected["name"] = json!("updated-name");
    expected["status"] = json!("PAUSED");
    expected["paused_at"] = json!("2024-01-01T12:00:00Z");
    expected["updated_at"] = json!("2024-01-01T12:00:00Z");
    assert_eq!(patched, expected);

    let resumed = call(
        &world,
        &key,
        &path("PATCH", &endpoint),
        json!({"status": "ACTIVE"}),
    )
    .await
    .expect(200);
    assert_eq!(
        (&resumed["status"], &resumed["paused_at"]),
        (&json!("ACTIVE"), &json!(null))
    );
}

#[tokio::test]
async fn deleting_answers_204_without_a_body_and_then_there_is_no_such_endpoint() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain()).await;
    let deleted = call(&world, &key, &path("DELETE", &endpoint), json!(null)).await;
    assert_eq!((deleted.status, deleted.raw.as_str()), (204, ""));
    for verb in ["GET", "PATCH", "DELETE"] {
        let again = call(&world, &key, &path(verb, &endpoint), json!(null)).await;
        assert_eq!(again.refusal(404).0, "not_found", "{verb}");
    }
    assert_eq!(
        call(&world, &key, "GET /v1/endpoints/", json!(null)).await.raw,
        "[]"
    );
}
