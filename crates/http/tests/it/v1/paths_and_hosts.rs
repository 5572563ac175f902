//! Which host and which path a request is for, whatever it asks there.

use crate::world::World;
use axum::body::Body;
use http::header::CONTENT_LENGTH;
use http::{Request, Response, Version};
use serde_json::{Value, json};
use std::num::NonZeroU32;
use stentor_http::{App, AppSettings, Front, RequestQuotas};
use tower::ServiceExt as _;

/// The status that a server of those hosts answers.
async fn status(world: &World, request: http::request::Builder) -> u16 {
    answer(world, request).await.status().as_u16()
}

/// What a server of those hosts answers.
async fn answer(world: &World, request: http::request::Builder) -> Response<Body> {
    let settings = AppSettings {
        public_hosts: vec!["hooks.example.com".into(), "[::1]".into()],
        ..AppSettings::default()
    };
    let app = App::new(world.engine.clone(), settings);
    let request = request
        .header("x-api-key", &world.root)
        .body(Body::empty())
        .unwrap();
    Front::new(app).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn only_the_hosts_that_the_operator_named_are_answered_for() {
    let world = World::start().await;
    for (host, expected) in [
        ("hooks.example.com", 200),
        ("Hooks.Example.com:8080", 200),
        ("[::1]", 200),
        ("[::1]:8080", 200),
        ("[::2]", 421),
        ("example.com", 421),
        ("", 421),
    ] {
        let request = Request::get("/v1/tenants").header("host", host);
        assert_eq!(status(&world, request).await, expected, "{host}");
    }
    assert_eq!(status(&world, Request::get("/v1/tenants")).await, 421);
    let nowhere = Request::get("/nothing").header("host", "example.com");
    assert_eq!(status(&world, nowhere).await, 421);
    for path in ["/healthz", "/healthz/"] {
        assert_eq!(status(&world, Request::get(path)).await, 200, "{path}");
    }
}

#[tokio::test]
async fn each_contract_says_in_its_own_words_that_it_does_not_answer_for_a_host() {
    let world = World::start().await;
    for (path, media_type) in [
        ("/v1/tenants", "application/problem+json"),
        ("/webhooks", "application/json"),
    ] {
        let request = Request::get(path).header("host", "example.com");
        let refused = answer(&world, request).await;
        assert_eq!(refused.status().as_u16(), 421);
        assert_eq!(refused.headers()["content-type"], media_type, "{path}");
    }
}

#[tokio::test]
async fn a_trailing_slash_does_not_lose_the_host_of_an_http2_request() {
    let world = World::start().await;
    for path in ["/v1/tenants", "/v1/tenants/", "/v1/tenants/?limit=1"] {
        let request = Request::get(format!("http://hooks.example.com{path}")).version(Version::HTTP_2);
        assert_eq!(status(&world, request).await, 200, "{path}");
    }
}

/// What is answered to a publish at this path: the status, the headers and what the document has.
async fn published_at(world: &World, path: &str, body: Value) -> String {
    let answer = world.root().and("x-tenant", "acme").post(path, body).await;
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        // The connection says it where the router has not.
        .filter(|(name, _)| *name != CONTENT_LENGTH)
        .collect();
    headers.sort_by_key(|(name, _)| name.as_str());
    let fields: Vec<_> = answer.body.as_object().unwrap().keys().collect();
    format!("{} {headers:?} {fields:?}", answer.status)
}

#[tokio::test]
async fn a_publish_is_answered_alike_on_its_short_way_and_through_the_router() {
    let mut world = World::start().await;
    world.tenant("default", "acme").await;
    let bodies = [
        json!({ "type": "order.paid", "payload": {} }),
        json!({ "type": "order paid", "payload": {} }),
        json!([]),
    ];
    let mut answers = vec![];
    for path in ["/v1/events", "/v1/events/"] {
        for body in bodies.clone() {
            answers.push(published_at(&world, path, body).await);
        }
    }
    let quotas = RequestQuotas {
        v1: NonZeroU32::new(1_000),
        ..RequestQuotas::default()
    };
    world.serve(quotas, Front::new);
    for body in bodies.clone() {
        answers.push(published_at(&world, "/v1/events", body).await);
    }
    let (short, others) = answers.split_at(bodies.len());
    for other in others.chunks(bodies.len()) {
        assert_eq!(short, other);
    }
    let statuses: Vec<_> = short.iter().map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["202", "422", "422"]);
}

#[tokio::test]
async fn publishing_takes_no_other_method() {
    let world = World::start().await;
    for path in ["/v1/events", "/v1/events/"] {
        let refused = world.root().delete(path).await;
        assert_eq!(refused.verdict(), (405, "method_not_allowed"), "{path}");
        assert_eq!(refused.headers["allow"], "POST,GET,HEAD", "{path}");
    }
}

#[tokio::test]
async fn an_id_that_is_no_text_is_refused_as_one_that_does_not_exist() {
    let world = World::start().await;
    for path in [
        "tenants",
        "endpoints",
        "events",
        "deliveries",
        "event-types",
        "projects",
    ] {
        let refused = world.root().get(&format!("/v1/{path}/%FF")).await;
        assert_eq!(refused.verdict(), (404, "not_found"), "{path}: {}", refused.raw);
    }
}
