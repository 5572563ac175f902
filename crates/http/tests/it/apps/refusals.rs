//! How the contract says no, and to whom.

use super::{WEBHOOKS, code, data, listed, made, path, plain, refused, text, world};
use axum::body::Body;
use http::Method;
use serde_json::{Value, json};
use stentor_domain::limits::{ENDPOINTS_PER_TENANT_MAX, SUBSCRIPTION_TYPES_MAX, URL_CHARACTERS_MAX};

/// Every operation, for the webhooks at `webhooks` and the endpoint at `endpoint`.
fn operations(webhooks: &str, endpoint: &str) -> [(String, Value); 7] {
    [
        (format!("GET {webhooks}"), Value::Null),
        (format!("GET {endpoint}/deliveries"), Value::Null),
        (format!("POST {webhooks}"), plain()),
        (format!("PUT {endpoint}"), json!({"events": ["*"]})),
        (format!("POST {endpoint}/rotate-secret"), Value::Null),
        (format!("POST {endpoint}/test-ping"), Value::Null),
        (format!("DELETE {endpoint}"), Value::Null),
    ]
}
/// As many of them read only.
const READS: usize = 2;

#[tokio::test]
async fn nobody_gets_in_without_a_key_that_is_valid_and_a_reader_changes_nothing() {
    let (world, key) = world().await;
    let made = made(&world.with(&key), plain()).await;
    let body = json!({"role": "tenant", "tenant": "acme", "read_only": true});
    let reader = world.key(body.clone()).await;
    let revoked = world.key(body).await;
    let revoke = format!("/v1/keys/{}", revoked.text("id"));
    world.root().delete(&revoke).await.expect(204);
    let (reader, revoked) = (reader.text("key"), revoked.text("key"));
    for (at, (operation, body)) in operations(WEBHOOKS, &path(&made)).into_iter().enumerate() {
        for headers in [
            vec![],
            vec![("x-api-key", "stn_tenant_x")],
            vec![("x-api-key", &*revoked)],
            vec![("x-api-key", &*key), ("authorization", "Bearer other")],
        ] {
            let answer = world.with_headers(headers).call(&operation, body.clone()).await;
            match answer.status {
                429 => assert_eq!(code(&answer, 429), "too_many_failed_authentications"),
                _ => assert_eq!(code(&answer, 401), "unauthenticated", "{operation}"),
            }
        }
        let answer = world.with(&reader).call(&operation, body).await;
        match at < READS {
            true => drop(data(&answer, 200)),
            false => assert_eq!(code(&answer, 403), "forbidden", "{operation}"),
        }
    }
    assert_eq!(listed(&world.with(&key)).await[0]["events"], made["events"]);
}

#[tokio::test]
async fn what_is_not_the_callers_does_not_exist_whatever_the_request_names() {
    let (world, key) = world().await;
    let made = made(&world.with(&key), plain()).await;
    let id = text(&made, "id");
    let tenant = world.root().get("/v1/tenants/acme").await.text("id");
    let other = world.tenant_key("other").await;
    world.project("shop").await;
    let shop = world.key(json!({"role": "project", "project": "shop"})).await;
    let shop = shop.text("key");
    let own = vec![("x-api-key", key.as_str()), ("x-tenant", "other")];
    let root = vec![("x-api-key", world.root.as_str()), ("x-tenant", "other")];
    let unknown = vec![("x-api-key", world.root.as_str()), ("x-tenant", "nobody")];
    for (headers, app) in [
        (vec![("x-api-key", other.as_str())], "acme"),
        (vec![("x-api-key", &other)], &tenant),
        (vec![("x-api-key", &shop)], "acme"),
        (vec![("x-api-key", &shop)], &tenant),
        (vec![("x-api-key", &key)], "other"),
        (vec![("x-api-key", &key)], "ACME"),
        (vec![("x-api-key", &key)], "%ff"),
        (vec![("x-api-key", &key)], &tenant["ten_".len()..]),
        (own, "acme"),
        (root, "acme"),
        (unknown, "acme"),
    ] {
        let webhooks = format!("/apps/{app}/webhooks");
        for (operation, body) in operations(&webhooks, &format!("{webhooks}/{id}")) {
            let answer = world.with_headers(headers.clone()).call(&operation, body).await;
            assert_eq!(code(&answer, 404), "not_found", "{operation}");
        }
    }
    // An endpoint is its own app's alone, also for who reaches both.
    for (operation, body) in operations("/apps/other/webhooks", &format!("/apps/other/webhooks/{id}")) {
        if operation.contains(&id) {
            let answer = world.root().call(&operation, body).await;
            assert_eq!(code(&answer, 404), "not_found", "{operation}");
        }
    }
    assert_eq!(listed(&world.with(&key)).await[0]["events"], made["events"]);
}

