//! The limits that contracts document, before a few routes of no contract.

use crate::world::{Answer, Asker, FAILURES_PER_MINUTE, World};
use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use futures_util::future::join_all;
use http::Method;
use serde_json::json;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use stentor_http::problem::with_fallbacks;
use stentor_http::rate_limit::{self, APPS, ORGANIZATION, Rule, SUBSCRIPTIONS, V1};
use stentor_http::{App, RequestQuotas};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

const SECOND: Duration = Duration::from_secs(1);
/// The stepped clock's first instant.
const START: u64 = 1_704_067_200;

#[utoipa::path(get, path = "/things")]
async fn list() {}

#[utoipa::path(post, path = "/things")]
async fn create() -> StatusCode {
    StatusCode::CREATED
}

/// Answers whatever status the path names.
#[utoipa::path(get, path = "/things/{status}")]
async fn read(Path(status): Path<u16>) -> StatusCode {
    StatusCode::from_u16(status).unwrap()
}

#[utoipa::path(patch, path = "/things/{status}")]
async fn change() {}

/// What to answer to wrong methods is set after the limit, as contracts do.
fn things(app: App, rule: &'static dyn Rule) -> Router {
    let routes = OpenApiRouter::<App>::new()
        .routes(routes!(list, create))
        .routes(routes!(read, change));
    let routes = rate_limit::before(&app, rule, routes);
    with_fallbacks(routes.into()).with_state(app)
}

/// A server of things, and the keys of two tenants.
async fn world(rule: &'static dyn Rule, quotas: RequestQuotas) -> (World, [String; 2]) {
    let mut world = World::start().await;
    let keys = [world.tenant_key("acme").await, world.tenant_key("ajax").await];
    world.serve(quotas, |app| things(app, rule));
    (world, keys)
}

async fn documented(rule: &'static dyn Rule) -> (World, [String; 2]) {
    world(rule, RequestQuotas::default()).await
}

/// The headers that tell of a limit, in the order of their names.
fn told(answer: &Answer) -> Vec<String> {
    let tells = |name: &str| name.contains("ratelimit") || name == "retry-after";
    let mut lines: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| tells(name.as_str()))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines
}

/// Asks so often; answers how often it was admitted.
async fn admitted(asker: &Asker<'_>, operation: &str, times: usize) -> usize {
    let mut count = 0;
    for _ in 0..times {
        count += usize::from(asker.call(operation, json!(null)).await.status != 429);
    }
    count
}

