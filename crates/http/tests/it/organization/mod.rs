//! Contract organization, told as stories through the router.

mod changes;
mod creation;
mod documents;
mod limits;
mod refusals;
mod urls;

use crate::world::{Answer, Asker, World};
use serde_json::{Value, json};

/// The request of the published text.
fn published() -> Value {
    json!({
        "url": "https://yourapp.com/webhooks/vignetim",
        "events": ["order.completed", "order.failed"],
        "description": "Production order notifications"
    })
}

/// The same with further fields, or other ones.
fn published_with(fields: Value) -> Value {
    let mut body = published();
    let fields = fields.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body
}

/// Makes an endpoint; answers its path.
async fn made(asker: &Asker<'_>, body: Value) -> String {
    let made = asker.post("/webhooks", body).await;
    made.expect(201);
    format!("/webhooks/{}", made.text("id"))
}

/// The endpoint with this path, as the list shows it.
async fn listed(asker: &Asker<'_>, path: &str) -> Value {
    let list = asker.get("/webhooks").await.expect(200);
    let items = list["data"].as_array().unwrap();
    let id = path.strip_prefix("/webhooks/").unwrap();
    items.iter().find(|item| item["id"] == id).unwrap().clone()
}

/// The path of the same endpoint in v1.
fn in_v1(path: &str) -> String {
    path.replace("/webhooks/wh-", "/v1/endpoints/ep_")
}

/// What a refusal says of each field, where the status and the code are the ones expected.
fn told(answer: &Answer, status: u16, code: &str) -> Vec<String> {
    assert_eq!(answer.verdict(), (status, code), "{}", answer.raw);
    let messages = answer.body["message"].as_array();
    let messages = messages.unwrap_or_else(|| panic!("no list: {}", answer.raw));
    messages
        .iter()
        .map(|message| message.as_str().unwrap().to_owned())
        .collect()
}

/// A world with the key of a tenant.
async fn world() -> (World, String) {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    (world, key)
}