#[tokio::test]
async fn a_project_key_reaches_every_app_of_its_project_and_a_root_key_those_of_the_project_it_names() {
    let (world, _) = world().await;
    world.project("shop").await;
    let tenant = world.tenant("shop", "acme").await;
    let shop = world.key(json!({"role": "project", "project": "shop"})).await;
    let (project, shop) = (world.root(), shop.text("key"));
    let made = data(&world.with(&shop).post(WEBHOOKS, plain()).await, 201);
    assert_eq!(data(&project.get(WEBHOOKS).await, 200), json!([]));
    for app in ["acme", &tenant] {
        let list = format!("/apps/{app}/webhooks");
        assert_eq!(
            data(&world.with(&shop).get(&list).await, 200)[0]["id"],
            made["id"]
        );
        let named = format!("{list}?project=shop");
        assert_eq!(data(&world.root().get(&named).await, 200)[0]["id"], made["id"]);
        let same = world.with(&shop).and("x-tenant", "acme").get(&list).await;
        assert_eq!(data(&same, 200)[0]["id"], made["id"]);
    }
}

#[tokio::test]
async fn an_id_in_another_spelling_and_one_that_is_deleted_name_nothing() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let [kept, deleted] = [made(&asker, plain()).await, made(&asker, plain()).await];
    assert_eq!(asker.delete(&path(&deleted)).await.status, 204);
    let id = text(&kept, "id");
    for id in [
        text(&deleted, "id"),
        format!("ep_{id}"),
        id.to_uppercase(),
        id.replace('-', ""),
        format!("{id}0"),
        id.replacen('0', "1", 1),
        "%ff".into(),
        "1".into(),
        "x".repeat(10_000),
    ] {
        for (operation, body) in operations(WEBHOOKS, &format!("{WEBHOOKS}/{id}")) {
            if operation.contains(&id) {
                let answer = asker.call(&operation, body).await;
                assert_eq!(code(&answer, 404), "not_found", "{operation}");
            }
        }
    }
    assert_eq!(listed(&asker).await.len(), 1);
}

#[tokio::test]
async fn the_first_field_at_fault_is_named_and_the_message_tells_of_all() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let made = made(&asker, plain()).await;
    let (post, put) = (format!("POST {WEBHOOKS}"), format!("PUT {}", path(&made)));
    let long = format!("https://example.com/{}", "x".repeat(URL_CHARACTERS_MAX));
    for (operation, body, field, told) in [
        (
            &post,
            json!({}),
            "url",
            vec!["url: is required", "events: must name"],
        ),
        (
            &post,
            json!({"url": "https://example.com/"}),
            "events",
            vec!["events: must name"],
        ),
        (
            &post,
            json!({"url": null, "events": null}),
            "url",
            vec!["url: is required", "events: must name"],
        ),
        (
            &post,
            json!({"url": 1, "events": "*"}),
            "url",
            vec!["url: must be a string", "events: must be an array"],
        ),
        (&post, json!([1]), "body", vec!["body: must be an object"]),
        (&put, json!({"url": null}), "url", vec!["url: must not be null"]),
        (
            &put,
            json!({"events": null, "active": null}),
            "events",
            vec!["events: must not", "active: must not"],
        ),
        (
            &put,
            json!({"active": "true"}),
            "active",
            vec!["active: must be a boolean"],
        ),
        (
            &put,
            json!({"events": []}),
            "events",
            vec!["events: must name at least one"],
        ),
        (&put, json!({"events": ["*", "a"]}), "events", vec!["events: "]),
        (
            &put,
            json!({"events": ["a", "b c"]}),
            "events.1",
            vec!["events.1: must be dot-separated"],
        ),
        (
            &put,
            json!({"events": ["order.*", "order*"]}),
            "events.1",
            vec!["order.*"],
        ),
        (
            &put,
            json!({"events": ["a".repeat(256)]}),
            "events.0",
            vec!["events.0: must be 1 to 255"],
        ),
        (
            &put,
            json!({"events": vec!["a"; SUBSCRIPTION_TYPES_MAX + 1]}),
            "events",
            vec!["at most"],
        ),
        (
            &put,
            json!({"url": "http://example.com/"}),
            "url",
            vec!["must start with https://"],
        ),
        (
            &put,
            json!({"url": "https://10.0.0.1/"}),
            "url",
            vec!["not a public destination"],
        ),
        (&put, json!({"url": "https://localhost/"}), "url", vec!["url: "]),
        (&put, json!({"url": long}), "url", vec!["longer than"]),
    ] {
        let answer = asker.call(operation, body.clone()).await;
        let (code, message, named) = refused(&answer, 422);
        assert_eq!(
            (code.as_str(), named.as_deref()),
            ("invalid_request", Some(field)),
            "{body}"
        );
        for part in told {
            assert!(message.contains(part), "{message}");
        }
    }
    assert_eq!(listed(&asker).await[0]["events"], made["events"]);
}

