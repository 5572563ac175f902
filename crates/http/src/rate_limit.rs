//! Limits on how often one key may ask, exact over any 60 seconds, each contract with its own figures and headers.
//!
//! - [`windows`] counts;
//! - [`rules`] says for each contract what is counted, how much may be, and how an answer tells it;
//! - this file puts both before a contract's routes: after authentication, and before anything else is read.
//!
//! What no key asked for is not counted: paths and methods that no route has, health checks, failed authentications. A
//! request refused here takes no place, one refused by its handler does.

mod rules;
mod windows;

pub use rules::{APPS, ORGANIZATION, RequestQuotas, Rule, SUBSCRIPTIONS, V1};
pub(crate) use windows::RateLimits;
pub use windows::Usage;

use crate::app::App;
use crate::call::{Authenticated, authenticate};
use crate::problem::{Problem, whole_seconds};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, StatusCode};
use std::time::Duration;
use stentor_domain::key::Key;
use utoipa_axum::router::OpenApiRouter;

/// What a rule is told of a request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who asks.
    pub key: &'a Key,
    /// For what; HEAD is GET here.
    pub method: &'a Method,
    /// The path as the route has it: `/things/{id}`.
    pub path: &'a str,
}

/// Puts the limit that `rule` makes of what the operator set before all routes of a contract, so that none is forgotten.
/// Where that is none, routes are left as they are. Their 405 is left as it is only where it is set later, as every
/// contract's is: axum lays a router's layer over the answer to wrong methods too.
pub fn before(app: &App, rule: &'static dyn Rule, routes: OpenApiRouter<App>) -> OpenApiRouter<App> {
    if !rule.is_set(&app.settings().request_quotas) {
        return routes;
    }
    let limit = Limit {
        app: app.clone(),
        rule,
    };
    routes.route_layer(middleware::from_fn_with_state(limit, enforce))
}

#[derive(Clone, Debug)]
struct Limit {
    app: App,
    rule: &'static dyn Rule,
}

async fn enforce(State(Limit { app, rule }): State<Limit>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let usage = match authenticate(&mut parts, &app) {
        Ok(Authenticated { key, .. }) => admit(&app, rule, &key, &parts),
        Err(refusal) => return refusal.into_response(),
    };
    let Some(usage) = usage else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    let mut response = match usage.admitted {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(wait) => rate_limited(usage.limit, wait).into_response(),
    };
    rule.tell(&usage, response.headers_mut());
    response
}

/// Counts a request; `None` where there is no limit for it.
fn admit(app: &App, rule: &dyn Rule, key: &Key, parts: &Parts) -> Option<Usage> {
    let method = match parts.method {
        Method::HEAD => &Method::GET,
        ref method => method,
    };
    let path = parts.extensions.get::<MatchedPath>();
    let asked = Asked {
        key,
        method,
        path: path.map_or("", MatchedPath::as_str),
    };
    let quota = rule.quota(app, &asked)?;
    let now = || app.engine().now();
    Some(app.rate_limits().admit(key.id, rule.bucket(&asked), quota, now))
}

fn rate_limited(limit: u32, wait: Duration) -> Problem {
    let seconds = whole_seconds(wait);
    let detail = format!(
        "A key may make {limit} such requests in any 60 seconds, and this one has; try again in {seconds} s."
    );
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(wait)
}
