//! Signing secrets: shown once, rotated, replaced, and never readable on the disk.

use super::{PAIR, PUBLIC, call, in_snapshot, made, path, plain, plain_with, send};
use crate::world::World;
use serde_json::{Value, json};
use std::time::Duration;
use stentor_domain::limits::SECRETS_VALID_MAX;
use stentor_domain::secret::Secret;
use stentor_domain::{Clock as _, Timestamp};

/// The secrets that sign at `now`, newest first.
fn valid(world: &World, endpoint: &Value, now: Timestamp) -> Vec<String> {
    let config = in_snapshot(world, endpoint).unwrap();
    let valid = config.secrets.iter().filter(|secret| secret.valid(now));
    valid.map(|secret| secret.secret.expose().to_owned()).collect()
}

fn text(secret: &Value) -> String {
    secret["secret"].as_str().unwrap().to_owned()
}

async fn rotate(world: &World, key: &str, endpoint: &Value, body: Value) -> Value {
    let target = format!("{}/rotate-secret", path("POST", endpoint));
    call(world, key, &target, body).await.expect(200)
}

#[tokio::test]
async fn a_secret_is_drawn_only_where_none_is_given_and_shown_only_then() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let drawn = made(&world, &key, plain()).await;
    assert!(text(&drawn).starts_with("whsec_") && text(&drawn).len() == 50);
    let shown = call(&world, &key, &path("GET", &drawn), json!(null))
        .await
        .expect(200);
    assert!(shown.get("secret").is_none());
    let given = made(&world, &key, plain_with(json!({"secret": "sixteen letters!"}))).await;
    assert!(given.get("secret").is_none());
    assert_eq!(
        in_snapshot(&world, &given).unwrap().secrets[0].secret.expose(),
        "sixteen letters!"
    );
}

#[tokio::test]
async fn both_secrets_sign_until_the_grace_ends() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain()).await;
    let rotated = rotate(&world, &key, &endpoint, json!(null)).await;
    assert_eq!(rotated.as_object().unwrap().len(), 1);
    let (old, new) = (text(&endpoint), text(&rotated));
    assert_ne!(old, new);
    let last = world
        .clock
        .now()
        .plus(Duration::from_secs(86_400))
        .minus(Duration::from_micros(1));
    assert_eq!(valid(&world, &endpoint, last), [new.clone(), old]);
    assert_eq!(
        valid(&world, &endpoint, last.plus(Duration::from_micros(1))),
        [new.as_str()]
    );

    let newest = text(&rotate(&world, &key, &endpoint, json!({"grace_seconds": 0})).await);
    assert_eq!(valid(&world, &endpoint, world.clock.now()), [newest.as_str()]);
    let world = world.restart().await;
    assert_eq!(valid(&world, &endpoint, world.clock.now()), [newest]);
}

#[tokio::test]
async fn a_second_rotation_does_not_prolong_what_was_to_end() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain()).await;
    rotate(&world, &key, &endpoint, json!({"grace_seconds": 60})).await;
    world.clock.step(Duration::from_secs(30));
    rotate(&world, &key, &endpoint, json!({"grace_seconds": 604_800})).await;
    let after_the_first = world.clock.now().plus(Duration::from_secs(30));
    let signing = valid(&world, &endpoint, after_the_first);
    assert_eq!(signing.len(), 2);
    assert!(!signing.contains(&text(&endpoint)));
}

#[tokio::test]
async fn the_oldest_secret_makes_room_for_one_too_many() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain()).await;
    let mut newest_first = vec![text(&endpoint)];
    for _ in 0..SECRETS_VALID_MAX + 1 {
        newest_first.insert(0, text(&rotate(&world, &key, &endpoint, json!({})).await));
    }
    newest_first.truncate(SECRETS_VALID_MAX);
    assert_eq!(valid(&world, &endpoint, world.clock.now()), newest_first);
}

#[tokio::test]
async fn a_replaced_secret_ends_at_once_and_is_not_echoed() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain()).await;
    rotate(&world, &key, &endpoint, json!({})).await;
    let body = json!({"secret": "the only one from now on"});
    let patched = call(&world, &key, &path("PATCH", &endpoint), body)
        .await
        .expect(200);
    assert!(patched.get("secret").is_none());
    assert_eq!(
        valid(&world, &endpoint, world.clock.now()),
        ["the only one from now on"]
    );
}