#[tokio::test]
async fn what_stands_at_a_limit_is_taken() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let host = "https://example.com/";
    let url = format!("{host}{}", "x".repeat(URL_CHARACTERS_MAX - host.len()));
    let names: Vec<_> = (0..SUBSCRIPTION_TYPES_MAX - 1)
        .map(|number| format!("event.{number}"))
        .chain(["a".repeat(255)])
        .collect();
    let shown = made(&asker, json!({"url": url, "events": names})).await;
    assert_eq!((&shown["url"], &shown["events"]), (&json!(url), &json!(names)));
    for _ in 1..ENDPOINTS_PER_TENANT_MAX {
        made(&asker, plain()).await;
    }
    let (code, message, field) = refused(&asker.post(WEBHOOKS, plain()).await, 409);
    assert_eq!((code.as_str(), field), ("endpoint_limit_reached", None));
    assert!(message.contains("as many webhooks as it may"), "{message}");
}

#[tokio::test]
async fn paths_methods_and_bodies_that_nothing_takes_are_refused_in_the_same_words() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    let made = made(&asker, plain()).await;
    let path = path(&made);
    for (operation, allowed) in [
        (format!("PATCH {WEBHOOKS}"), vec!["GET", "HEAD", "POST"]),
        (format!("GET {path}/"), vec!["DELETE", "PUT"]),
        (format!("GET {path}/rotate-secret"), vec!["POST"]),
        (format!("DELETE {path}/test-ping"), vec!["POST"]),
        (format!("POST {path}/deliveries"), vec!["GET", "HEAD"]),
    ] {
        let answer = asker.call(&operation, Value::Null).await;
        assert_eq!(code(&answer, 405), "method_not_allowed", "{operation}");
        let mut told: Vec<_> = answer.headers["allow"].to_str().unwrap().split(',').collect();
        told.sort_unstable();
        assert_eq!(told, allowed, "{operation}");
    }
    for unknown in [
        "/apps",
        "/apps/",
        "/apps/acme",
        "/apps/acme/webhook",
        "/apps//webhooks",
    ] {
        assert_eq!(code(&asker.get(unknown).await, 404), "not_found", "{unknown}");
    }
    assert_eq!(
        asker.get("/appsx").await.headers["content-type"],
        "application/problem+json"
    );
    for read in [WEBHOOKS.to_owned(), format!("{path}/deliveries")] {
        let head = asker.ask(Method::HEAD, &read, Body::empty()).await;
        assert_eq!((head.status, head.raw.as_str()), (200, ""), "{read}");
    }

    let malformed = asker.ask(Method::POST, WEBHOOKS, Body::from("{")).await;
    assert_eq!(code(&malformed, 400), "malformed_json");
    let encoded = asker.clone().and("content-encoding", "gzip");
    let answer = encoded.post(WEBHOOKS, plain()).await;
    assert_eq!(code(&answer, 415), "unsupported_content_encoding");
    let large = json!({"padding": "x".repeat(300 * 1024)});
    assert_eq!(code(&asker.post(WEBHOOKS, large).await, 413), "payload_too_large");
    let long = "k".repeat(257);
    let keyed = asker.clone().and("idempotency-key", &long);
    let (_, message, field) = refused(&keyed.post(WEBHOOKS, plain()).await, 422);
    assert_eq!(field.as_deref(), Some("Idempotency-Key"));
    assert!(message.contains("1 to 256"), "{message}");
}

#[tokio::test]
async fn a_database_that_is_away_is_told_in_the_same_words() {
    let (world, key) = world().await;
    let made = made(&world.with(&key), plain()).await;
    world.store.close().await;
    // Reading may still do.
    for (operation, body) in operations(WEBHOOKS, &path(&made)).into_iter().skip(READS) {
        let answer = world.with(&key).call(&operation, body).await;
        assert_eq!(code(&answer, 503), "unavailable", "{operation}");
        assert!(answer.headers.contains_key("retry-after"), "{operation}");
    }
}
