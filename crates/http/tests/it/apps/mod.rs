//! Contract apps, told as stories through the router.

mod deliveries;
mod documents;
mod endpoints;
mod refusals;
mod secrets;

use crate::world::{Answer, Asker, World};
use serde_json::{Value, json};

const WEBHOOKS: &str = "/apps/acme/webhooks";

/// A new webhook endpoint.
fn plain() -> Value {
    json!({"url": "https://example.com/hook", "events": ["order.paid", "order.failed"]})
}

/// A world with app `acme`, and the text of a key for it.
async fn world() -> (World, String) {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    (world, key)
}

/// What an answer shows inside its envelope, where the status is the one that was expected.
fn data(answer: &Answer, status: u16) -> Value {
    let document = answer.expect(status);
    assert_eq!(document.as_object().unwrap().len(), 2, "{}", answer.raw);
    assert_eq!(document["success"], true);
    assert!(
        answer.raw.starts_with(r#"{"success":true,"data":"#),
        "{}",
        answer.raw
    );
    document["data"].clone()
}

/// Code, message and field of a refusal, which is shown so and not otherwise.
fn refused(answer: &Answer, status: u16) -> (String, String, Option<String>) {
    let document = answer.expect(status);
    assert_eq!(document.as_object().unwrap().len(), 2, "{}", answer.raw);
    assert_eq!(document["success"], false);
    assert_eq!(answer.headers["content-type"], "application/json");
    let error = document["error"].as_object().unwrap();
    let text = |name: &str| error.get(name).map(|value| value.as_str().unwrap().to_owned());
    let field = text("field");
    assert_eq!(error.len(), 2 + usize::from(field.is_some()), "{}", answer.raw);
    (text("code").unwrap(), text("message").unwrap(), field)
}

/// The code alone.
fn code(answer: &Answer, status: u16) -> String {
    refused(answer, status).0
}

/// Makes a webhook endpoint of app `acme`; gives what was shown.
async fn made(asker: &Asker<'_>, body: Value) -> Value {
    data(&asker.post(WEBHOOKS, body).await, 201)
}

/// The path of a webhook endpoint of app `acme`.
fn path(endpoint: &Value) -> String {
    format!("{WEBHOOKS}/{}", text(endpoint, "id"))
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap().to_owned()
}

/// The webhook endpoints of app `acme`.
async fn listed(asker: &Asker<'_>) -> Vec<Value> {
    let list = data(&asker.get(WEBHOOKS).await, 200);
    list.as_array().unwrap().clone()
}

/// The names of an object's fields, as they were written.
fn names_in_order(raw: &str, names: &[&str]) {
    let places: Vec<_> = names
        .iter()
        .map(|name| {
            raw.find(&format!("\"{name}\":"))
                .unwrap_or_else(|| panic!("{name} in {raw}"))
        })
        .collect();
    assert!(places.is_sorted(), "{raw}");
}

fn assert_fields(shown: &Value, names: &[&str]) {
    let mut expected = names.to_vec();
    expected.sort_unstable();
    let mut found: Vec<_> = shown.as_object().unwrap().keys().map(String::as_str).collect();
    found.sort_unstable();
    assert_eq!(found, expected);
}
