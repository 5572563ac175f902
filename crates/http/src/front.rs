//! The way in: what every request passes before a contract sees it, and which contract that is.
//!
//! 1. [`webhook_loop::check`] ends loops;
//! 2. [`check_host`] refuses requests for other hosts;
//! 3. a publish goes to its handler, everything else to the router of all contracts.
//!
//! The checks are plain functions and no layers of the router, since every request pays for a layer: for a copy of all
//! that it is laid over, and for a future of its own around all that follows, which is polled through again with each
//! answer. For the same reason the one route that is asked for each event is no search in the router.

use crate::app::{App, AppSettings};
use crate::dialect::{self, Handling, PUBLISH_PATH};
use crate::openapi;
use crate::problem::{Problem, with_fallbacks};
use crate::rate_limit;
use crate::webhook_loop;
use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use http::header::HOST;
use http::{Method, StatusCode, Uri};
use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Service, ServiceExt as _};

/// What answers every request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Front(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    app: App,
    contracts: Router,
    /// May a publish go to its handler at once? It may not where contract v1 has a limit, which lies before its routes.
    publishes_directly: bool,
}

/// The answer to a request, as it is made.
pub struct Answering(Way);

enum Way {
    Refused(Ready<Response>),
    Handled(Handling),
    Routed(RouteFuture<Infallible>),
}

impl Front {
    /// What answers for this application.
    pub fn new(app: App) -> Self {
        Self(Arc::new(Inner {
            publishes_directly: !rate_limit::V1.is_set(&app.settings().request_quotas),
            contracts: contracts(&app),
            app,
        }))
    }
}

impl Service<Request> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Answering {
        let inner = &*self.0;
        let checked =
            webhook_loop::check(&mut request).and_then(|()| check_host(inner.app.settings(), &request));
        Answering(match checked {
            Err(problem) => Way::Refused(ready(dialect::refuse(path_of(&request), problem))),
            Ok(()) if inner.publishes_directly && is_publish(&request) => {
                Way::Handled(dialect::publish(request, inner.app.clone()))
            }
            Ok(()) => Way::Routed(inner.contracts.clone().call(request)),
        })
    }
}

impl Future for Answering {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Way::Refused(answer) => Pin::new(answer).poll(cx).map(Ok),
            Way::Handled(answer) => answer.as_mut().poll(cx).map(Ok),
            Way::Routed(answer) => Pin::new(answer).poll(cx),
        }
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").finish_non_exhaustive()
    }
}

fn is_publish(request: &Request) -> bool {
    *request.method() == Method::POST && request.uri().path() == PUBLISH_PATH
}

/// The path as routes have it: a trailing slash never matters.
fn path_of(request: &Request) -> &str {
    request.uri().path().trim_end_matches('/')
}

/// The router of all contracts.
fn contracts(app: &App) -> Router {
    let mut routes = Router::new();
    for dialect in dialect::ALL {
        let (contract, document) = dialect.serve(app);
        routes = routes.merge(contract);
        for path in dialect.documents {
            routes = routes.route(path, openapi::serve(&document));
        }
    }
    let routes = with_fallbacks(routes)
        .fallback(async |uri: Uri| dialect::refuse(uri.path(), Problem::not_found()))
        .with_state(app.clone());
    let without_slash = routes.clone();
    // Asked only for paths that no route has, so that the others pay nothing.
    routes.fallback(move |request: Request| retry_without_slash(without_slash, request))
}

async fn retry_without_slash(routes: Router, mut request: Request) -> Response {
    let path = request.uri().path();
    let shorter = path_of(&request);
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
/// to our address gets nowhere. Health checks and the collection of metrics come by address.
fn check_host(settings: &AppSettings, request: &Request) -> Result<(), Problem> {
    let hosts = &settings.public_hosts;
    if hosts.is_empty() || matches!(path_of(request), "/healthz" | "/readyz" | "/metrics") {
        return Ok(());
    }
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .or(request.uri().host());
    let name = host.map(|host| without_port(host).to_ascii_lowercase());
    if name.is_some_and(|name| hosts.contains(&name)) {
        return Ok(());
    }
    let detail =
        "This server does not answer for that host; the operator names its hosts with --public-host.";
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "unknown_host",
        detail,
    ))
}

/// The host before its port. The colons inside an IPv6 address's brackets begin none.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    }
}
