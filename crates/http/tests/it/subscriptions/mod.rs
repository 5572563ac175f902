//! Contract subscriptions, told as stories through the router.

mod change;
mod create;
mod numbers;
mod openapi;
mod rates;
mod reach;
mod refusals;
mod switch;
mod types;

use crate::world::{Answer, Asker, World};
use serde_json::{Value, json};

const PATH: &str = "/api/v1/webhooks";
const URL: &str = "https://example.com/hook";

/// Makes a subscription; answers it as the answer showed it.
async fn made(asker: &Asker<'_>) -> Value {
    asker.post(PATH, json!({"url": URL})).await.expect(200)
}

/// Makes a subscription; answers its path.
async fn made_at(asker: &Asker<'_>) -> String {
    format!("{PATH}/{}", made(asker).await["id"])
}

/// The same endpoint as v1 shows it.
async fn in_v1(asker: &Asker<'_>, number: &Value) -> Value {
    let all = asker.get("/v1/endpoints").await.expect(200);
    let all = all.as_array().unwrap();
    all.iter().find(|one| one["number"] == *number).unwrap().clone()
}

/// Registers event types in project `default`.
async fn register(world: &World, names: &[&str]) {
    for name in names {
        let body = json!({"name": name, "description": format!("About {name}.")});
        world.root().post("/v1/event-types", body).await.expect(201);
    }
}

/// Where each fault of a request's content is.
fn places(answer: &Answer) -> Value {
    let document = answer.expect(422);
    let faults = document["detail"].as_array().unwrap();
    faults.iter().map(|fault| fault["loc"].clone()).collect()
}

/// So many characters, none of which is ASCII and some of which two UTF-16 units are needed for.
fn characters(count: usize) -> String {
    "ü🪝".chars().cycle().take(count).collect()
}
