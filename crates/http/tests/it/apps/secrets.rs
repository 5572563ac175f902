//! `POST .../rotate-secret`.

use super::{data, made, path, plain, text, world};
use crate::world::World;
use serde_json::{Value, json};
use stentor_domain::Clock as _;
use stentor_domain::id::{EndpointId, Id};

/// The secrets that sign now, newest first.
fn signing(world: &World, endpoint: &Value) -> Vec<String> {
    let id = EndpointId(Id::parse_uuid(&text(endpoint, "id")).unwrap());
    let config = world.store.config().endpoint(id.n()).unwrap();
    let now = world.clock.now();
    let valid = config.secrets.iter().filter(|secret| secret.valid(now));
    valid.map(|secret| secret.secret.expose().to_owned()).collect()
}

#[tokio::test]
async fn a_rotation_answers_the_new_secret_alone_and_ends_all_earlier_ones() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let made = made(&asker, plain()).await;
    let in_v1 = format!("/v1/endpoints/ep_{}/rotate-secret", text(&made, "id"));
    let overlapping = asker.post(&in_v1, json!({})).await.text("secret");
    assert_eq!(signing(&world, &made), [overlapping, text(&made, "secret")]);

    let rotate = format!("POST {}/rotate-secret", path(&made));
    let rotated = data(&asker.call(&rotate, Value::Null).await, 200);
    assert_eq!(rotated.as_object().unwrap().len(), 1);
    let secret = text(&rotated, "secret");
    assert!(secret.starts_with("whsec_") && secret.len() == 50, "{secret}");
    assert_eq!(signing(&world, &made), [secret]);
}

#[tokio::test]
async fn the_contract_that_rotates_decides_the_format() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let body = json!({"name": "plain text", "url": "https://example.com/", "secret": "whs_a1b2c3d4e5f6789012345678901234567890abcdef"});
    let id = asker.post("/v1/endpoints", body).await.text("id");
    let uuid = id.strip_prefix("ep_").unwrap();
    let rotate = format!("POST /apps/acme/webhooks/{uuid}/rotate-secret/");
    let rotated = data(&asker.call(&rotate, json!({})).await, 200);
    assert!(text(&rotated, "secret").starts_with("whsec_"));
}

#[tokio::test]
async fn a_repeated_rotation_draws_one_secret_and_shows_it_once() {
    let (world, key) = world().await;
    let asker = world.with(&key).and("idempotency-key", "k1");
    let made = made(&asker, plain()).await;
    let rotate = format!("POST {}/rotate-secret", path(&made));
    let rotated = data(&asker.call(&rotate, Value::Null).await, 200);
    let again = asker.call(&rotate, Value::Null).await;
    assert_eq!(data(&again, 200), json!({}));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(signing(&world, &made), [text(&rotated, "secret")]);
}