#[tokio::test]
async fn subscriptions_admits_the_fiftieth_request_and_refuses_the_next_until_the_first_is_a_minute_old() {
    let (world, [key, _]) = documented(SUBSCRIPTIONS).await;
    let asker = world.with(&key);
    let first = asker.get("/things").await;
    insta::assert_snapshot!(told(&first).join("\n"), @r#"
    ratelimit-policy: "default";q=50;w=60
    ratelimit: "default";r=49;t=60
    x-ratelimit-limit: 50
    x-ratelimit-remaining: 49
    "#);
    world.clock.step(10 * SECOND);
    assert_eq!(admitted(&asker, "GET /things", 48).await, 48);
    let last = asker.get("/things").await;
    assert_eq!(last.status, 200);
    insta::assert_snapshot!(told(&last).join("\n"), @r#"
    ratelimit-policy: "default";q=50;w=60
    ratelimit: "default";r=0;t=50
    x-ratelimit-limit: 50
    x-ratelimit-remaining: 0
    "#);
    world.clock.step(Duration::from_millis(100));
    let refused = asker.get("/things").await;
    assert_eq!(refused.verdict(), (429, "rate_limited"));
    insta::assert_snapshot!(told(&refused).join("\n"), @r#"
    ratelimit-policy: "default";q=50;w=60
    ratelimit: "default";r=0;t=50
    retry-after: 50
    x-ratelimit-limit: 50
    x-ratelimit-remaining: 0
    "#);
    world.clock.step(Duration::from_micros(49_899_999));
    assert_eq!(asker.get("/things").await.status, 429);
    world.clock.step(Duration::from_micros(1));
    assert_eq!(admitted(&asker, "GET /things", 2).await, 1);
}

#[tokio::test]
async fn subscriptions_counts_each_operation_and_each_key_by_itself_and_patch_has_more() {
    let (world, [key, other]) = documented(SUBSCRIPTIONS).await;
    let asker = world.with(&key);
    for (operation, most) in [
        ("GET /things", 50),
        ("POST /things", 50),
        ("GET /things/200", 50),
        ("PATCH /things/200", 100),
    ] {
        assert_eq!(admitted(&asker, operation, most + 5).await, most, "{operation}");
    }
    // Another object of the same kind is the same operation, and HEAD is GET.
    assert_eq!(admitted(&asker, "PATCH /things/204", 1).await, 0);
    assert_eq!(admitted(&asker, "HEAD /things", 1).await, 0);
    assert_eq!(admitted(&world.with(&other), "GET /things", 51).await, 50);
}

#[tokio::test]
async fn organization_counts_all_operations_together_and_tells_when_a_place_is_free() {
    let (world, [key, other]) = documented(ORGANIZATION).await;
    let asker = world.with(&key);
    assert_eq!(admitted(&asker, "GET /things", 40).await, 40);
    world.clock.step(Duration::from_millis(30_500));
    assert_eq!(admitted(&asker, "PATCH /things/200", 59).await, 59);
    let last = asker.get("/things/404").await;
    assert_eq!(last.status, 404);
    let told_last = [
        "x-ratelimit-limit: 100".to_owned(),
        "x-ratelimit-remaining: 0".to_owned(),
        format!("x-ratelimit-reset: {}", START + 60),
    ];
    assert_eq!(told(&last), told_last);
    let refused = asker.post("/things", json!({})).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.headers["retry-after"], "30");
    assert_eq!(told(&refused)[1..], told_last);
    assert_eq!(admitted(&world.with(&other), "GET /things", 101).await, 100);

    world.clock.step(Duration::from_millis(29_500));
    let freed = asker.get("/things").await;
    assert_eq!(freed.headers["x-ratelimit-remaining"], "39");
    assert_eq!(freed.headers["x-ratelimit-reset"], (START + 91).to_string());
}

#[tokio::test]
async fn organization_admits_more_from_keys_of_a_sandbox() {
    let mut world = World::start().await;
    let project = json!({ "name": "trial", "sandbox": true });
    world.root().post("/v1/projects", project).await.expect(201);
    world.tenant("trial", "acme").await;
    let tenant = json!({ "role": "tenant", "tenant": "acme", "project": "trial" });
    let tenant = world.key(tenant).await.text("key");
    let project = world.key(json!({ "role": "project", "project": "trial" })).await;
    let root = world.root.clone();
    world.serve(RequestQuotas::default(), |app| things(app, ORGANIZATION));
    for (key, most) in [(tenant, 500), (project.text("key"), 500), (root, 100)] {
        let asker = world.with(&key);
        assert_eq!(
            asker.get("/things").await.headers["x-ratelimit-limit"],
            most.to_string()
        );
        assert_eq!(admitted(&asker, "GET /things", most).await, most - 1);
    }
}

#[tokio::test]
async fn every_authenticated_answer_tells_whatever_its_status() {
    let (world, [key, _]) = documented(SUBSCRIPTIONS).await;
    let statuses = [200_u16, 204, 403, 404, 422, 500];
    for (n, status) in statuses.into_iter().enumerate() {
        let answer = world.with(&key).get(&format!("/things/{status}")).await;
        assert_eq!(answer.status, status);
        assert_eq!(
            answer.headers["x-ratelimit-remaining"],
            (49 - n).to_string(),
            "{status}"
        );
        assert_eq!(told(&answer).len(), 4);
    }
}

#[tokio::test]
async fn who_is_not_authenticated_is_not_counted_and_told_nothing() {
    let (world, [key, _]) = documented(SUBSCRIPTIONS).await;
    for n in 0..=FAILURES_PER_MINUTE {
        let refused = world.with("stn_tenant_guess").get("/things").await;
        let expected = if n < FAILURES_PER_MINUTE { 401 } else { 429 };
        assert_eq!(refused.status, expected);
        assert!(told(&refused).iter().all(|line| line.starts_with("retry-after")));
    }
    let admitted = world.with(&key).get("/things").await;
    assert_eq!(admitted.headers["x-ratelimit-remaining"], "49");
}

#[tokio::test]
async fn unknown_paths_and_methods_answer_without_a_key_and_are_not_counted() {
    let (world, [key, _]) = documented(SUBSCRIPTIONS).await;
    for asker in [world.with(&key), world.with_headers(vec![])] {
        let wrong = asker.delete("/things").await;
        assert_eq!(wrong.status, 405);
        assert_eq!(wrong.headers["allow"], "GET,HEAD,POST");
        let nowhere = asker.get("/nothing").await;
        assert_eq!(nowhere.status, 404);
        assert!(told(&wrong).is_empty() && told(&nowhere).is_empty());
    }
    for method in [Method::GET, Method::POST] {
        let counted = world.with(&key).ask(method, "/things", "".into()).await;
        assert_eq!(counted.headers["x-ratelimit-remaining"], "49");
    }
}

#[tokio::test]
async fn a_limit_that_is_off_leaves_the_routes_as_they_are() {
    let off = RequestQuotas {
        organization: None,
        organization_sandbox: None,
        subscriptions: None,
        ..RequestQuotas::default()
    };
    let (mut world, [key, _]) = world(SUBSCRIPTIONS, off).await;
    // PATCH has its own, which is still on.
    let asker = world.with(&key);
    assert_eq!(admitted(&asker, "GET /things", 200).await, 200);
    assert!(told(&asker.get("/things").await).is_empty());
    assert_eq!(admitted(&asker, "PATCH /things/200", 101).await, 100);

    for rule in [ORGANIZATION, V1, APPS] {
        world.serve(off, |app| things(app, rule));
        // Nobody asks for a key here but the limit.
        let stranger = world.with_headers(vec![]).get("/things").await;
        assert_eq!(stranger.status, 200, "{rule:?}");
    }
}

#[tokio::test]
async fn apps_has_a_limit_when_it_is_set_and_tells_only_of_the_refusal() {
    let quotas = RequestQuotas {
        apps: NonZeroU32::new(2),
        ..RequestQuotas::default()
    };
    let (world, [key, other]) = world(APPS, quotas).await;
    let asker = world.with(&key);
    for path in ["/things", "/things/204"] {
        assert!(told(&asker.get(path).await).is_empty());
    }
    assert_eq!(told(&asker.get("/things").await), ["retry-after: 60"]);
    assert_eq!(admitted(&world.with(&other), "GET /things", 3).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_at_the_same_moment_get_exactly_the_quota() {
    let (world, [key, other]) = documented(SUBSCRIPTIONS).await;
    let world = Arc::new(world);
    let ask = |key: &String| {
        let (world, key) = (Arc::clone(&world), key.clone());
        tokio::spawn(async move { world.with(&key).get("/things").await.status })
    };
    let (ours, theirs): (Vec<_>, Vec<_>) = (0..120).map(|_| (ask(&key), ask(&other))).unzip();
    for asked in [ours, theirs] {
        let answers = join_all(asked).await;
        let admitted = answers
            .into_iter()
            .filter(|status| *status.as_ref().unwrap() == 200);
        assert_eq!(admitted.count(), 50);
    }
}
