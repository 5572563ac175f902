//! `/openapi/subscriptions.json`: what programs are told about the contract is true.

use super::{PATH, URL, register};
use crate::world::World;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The names of an object's fields.
fn names(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn it_has_the_published_operations_and_no_other() {
    let world = World::start().await;
    let document = world
        .with_headers(vec![])
        .get("/openapi/subscriptions.json")
        .await
        .expect(200);
    let mut operations = vec![];
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push(format!("{method} {path}"));
            let responses = &operation["responses"];
            for status in ["422", "429"] {
                assert!(
                    responses[status]["content"]["application/json"].is_object(),
                    "{method} {path} {status}"
                );
            }
            assert_eq!(
                responses["default"]["$ref"],
                json!("#/components/responses/Refused")
            );
            let ok = if method == "delete" { "204" } else { "200" };
            assert!(
                responses[ok]["headers"]["RateLimit-Policy"].is_object(),
                "{method} {path}"
            );
        }
    }
    operations.sort();
    assert_eq!(
        operations,
        [
            "delete /api/v1/webhooks/{subscription_id}",
            "get /api/v1/webhooks",
            "get /api/v1/webhooks/types",
            "get /api/v1/webhooks/{subscription_id}",
            "patch /api/v1/webhooks/{subscription_id}",
            "post /api/v1/webhooks",
        ]
    );
}

#[tokio::test]
async fn what_is_shown_has_exactly_the_fields_of_its_schema() {
    let world = World::start().await;
    register(&world, &["order.paid"]).await;
    let key = world.tenant_key("acme").await;
    let asker = world.with(&key);
    let document = asker.get("/openapi/subscriptions.json").await.expect(200);
    let schemas = &document["components"]["schemas"];
    let of = |schema: &str| names(&schemas[schema]["properties"]);
    let made = asker.post(PATH, json!({"url": URL})).await.expect(200);
    let secret = BTreeSet::from(["client_secret".to_owned()]);
    assert_eq!(&names(&made) - &secret, of("SubscriptionOut"));
    assert_eq!(
        names(&asker.get(&format!("{PATH}/1")).await.expect(200)),
        of("SubscriptionOut")
    );
    let required: BTreeSet<String> =
        serde_json::from_value(schemas["SubscriptionOut"]["required"].clone()).unwrap();
    assert_eq!(required, of("SubscriptionOut"));
    assert_eq!(
        names(&asker.get(&format!("{PATH}/types")).await.expect(200)[0]),
        of("TypeOut")
    );
    let refused = asker.get(&format!("{PATH}/x")).await.expect(422);
    assert_eq!(names(&refused), of("ValidationErrors"));
    assert_eq!(names(&refused["detail"][0]), of("ValidationError"));
    assert_eq!(
        names(&asker.get(&format!("{PATH}/9")).await.expect(404)),
        of("Refused")
    );
}
