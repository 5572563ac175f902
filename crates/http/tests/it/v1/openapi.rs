//! `/openapi.json`: what programs are told about the contract is true.

use crate::world::World;
use serde_json::{Value, json};
use std::collections::BTreeSet;

async fn document(world: &World) -> Value {
    world.with_headers(vec![]).get("/openapi.json").await.expect(200)
}

/// Every operation with its method and path.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (method.clone(), path.clone(), operation))
        })
        .collect()
}

#[tokio::test]
async fn it_says_which_operations_need_a_key_and_how_it_is_sent() {
    let world = World::start().await;
    let document = document(&world).await;
    assert_eq!(document["security"], json!([{"bearer": []}, {"api_key": []}]));
    assert_eq!(
        document["components"]["securitySchemes"],
        json!({
            "bearer": {"type": "http", "scheme": "bearer"},
            "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}
        })
    );
    for (method, path, operation) in operations(&document) {
        let filled = path.replace("{id}", "x").replace("{name}", "x");
        let ask = format!("{} {filled}", method.to_uppercase());
        let answer = world.with_headers(vec![]).call(&ask, Value::Null).await;
        let open = operation["security"] == json!([{}]);
        // 429 once there were too many without.
        assert_eq!(!matches!(answer.status, 401 | 429), open, "{ask}");
    }
}

#[tokio::test]
async fn every_refusal_of_the_contract_is_described_as_a_problem() {
    let world = World::start().await;
    let document = document(&world).await;
    let problem = &document["components"]["schemas"]["Problem"];
    let refused = world.root().get("/v1/tenants?limit=0").await.expect(422);
    for field in refused.as_object().unwrap().keys() {
        assert!(problem["properties"][field].is_object(), "{field}: {problem}");
    }
    let described = json!({"$ref": "#/components/responses/Problem"});
    for (method, path, operation) in operations(&document) {
        if path.starts_with("/v1/") {
            assert_eq!(operation["responses"]["default"], described, "{method} {path}");
        }
    }
    assert!(
        document["components"]["responses"]["Problem"]["content"]["application/problem+json"].is_object()
    );
}

#[tokio::test]
async fn operations_have_ids_that_programs_can_use_and_every_post_an_idempotency_key() {
    let world = World::start().await;
    let document = document(&world).await;
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(
            id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{id}"
        );
        assert!(ids.insert(id.to_owned()), "{id} twice");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let takes_key = parameters.iter().any(|one| one["name"] == "Idempotency-Key");
        assert_eq!(takes_key, method == "post", "{method} {path}");
    }
}

#[tokio::test]
async fn fields_that_may_be_null_are_there_all_the_same_but_for_what_is_shown_once() {
    let world = World::start().await;
    let document = document(&world).await;
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas.iter().filter(|(name, _)| name.ends_with("Out")) {
        let fields = schema["properties"].as_object().into_iter().flatten();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (field, _) in fields.filter(|(field, _)| !matches!(field.as_str(), "key" | "secret")) {
            assert!(required.contains(&json!(field)), "{name}.{field}");
        }
    }
    let made = world
        .root()
        .post("/v1/tenants", json!({"name": "Acme"}))
        .await
        .expect(201);
    for field in schemas["TenantOut"]["required"].as_array().unwrap() {
        assert!(made.get(field.as_str().unwrap()).is_some(), "{field}");
    }
}
