//! `/v1/endpoints`, as its callers see it.

mod change;
mod create;
mod health;
mod matching;
mod published;
mod reach;
mod secrets;

use crate::world::{Answer, World};
use axum::body::Body;
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use stentor_domain::id::EndpointId;
use stentor_store::config::EndpointConfig;

/// An ed25519 secret, the example of Standard Webhooks, and its public key.
const PAIR: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

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

/// Sends a request, such as `GET /v1/endpoints`; a body of null is none.
async fn call(world: &World, key: &str, method_and_path: &str, body: Value) -> Answer {
    send(world, key, method_and_path, &[], body).await
}

/// The same with further headers.
async fn send(
    world: &World,
    key: &str,
    method_and_path: &str,
    headers: &[(&str, &str)],
    body: Value,
) -> Answer {
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    send_text(world, key, method_and_path, headers, text).await
}

/// The same with a body as it is written.
async fn send_text(
    world: &World,
    key: &str,
    method_and_path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> Answer {
    let (method, path) = method_and_path.split_once(' ').unwrap();
    let headers = [("x-api-key", key)].iter().chain(headers).copied().collect();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    world
        .with_headers(headers)
        .ask(method, path, Body::from(body))
        .await
}

/// Makes an endpoint; gives the answer.
async fn made(world: &World, key: &str, body: Value) -> Value {
    call(world, key, "POST /v1/endpoints", body).await.expect(201)
}

fn path(verb: &str, endpoint: &Value) -> String {
    format!("{verb} /v1/endpoints/{}", endpoint["id"].as_str().unwrap())
}

/// The endpoint as matching and sending see it now.
fn in_snapshot(world: &World, endpoint: &Value) -> Option<Arc<EndpointConfig>> {
    let id = EndpointId::parse(endpoint["id"].as_str().unwrap()).unwrap();
    world.store.config().endpoint(id.n())
}
