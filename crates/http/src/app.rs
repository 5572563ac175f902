//! What every handler is given, and the router of all contracts.

use crate::attempts_at_keys::AttemptsAtKeys;
use crate::dialect;
use crate::openapi;
use crate::paging::{self, Cursors};
use crate::problem::{Problem, with_fallbacks};
use crate::rate_limit::{RateLimits, RequestQuotas};
use crate::webhook_loop;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use http::header::HOST;
use http::{StatusCode, Uri};
use ipnet::IpNet;
use std::fmt::Display;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use stentor_engine::Engine;
use stentor_store::authenticator::Authenticator;
use tower::ServiceExt as _;

/// What an operator may set about HTTP.
#[derive(Clone, Debug, Default)]
pub struct AppSettings {
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Host names that requests may carry, in lower case; empty is any.
    pub public_hosts: Vec<String>,
    /// Failed authentications per minute and peer address; `None` is no limit.
    pub failed_authentications_per_minute: Option<NonZeroU32>,
    /// How often a key may ask.
    pub request_quotas: RequestQuotas,
}

/// What every handler is given. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    settings: AppSettings,
    attempts_at_keys: AttemptsAtKeys,
    rate_limits: RateLimits,
    cursors: Authenticator,
    ready: AtomicBool,
}

impl App {
    /// An application over an engine. It is not ready until it is told so.
    pub fn new(engine: Engine, settings: AppSettings) -> Self {
        let attempts_at_keys = AttemptsAtKeys::new(settings.failed_authentications_per_minute);
        Self(Arc::new(Inner {
            cursors: engine.authenticator(paging::PURPOSE),
            engine,
            settings,
            attempts_at_keys,
            rate_limits: RateLimits::default(),
            ready: AtomicBool::new(false),
        }))
    }

    /// What does the work.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// What an operator set.
    pub fn settings(&self) -> &AppSettings {
        &self.0.settings
    }

    pub(crate) fn attempts_at_keys(&self) -> &AttemptsAtKeys {
        &self.0.attempts_at_keys
    }

    pub(crate) fn rate_limits(&self) -> &RateLimits {
        &self.0.rate_limits
    }

    /// The cursors of a list: `list` names it among those of all contracts, `whom` says whose things are in it.
    pub(crate) fn cursors(&self, list: &'static str, whom: impl Display) -> Cursors<'_> {
        Cursors::new(&self.0.cursors, list, whom)
    }

    /// Says whether requests should be sent here: `/readyz` answers 200 or 503.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Relaxed);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Relaxed)
    }
}

/// The router of all contracts. A trailing slash never matters.
pub fn router(app: App) -> Router {
    let mut routes = Router::new();
    for dialect in dialect::ALL {
        let (contract, document) = dialect.serve(&app);
        routes = routes.merge(contract);
        for path in dialect.documents {
            routes = routes.route(path, openapi::serve(&document));
        }
    }
    let mut routes =
        with_fallbacks(routes).fallback(async |uri: Uri| dialect::refuse(uri.path(), Problem::not_found()));
    if !app.settings().public_hosts.is_empty() {
        routes = routes.layer(middleware::from_fn_with_state(app.clone(), check_host));
    }
    let routes = routes
        .layer(middleware::from_fn(webhook_loop::check))
        .with_state(app);
    let without_slash = routes.clone();
    // Asked only for paths that no route has, so that the others pay nothing.
    routes.fallback(move |request: Request| retry_without_slash(without_slash, request))
}

async fn retry_without_slash(routes: Router, mut request: Request) -> Response {
    let path = request.uri().path();
    let shorter = path.trim_end_matches('/');
    if shorter.is_empty() || shorter.len() == path.len() {
        return dialect::refuse(path, Problem::not_found());
    }
    let target = match request.uri().query() {
        Some(query) => format!("{shorter}?{query}"),
        None => shorter.to_owned(),
    };
    // Scheme and authority stay: on HTTP/2 they alone name the host.
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = target.try_into().ok();
    let Ok(target) = Uri::from_parts(parts) else {
        return dialect::refuse(request.uri().path(), Problem::not_found());
    };
    *request.uri_mut() = target;
    match routes.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Where the operator named this server's hosts, a request for another one is refused: a page that rebinds its own name
/// to our address gets nowhere. Health checks and
/// the collection of metrics come by address.
async fn check_host(State(app): State<App>, request: Request, next: Next) -> Response {
    if matches!(request.uri().path(), "/healthz" | "/readyz" | "/metrics") {
        return next.run(request).await;
    }
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .or(request.uri().host());
    let name = host.map(|host| without_port(host).to_ascii_lowercase());
    if name.is_some_and(|name| app.settings().public_hosts.contains(&name)) {
        next.run(request).await
    } else {
        let detail =
            "This server does not answer for that host; the operator names its hosts with --public-host.";
        let problem = Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", detail);
        dialect::refuse(request.uri().path(), problem)
    }
}

/// The host before its port. The colons inside an IPv6 address's brackets begin none.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    }
}
