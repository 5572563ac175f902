//! Which host and which path a request is for, whatever it asks there.

use crate::world::World;
use axum::body::Body;
use http::{Request, Response, Version};
use stentor_http::{App, AppSettings, router};
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
    router(app).oneshot(request).await.unwrap()
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
    assert_eq!(status(&world, Request::get("/healthz")).await, 200);
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
