//! Changing endpoints: absent, null and value; masks; statuses.

use super::{call, in_snapshot, made, path, plain, plain_with};
use crate::world::World;
use serde_json::{Value, json};
use std::time::Duration;
use stentor_domain::Timestamp;
use stentor_domain::endpoint::Status;
use stentor_store::Handover;

fn full() -> Value {
    plain_with(json!({
        "description": "for orders",
        "events": ["order.completed"],
        "channels": ["eu"],
        "uid": "orders",
        "metadata": {"team": "blue"},
        "retry_schedule": [1, 2],
        "max_in_flight": 3,
        "rate_limit": 5,
        "ordered": true
    }))
}

#[tokio::test]
async fn absent_leaves_alone_null_clears_and_a_value_replaces() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, full()).await;
    let target = path("PATCH", &endpoint);
    let patch = |body: Value| call(&world, &key, &target, body);
    let unchanged = patch(json!({})).await.expect(200);
    for field in [
        "description",
        "events",
        "channels",
        "uid",
        "metadata",
        "retry_schedule",
        "max_in_flight",
        "rate_limit",
        "ordered",
    ] {
        assert_eq!(unchanged[field], endpoint[field], "{field}");
    }
    let clear = json!({"description": null, "uid": null, "metadata": null, "max_in_flight": null, "rate_limit": null,
                       "channels": null});
    let cleared = patch(clear.clone()).await.expect(200);
    for field in clear.as_object().unwrap().keys() {
        assert_eq!(cleared[field], json!(null), "{field}");
    }
    let replace = json!({
        "name": "n", "url": "https://example.org/x?token=1", "timeout_seconds": 3, "uid": "u", "description": "d",
        "events": ["*"], "channels": ["us", "asia"], "metadata": {}, "retry_schedule": [], "retry_anchor": "first",
        "header_styles": ["standard", "apps"], "max_in_flight": 1, "rate_limit": 7, "ordered": false
    });
    let replaced = patch(replace.clone()).await.expect(200);
    for (field, value) in replace.as_object().unwrap() {
        assert_eq!(&replaced[field], value, "{field}");
    }
}

#[tokio::test]
async fn null_is_refused_where_nothing_can_be_cleared() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain()).await;
    let fields = [
        "name",
        "url",
        "secret",
        "headers_json",
        "timeout_seconds",
        "events",
        "retry_schedule",
        "retry_anchor",
        "header_styles",
        "status",
    ];
    for field in fields {
        let answer = call(&world, &key, &path("PATCH", &endpoint), json!({field: null})).await;
        assert_eq!(answer.refusal(422).1, [field]);
    }
    let all = fields
        .iter()
        .map(|field| ((*field).to_owned(), json!(null)))
        .collect();
    let answer = call(&world, &key, &path("PATCH", &endpoint), Value::Object(all)).await;
    assert_eq!(answer.refusal(422).1, fields);
    let types = json!({"name": 7, "status": 7, "timeout_seconds": "x", "uid": "ep_x"});
    let answer = call(&world, &key, &path("PATCH", &endpoint), types).await;
    assert_eq!(
        answer.refusal(422).1,
        ["name", "timeout_seconds", "status", "uid"]
    );
}

#[tokio::test]
async fn a_bad_change_changes_nothing_and_names_all_its_faults() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, full()).await;
    made(&world, &key, plain_with(json!({"uid": "taken"}))).await;
    let before = call(&world, &key, &path("GET", &endpoint), json!(null)).await.raw;
    let bad = json!({"name": "new", "url": "https://10.0.0.1/", "timeout_seconds": 0, "status": "DISABLED"});
    let answer = call(&world, &key, &path("PATCH", &endpoint), bad).await;
    assert_eq!(answer.refusal(422).1, ["url", "timeout_seconds", "status"]);
    for status in ["DISABLED", "active", ""] {
        let answer = call(&world, &key, &path("PATCH", &endpoint), json!({"status": status})).await;
        assert_eq!(answer.refusal(422).1, ["status"]);
    }
    let taken = call(
        &world,
        &key,
        &path("PATCH", &endpoint),
        json!({"name": "new", "uid": "taken"}),
    )
    .await;
    assert_eq!(taken.refusal(409).0, "uid_taken");
    assert_eq!(
        call(&world, &key, &path("GET", &endpoint), json!(null)).await.raw,
        before
    );
}

