//! `/openapi/organization.json`: what programs are told about the contract is true.

use super::{made, published, world};
use serde_json::{Value, json};

/// The names that a schema of the document requires.
fn required(document: &Value, schema: &str) -> Vec<String> {
    let names = document["components"]["schemas"][schema]["required"].as_array();
    let names = names.unwrap_or_else(|| panic!("{schema} requires nothing"));
    names
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

fn keys(value: &Value) -> Vec<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn the_document_names_every_operation_and_every_field() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let document = world
        .with_headers(vec![])
        .get("/openapi/organization.json")
        .await
        .expect(200);
    let operations: Vec<(String, Vec<String>)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| (path.clone(), keys(item)))
        .collect();
    let expected = [
        ("/webhooks", vec!["get", "post"]),
        ("/webhooks/{id}", vec!["delete", "put"]),
        ("/webhooks/{id}/test", vec!["post"]),
    ]
    .map(|(path, methods)| {
        let methods: Vec<String> = methods.into_iter().map(str::to_owned).collect();
        (path.to_owned(), methods)
    });
    assert_eq!(operations, expected);

    let sorted = |schema: &str, extra: &[&str], shown: &Value| {
        let mut told = required(&document, schema);
        told.extend(extra.iter().map(|&name| name.to_owned()));
        told.sort_unstable();
        let mut shown = keys(shown);
        shown.sort_unstable();
        assert_eq!(told, shown, "{schema}");
    };
    let created = asker.post("/webhooks", published()).await.expect(201);
    sorted("MadeOut", &["signingSecret"], &created);
    let path = made(&asker, published()).await;
    let updated = asker.call(&format!("PUT {path}"), json!({})).await.expect(200);
    sorted("EndpointOut", &[], &updated);
    let refused = asker.get("/webhooks/x").await;
    sorted("Error", &[], &refused.body);
}

#[tokio::test]
async fn every_operation_may_refuse_and_the_document_says_how() {
    let (world, _) = world().await;
    let document = world
        .with_headers(vec![])
        .get("/openapi/organization.json")
        .await
        .expect(200);
    let refusal = &document["components"]["responses"]["Error"]["content"];
    assert!(refusal["application/json"].is_object(), "{refusal}");
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let default = &operation["responses"]["default"];
            assert_eq!(
                default,
                &json!({"$ref": "#/components/responses/Error"}),
                "{method} {path}"
            );
            let parameters = operation["parameters"].as_array().unwrap();
            let repeatable = parameters.iter().any(|one| one["name"] == "Idempotency-Key");
            assert_eq!(repeatable, method == "post", "{method} {path}");
        }
    }
}
