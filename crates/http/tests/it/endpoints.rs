//! `/v1/endpoints`, as its callers see it.

mod change;
mod create;
mod published;
mod reach;
mod secrets;

use crate::world::World;
use serde_json::{Value, json};
use std::sync::Arc;
use stentor_domain::id::EndpointId;
use stentor_store::config::EndpointConfig;

/// The least that makes an endpoint.
fn plain() -> Value {
    json!({"name": "orders", "url": "https://example.com/hook"})
}

/// The same with further fields, or other ones.
fn plain_with(fields: Value) -> Value {
    let mut body = plain();
    let fields = fields.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body
}

/// Makes an endpoint; gives the answer.
async fn made(world: &World, key: &str, body: Value) -> Value {
    world.call(key, "POST /v1/endpoints", body).await.expect(201)
}

fn path(verb: &str, endpoint: &Value) -> String {
    format!("{verb} /v1/endpoints/{}", endpoint["id"].as_str().unwrap())
}

/// The endpoint as matching and sending see it now.
fn in_snapshot(world: &World, endpoint: &Value) -> Option<Arc<EndpointConfig>> {
    let id = EndpointId::parse(endpoint["id"].as_str().unwrap()).unwrap();
    world.store.config().endpoint(id.n())
}
