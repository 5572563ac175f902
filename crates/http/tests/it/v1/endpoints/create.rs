//! Making endpoints: fields, defaults, limits, repetitions.

use super::{PAIR, call, in_snapshot, made, path, plain, plain_with, send, send_text};
use crate::world::World;
use serde_json::{Value, json};
use stentor_domain::limits::ENDPOINTS_PER_TENANT_MAX;
use stentor_engine::Settings;

#[tokio::test]
async fn every_bad_value_is_refused_by_the_name_of_its_field() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let long = |length: usize| "x".repeat(length);
    let mismatched = PAIR.replace("Kvg==", "Kvw==");
    let cases = [
        (json!({"name": ""}), "name"),
        (json!({"name": long(256)}), "name"),
        (json!({"name": 5}), "name"),
        (json!({"name": null}), "name"),
        (json!({"url": null}), "url"),
        (json!({"url": "http://example.com/"}), "url"),
        (json!({"url": "https://127.0.0.1/"}), "url"),
        (json!({"url": "https://localhost/"}), "url"),
        (json!({"url": "https://user:pass@example.com/"}), "url"),
        (
            json!({"url": format!("https://example.com/{}", long(2_064))}),
            "url",
        ),
        (json!({"secret": "fifteen letters"}), "secret"),
        (json!({"secret": long(256)}), "secret"),
        (json!({"secret": "whsec_c2hvcnQgc2hvcnQ="}), "secret"),
        (json!({"headers_json": []}), "headers_json"),
        (json!({"headers_json": "{}"}), "headers_json"),
        (json!({"headers_json": {"X-Team": 5}}), "headers_json.X-Team"),
        (json!({"headers_json": {"X-Team": null}}), "headers_json.X-Team"),
        (json!({"headers_json": {"Host": "evil"}}), "headers_json.Host"),
        (
            json!({"headers_json": {"webhook-id": "evil"}}),
            "headers_json.webhook-id",
        ),
        (
            json!({"headers_json": {"X-Team": "a\r\nb: c"}}),
            "headers_json.X-Team",
        ),
        (
            json!({"headers_json": {"X-Team": "a", "x-team": "b"}}),
            "headers_json.x-team",
        ),
        (json!({"headers_json": {"X-Team": "***"}}), "headers_json.X-Team"),
        (json!({"timeout_seconds": 0}), "timeout_seconds"),
        (json!({"timeout_seconds": 61}), "timeout_seconds"),
        (json!({"timeout_seconds": -1}), "timeout_seconds"),
        (json!({"timeout_seconds": 65_546}), "timeout_seconds"),
        (json!({"timeout_seconds": 9.5}), "timeout_seconds"),
        (json!({"timeout_seconds": "10"}), "timeout_seconds"),
        (json!({"description": long(1_001)}), "description"),
        (json!({"description": "a\0b"}), "description"),
        (json!({"events": []}), "events"),
        (json!({"events": ["*", "a"]}), "events"),
        (json!({"events": ["a", "b c"]}), "events.1"),
        (json!({"events": "a"}), "events"),
        (json!({"channels": []}), "channels"),
        (json!({"channels": "eu"}), "channels"),
        (json!({"channels": ["eu", "a b"]}), "channels.1"),
        (json!({"channels": vec!["eu"; 11]}), "channels"),
        (json!({"filter": []}), "filter"),
        (json!({"filter": "{}"}), "filter"),
        (json!({"filter": {"a": {"$regex": "(a+)+$"}}}), "filter.a.$regex"),
        (
            json!({"filter": {"$or": [{"a": 1}, {"b.c": {"$gt": true}}]}}),
            "filter.$or.1.b.c.$gt",
        ),
        (json!({"filter": {"a": long(4_096)}}), "filter"),
        (json!({"uid": "ep_mine"}), "uid"),
        (json!({"uid": "a b"}), "uid"),
        (json!({"uid": long(257)}), "uid"),
        (json!({"metadata": [1]}), "metadata"),
        (json!({"metadata": {"x": long(4_096)}}), "metadata"),
        (json!({"retry_schedule": [5, 0]}), "retry_schedule.1"),
        (json!({"retry_schedule": [604_801]}), "retry_schedule.0"),
        (
            json!({"retry_schedule": [-5_000_000_000_i64]}),
            "retry_schedule.0",
        ),
        (json!({"retry_schedule": vec![1; 65]}), "retry_schedule"),
        (json!({"retry_anchor": "last"}), "retry_anchor"),
        (json!({"header_styles": []}), "header_styles"),
        (json!({"header_styles": ["v1"]}), "header_styles"),
        (json!({"header_styles": ["standard", "v2"]}), "header_styles.1"),
        (
            json!({"header_styles": ["standard", "prefix:svix"]}),
            "header_styles.1",
        ),
        (
            json!({"header_styles": ["standard", "v1", "apps"]}),
            "header_styles.2",
        ),
        (json!({"secret": "whsk_your_signing_secret"}), "secret"),
        (json!({"secret": mismatched}), "secret"),
        (
            json!({"secret": PAIR, "header_styles": ["standard", "github"]}),
            "secret",
        ),
        (json!({"max_in_flight": 0}), "max_in_flight"),
        (json!({"max_in_flight": 1_001}), "max_in_flight"),
        (json!({"rate_limit": 0}), "rate_limit"),
        (json!({"rate_limit": 10_001}), "rate_limit"),
    ];
    for (fields, field) in cases {
        let answer = call(&world, &key, "POST /v1/endpoints", plain_with(fields.clone())).await;
        assert_eq!(
            answer.refusal(422),
            ("invalid_request".into(), vec![field.into()]),
            "{fields}"
        );
    }
    assert_eq!(
        call(&world, &key, "GET /v1/endpoints", json!(null)).await.raw,
        "[]"
    );
}

