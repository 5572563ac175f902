//! `/openapi/apps.json`: what programs are told about the contract is true.

use super::{WEBHOOKS, data, made, path, plain, world};
use crate::world::World;
use serde_json::{Value, json};
use std::collections::BTreeSet;

async fn document(world: &World) -> Value {
    world
        .with_headers(vec![])
        .get("/openapi/apps.json")
        .await
        .expect(200)
}

#[tokio::test]
async fn the_document_names_every_operation_and_how_it_is_refused() {
    let (world, _) = world().await;
    let document = document(&world).await;
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.insert(format!("{method} {path}"));
            let refused = json!({"$ref": "#/components/responses/Error"});
            assert_eq!(operation["responses"]["default"], refused, "{method} {path}");
            let parameters = operation["parameters"].as_array().unwrap();
            let repeatable = parameters.iter().any(|one| one["name"] == "Idempotency-Key");
            assert_eq!(repeatable, method == "post", "{method} {path}");
        }
    }
    let one = "/apps/{appId}/webhooks/{webhookId}";
    let expected = [
        "get /apps/{appId}/webhooks".to_owned(),
        "post /apps/{appId}/webhooks".to_owned(),
        format!("put {one}"),
        format!("delete {one}"),
        format!("post {one}/rotate-secret"),
        format!("post {one}/test-ping"),
        format!("get {one}/deliveries"),
    ];
    assert_eq!(operations, BTreeSet::from(expected));
}

/// The fields that a schema has, those of its parts included, and which of them are always there.
fn fields(document: &Value, schema: &Value) -> (BTreeSet<String>, BTreeSet<String>) {
    let schema = match schema["$ref"].as_str() {
        Some(name) => &document["components"]["schemas"][name.rsplit_once('/').unwrap().1],
        None => schema,
    };
    let (mut all, mut required) = (BTreeSet::new(), BTreeSet::new());
    for part in schema["allOf"].as_array().into_iter().flatten() {
        let (more, of_them) = fields(document, part);
        all.extend(more);
        required.extend(of_them);
    }
    all.extend(
        schema["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone()),
    );
    let always = schema["required"].as_array().into_iter().flatten();
    required.extend(always.map(|name| name.as_str().unwrap().to_owned()));
    (all, required)
}

#[tokio::test]
async fn the_document_shows_the_fields_of_every_answer_and_which_are_shown_once() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let document = document(&world).await;
    let named = |name: &str| document["components"]["schemas"][name]["properties"]["data"].clone();
    let check = |name: &str, shown: &Value, once: &[&str]| {
        let schema = match named(name) {
            list if list["type"] == "array" => list["items"].clone(),
            one => one,
        };
        let (all, required) = fields(&document, &schema);
        let shown: BTreeSet<_> = shown.as_object().unwrap().keys().cloned().collect();
        assert_eq!(all, shown, "{name}");
        let once = once.iter().map(|&field| field.to_owned());
        assert_eq!(required, &shown - &once.collect(), "{name}");
    };
    let shown = made(&asker, plain()).await;
    check("Wrapped_MadeOut", &shown, &["secret"]);
    check(
        "Wrapped_Vec_ListedOut",
        &data(&asker.get(WEBHOOKS).await, 200)[0],
        &[],
    );
    let changed = asker.call(&format!("PUT {}", path(&shown)), json!({})).await;
    check("Wrapped_ChangedOut", &data(&changed, 200), &[]);
    let rotate = format!("POST {}/rotate-secret", path(&shown));
    check(
        "Wrapped_RotationOut",
        &data(&asker.call(&rotate, Value::Null).await, 200),
        &["secret"],
    );
    let deliveries = asker.get(&format!("{}/deliveries", path(&shown))).await;
    check("Wrapped_DeliveriesOut", &data(&deliveries, 200), &[]);
    let (_, envelope) = fields(&document, &document["components"]["schemas"]["Wrapped_MadeOut"]);
    assert_eq!(
        envelope,
        BTreeSet::from(["success".to_owned(), "data".to_owned()])
    );
}