#[tokio::test]
async fn what_is_masked_keeps_its_value_when_it_is_sent_back() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let headers = json!({"Authorization": "Bearer abc", "X-Api-Key": "k1", "X-Team": "blue"});
    let endpoint = made(&world, &key, plain_with(json!({"headers_json": headers}))).await;
    let shown = json!({"Authorization": "***", "X-Api-Key": "***", "X-Team": "blue"});
    assert_eq!(endpoint["headers_json"], shown);
    let target = path("PATCH", &endpoint);
    let patch = |headers: Value| call(&world, &key, &target, json!({"headers_json": headers}));
    let stored = || {
        let headers = &in_snapshot(&world, &endpoint)
            .unwrap()
            .endpoint
            .settings
            .custom_headers;
        headers.pairs().to_vec()
    };
    let first_set = in_snapshot(&world, &endpoint).unwrap().header_set;

    patch(shown).await.expect(200);
    assert_eq!(stored()[0], ("Authorization".into(), "Bearer abc".into()));
    let unchanged = in_snapshot(&world, &endpoint).unwrap().header_set;
    assert_eq!(unchanged, first_set, "the same headers are no new version");

    patch(json!({"x-api-key": "***", "x-other": "1"}))
        .await
        .expect(200);
    assert_eq!(
        stored(),
        [("x-api-key".into(), "k1".into()), ("x-other".into(), "1".into())]
    );
    assert_ne!(in_snapshot(&world, &endpoint).unwrap().header_set, first_set);

    let nothing_stored = patch(json!({"Authorization": "***"})).await;
    assert_eq!(nothing_stored.refusal(422).1, ["headers_json.Authorization"]);
    patch(json!({})).await.expect(200);
    assert_eq!(
        (stored(), in_snapshot(&world, &endpoint).unwrap().header_set),
        (vec![], None)
    );
}

#[tokio::test]
async fn masks_do_not_smuggle_headers_past_their_size() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let large = "v".repeat(4_000);
    let headers = json!({"X-Key-1": large, "X-Key-2": large});
    let endpoint = made(&world, &key, plain_with(json!({"headers_json": headers}))).await;
    let more = json!({"headers_json": {"X-Key-1": "***", "X-Key-2": "***", "X-Third": large}});
    let answer = call(&world, &key, &path("PATCH", &endpoint), more).await;
    assert_eq!(answer.refusal(422).1, ["headers_json"]);
}

#[tokio::test]
async fn pausing_again_keeps_the_first_time_and_resuming_wakes_the_dispatcher() {
    let mut world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain()).await;
    let config = in_snapshot(&world, &endpoint).unwrap();
    let mut paused_at = Vec::new();
    for _ in 0..2 {
        world.clock.step(Duration::from_secs(60));
        let body = json!({"status": "PAUSED"});
        let paused = call(&world, &key, &path("PATCH", &endpoint), body)
            .await
            .expect(200);
        paused_at.push((paused["paused_at"].clone(), paused["updated_at"].clone()));
    }
    assert_eq!(paused_at[0].0, json!("2024-01-01T00:01:00Z"));
    assert_eq!(
        paused_at[1],
        (json!("2024-01-01T00:01:00Z"), json!("2024-01-01T00:02:00Z"))
    );
    let at = Timestamp::parse_iso("2024-01-01T00:01:00Z").unwrap();
    assert_eq!(
        in_snapshot(&world, &endpoint).unwrap().endpoint.status,
        Status::Paused { at }
    );
    assert!(world.fresh.try_next().is_none());

    for _ in 0..2 {
        call(
            &world,
            &key,
            &path("PATCH", &endpoint),
            json!({"status": "ACTIVE"}),
        )
        .await
        .expect(200);
    }
    let Some(Handover::Waiting(waiting)) = world.fresh.next().await else {
        panic!("the dispatcher was told nothing");
    };
    assert_eq!(
        (waiting[0].endpoint, waiting[0].shard),
        (config.endpoint.id.n(), config.shard)
    );
    // What follows a later change in the queue would be there by now: it was told once.
    made(&world, &key, plain()).await;
    assert!(world.fresh.try_next().is_none());
}

#[tokio::test]
async fn every_change_makes_the_tenant_match_again() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let endpoint = made(&world, &key, plain()).await;
    let tenant = in_snapshot(&world, &endpoint).unwrap().endpoint.tenant;
    let version = || world.store.config().tenant(tenant).unwrap().version;
    let mut last = version();
    for (verb, below, body) in [
        ("PATCH", "", json!({"events": ["a"]})),
        ("POST", "/rotate-secret", json!({})),
        ("DELETE", "", json!(null)),
    ] {
        let target = format!("{}{below}", path(verb, &endpoint));
        let answer = call(&world, &key, &target, body).await;
        assert!(answer.status < 300, "{}", answer.raw);
        assert!(version() > last, "{target}");
        last = version();
    }
    assert!(
        world
            .store
            .config()
            .tenant(tenant)
            .unwrap()
            .endpoints()
            .is_empty()
    );
}