#[tokio::test]
async fn a_caller_hears_of_all_faults_at_once() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let body = json!({"secret": "short", "timeout_seconds": 99, "events": ["b c"], "uid": "ep_x"});
    let answer = call(&world, &key, "POST /v1/endpoints", body).await;
    assert_eq!(
        answer.refusal(422).1,
        ["name", "url", "secret", "timeout_seconds", "events.0", "uid"]
    );
    let nothing = call(&world, &key, "POST /v1/endpoints", Value::Null).await;
    assert_eq!(nothing.refusal(422).1, ["name", "url"]);

    let wrong = json!({
        "name": 7, "url": [], "secret": {}, "headers_json": {"X-A": 1}, "timeout_seconds": "10",
        "events": ["a", false], "uid": "ep_x", "metadata": [], "retry_schedule": [1.5], "max_in_flight": true,
        "rate_limit": "5", "ordered": 1,
    });
    let answer = call(&world, &key, "POST /v1/endpoints", wrong).await;
    insta::assert_snapshot!(told(&answer.expect(422)), @r"
    name: must be a string
    url: must be a string
    secret: must be a string
    headers_json.X-A: must be a string
    timeout_seconds: must be an integer
    events.1: must be a string
    retry_schedule.0: must be an integer
    max_in_flight: must be an integer
    rate_limit: must be an integer
    ordered: must be a boolean
    uid: must not start with ep_
    metadata: must be a JSON object
    ");
}

/// Each bad field and its rule, a line each.
fn told(problem: &Value) -> String {
    let errors = problem["errors"].as_array().unwrap().iter();
    let lines = errors.map(|error| format!("{}: {}", error["field"], error["message"]).replace('"', ""));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let body = plain_with(json!({"colour": "blue", "number": 99, "status": "PAUSED"}));
    let made = made(&world, &key, body).await;
    assert_eq!((&made["number"], &made["status"]), (&json!(1), &json!("ACTIVE")));
}

#[tokio::test]
async fn values_at_their_limits_come_back_as_they_were_sent() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let fields = json!({
        "name": "ü".repeat(255),
        "url": format!("https://example.com/{}", "x".repeat(2_063)),
        "secret": "x".repeat(255),
        "headers_json": {"X-B": "2", "X-A": "v".repeat(4_093)},
        "timeout_seconds": 60,
        "description": "ü\n".repeat(500),
        "events": ["order.completed", "order.*"],
        "channels": ["eu", "x".repeat(128), "3", "4", "5", "6", "7", "8", "9", "10"],
        "uid": "x".repeat(256),
        "metadata": {"deep": {"list": [1, null]}},
        "retry_schedule": vec![604_800; 64],
        "retry_anchor": "first",
        "max_in_flight": 1_000,
        "rate_limit": 10_000,
        "ordered": true
    });
    let endpoint = made(&world, &key, fields.clone()).await;
    let again = call(&world, &key, &path("GET", &endpoint), json!(null)).await;
    let shown = again.expect(200);
    for (name, value) in fields.as_object().unwrap() {
        match name.as_str() {
            "secret" => assert!(shown.get("secret").is_none() && endpoint.get("secret").is_none()),
            _ => assert_eq!(&shown[name], value),
        }
    }
    let endpoint = made(
        &world,
        &key,
        plain_with(json!({"retry_schedule": [], "description": ""})),
    )
    .await;
    assert_eq!(
        (&endpoint["retry_schedule"], &endpoint["description"]),
        (&json!([]), &json!(null))
    );
}