#[tokio::test]
async fn the_public_key_is_that_of_the_newest_secret_and_null_without_one() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain_with(json!({"secret": PAIR}))).await;
    let shown = async |secret: &str| {
        let shown = call(&world, &key, &path("GET", &endpoint), json!(null)).await;
        let listed = call(&world, &key, "GET /v1/endpoints", json!(null)).await;
        let shown = shown.expect(200);
        assert_eq!(listed.expect(200)[0], shown, "{secret}");
        shown["public_key"].clone()
    };
    assert_eq!(endpoint["public_key"], PUBLIC);
    assert_eq!(endpoint["header_styles"], json!(["standard"]), "v1's is an HMAC");
    assert_eq!(endpoint.get("secret"), None, "a given secret is not echoed");
    assert_eq!(shown("given").await, PUBLIC);

    let drawn = text(&rotate(&world, &key, &endpoint, json!({})).await);
    let drawn = Secret::parse(&drawn).unwrap().public_key();
    assert!(drawn.is_some());
    assert_eq!(shown("drawn").await, json!(drawn));

    let given = rotate(&world, &key, &endpoint, json!({"secret": "sixteen letters!"})).await;
    assert_eq!(given, json!({}));
    assert_eq!(shown("of an HMAC").await, json!(null));

    let body = json!({"secret": PAIR});
    let patched = call(&world, &key, &path("PATCH", &endpoint), body).await;
    assert_eq!(patched.expect(200)["public_key"], PUBLIC);
    let world = world.restart().await;
    let known = in_snapshot(&world, &endpoint).unwrap();
    assert_eq!(known.endpoint.public_key.as_deref(), Some(PUBLIC));
}

#[tokio::test]
async fn a_rotation_to_what_is_no_secret_names_the_field_and_changes_nothing() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain()).await;
    let target = format!("{}/rotate-secret", path("POST", &endpoint));
    for (body, fields) in [
        (json!({"secret": "short"}), vec!["secret"]),
        (json!({"secret": 5}), vec!["secret"]),
        (
            json!({"secret": "whsk_your_signing_secret", "grace_seconds": -1}),
            vec!["secret", "grace_seconds"],
        ),
    ] {
        let answer = call(&world, &key, &target, body.clone()).await;
        assert_eq!(answer.refusal(422).1, fields, "{body}");
    }
    assert_eq!(valid(&world, &endpoint, world.clock.now()), [text(&endpoint)]);
}

#[tokio::test]
async fn a_grace_out_of_bounds_is_refused() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain()).await;
    let target = format!("{}/rotate-secret", path("POST", &endpoint));
    for grace in [json!(-1), json!(604_801), json!("60"), json!(1.5)] {
        let answer = call(&world, &key, &target, json!({"grace_seconds": grace})).await;
        assert_eq!(answer.refusal(422).1, ["grace_seconds"], "{grace}");
    }
    assert_eq!(valid(&world, &endpoint, world.clock.now()), [text(&endpoint)]);
}

#[tokio::test]
async fn a_repeated_rotation_rotates_once_and_does_not_show_the_secret_again() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain()).await;
    let target = format!("{}/rotate-secret", path("POST", &endpoint));
    let once = [("idempotency-key", "k1")];
    let first = send(&world, &key, &target, &once, json!({})).await.expect(200);
    let again = send(&world, &key, &target, &once, json!({})).await;
    assert_eq!((again.status, again.raw.as_str()), (200, "{}"));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(
        valid(&world, &endpoint, world.clock.now()),
        [text(&first), text(&endpoint)]
    );
}

#[tokio::test]
async fn secrets_and_header_values_are_nowhere_on_the_disk() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let canaries = [
        "canary-given-secret",
        "canary-header-one",
        "canary-header-two",
        "canary-patched-secret",
    ];
    let once = [("idempotency-key", "k1")];
    let drawn = send(&world, &key, "POST /v1/endpoints", &once, plain())
        .await
        .expect(201);
    let body = plain_with(json!({"secret": canaries[0], "headers_json": {"X-Plain": canaries[1]}}));
    let endpoint = made(&world, &key, body).await;
    let body = json!({"headers_json": {"X-Token": canaries[2]}, "secret": canaries[3]});
    call(&world, &key, &path("PATCH", &endpoint), body)
        .await
        .expect(200);
    let rotated = rotate(&world, &key, &endpoint, json!({})).await;
    made(&world, &key, plain_with(json!({"secret": PAIR}))).await;

    let disk = world.database.bytes();
    let on_disk = |text: &str| disk.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(on_disk("https://example.com/hook"), "the search itself works");
    assert!(!on_disk("canary"));
    assert!(
        on_disk(PUBLIC) && !on_disk(&PAIR[5..40]),
        "of a pair the public key only"
    );
    for secret in [text(&drawn), text(&rotated)] {
        assert!(!on_disk(secret.strip_prefix("whsec_").unwrap()));
    }
}