#[tokio::test]
async fn headers_keep_their_order_and_none_is_given_twice() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let create = |headers: &str| {
        let body = format!("{{\"name\":\"n\",\"url\":\"https://example.com/\",\"headers_json\":{headers}}}");
        send_text(&world, &key, "POST /v1/endpoints", &[], body)
    };
    let headers = "{\"X-B\":\"2\",\"X-A\":\"1\"}";
    let answer = create(headers).await;
    assert!(answer.raw.contains(headers), "{}", answer.raw);
    let twice = create("{\"X-A\":\"1\",\"X-A\":\"1\"}").await;
    assert_eq!(twice.refusal(422).1, ["headers_json.X-A"]);
    let malformed = create("{\"X-A\":\"1\"").await;
    assert_eq!(malformed.refusal(400).0, "malformed_json");
}

#[tokio::test]
async fn a_uid_is_free_again_once_its_endpoint_is_deleted_but_the_number_is_not() {
    let world = World::start().await;
    let (acme, other) = (world.tenant_key("acme").await, world.tenant_key("other").await);
    let body = plain_with(json!({"uid": "orders"}));
    let first = made(&world, &acme, body.clone()).await;
    let taken = call(&world, &acme, "POST /v1/endpoints", body.clone()).await;
    assert_eq!(taken.refusal(409).0, "uid_taken");
    made(&world, &other, body.clone()).await;
    call(&world, &acme, &path("DELETE", &first), json!(null))
        .await
        .expect(204);
    assert_eq!(made(&world, &acme, body).await["number"], json!(2));
}

#[tokio::test]
async fn a_crowd_of_requests_makes_no_more_endpoints_than_the_tenant_may_have() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let create = || call(&world, &key, "POST /v1/endpoints", plain());
    let answers = futures_util::future::join_all((0..60).map(|_| create())).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, usize::try_from(ENDPOINTS_PER_TENANT_MAX).unwrap());
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!(refused.refusal(409).0, "endpoint_limit_reached");
    }
    let list = call(&world, &key, "GET /v1/endpoints", json!(null))
        .await
        .expect(200);
    let mut numbers: Vec<i64> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["number"].as_i64().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=50).collect::<Vec<_>>());
    call(&world, &key, &path("DELETE", &list[7]), json!(null))
        .await
        .expect(204);
    assert_eq!(create().await.status, 201);
}

#[tokio::test]
async fn the_limit_is_the_operators_and_each_tenants_own() {
    let settings = Settings {
        endpoints_per_tenant_max: 1,
        ..Settings::default()
    };
    let world = World::start_with(settings).await;
    for uid in ["acme", "other"] {
        let key = world.tenant_key(uid).await;
        made(&world, &key, plain()).await;
        let one_more = call(&world, &key, "POST /v1/endpoints", plain()).await;
        assert_eq!(one_more.refusal(409).0, "endpoint_limit_reached");
    }
}

#[tokio::test]
async fn a_repeated_request_makes_nothing_and_does_not_show_the_secret_again() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    world.tenant_key("other").await;
    let once = [("idempotency-key", "k1")];
    let first = send(&world, &key, "POST /v1/endpoints", &once, plain()).await;
    let again = send(&world, &key, "POST /v1/endpoints", &once, plain()).await;
    let mut expected = first.expect(201);
    assert!(expected.as_object_mut().unwrap().remove("secret").is_some());
    assert_eq!(again.expect(201), expected);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let other_body = plain_with(json!({"name": "x"}));
    let conflict = send(&world, &key, "POST /v1/endpoints", &once, other_body).await;
    assert_eq!(conflict.refusal(409).0, "idempotency_key_reused");

    let for_other = [("idempotency-key", "k1"), ("x-tenant", "other")];
    let elsewhere = send(&world, &world.root, "POST /v1/endpoints", &for_other, plain()).await;
    assert_ne!(
        elsewhere.expect(201)["id"],
        expected["id"],
        "the tenant acted for is in the scope"
    );
}

#[tokio::test]
async fn a_new_endpoint_is_in_the_snapshot_when_the_answer_is_there_and_after_a_restart() {
    let world = World::start().await;
    let key = world.tenant_key("acme").await;
    let body = plain_with(json!({"headers_json": {"X-Api-Key": "s3cret-value"}, "retry_schedule": [7]}));
    let endpoint = made(&world, &key, body).await;
    let before = in_snapshot(&world, &endpoint).unwrap();
    assert_eq!(
        before.secrets[0].secret.expose(),
        endpoint["secret"].as_str().unwrap()
    );
    assert_eq!(
        before.endpoint.settings.custom_headers.pairs()[0].1,
        "s3cret-value"
    );
    let gone = made(&world, &key, plain()).await;
    call(&world, &key, &path("DELETE", &gone), json!(null))
        .await
        .expect(204);

    let world = world.restart().await;
    let after = in_snapshot(&world, &endpoint).unwrap();
    assert_eq!(after.endpoint, before.endpoint);
    assert_eq!(
        (&after.secrets, after.shard, after.header_set),
        (&before.secrets, before.shard, before.header_set)
    );
    assert!(in_snapshot(&world, &gone).is_none());
}
