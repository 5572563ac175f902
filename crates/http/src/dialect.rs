//! The contracts: each a thin adapter that parses its own wire shape, makes one call to the engine, and renders its own
//! shape and its own errors. None imports another.
//!
//! A refusal travels as a [`Problem`], whoever refuses: an extractor, the engine, the router. It is put into a contract's
//! own words in one place, on its way out of that contract's routes.

mod apps;
mod organization;
mod subscriptions;
mod v1;

pub(crate) use v1::{PUBLISH_PATH, publish};

use crate::app::App;
use crate::problem::Problem;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde_json::Value;
use std::pin::Pin;
use tower::util::MapResponseLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

/// All contracts. Their paths do not overlap.
pub(crate) const ALL: [Dialect; 4] = [
    v1::DIALECT,
    organization::DIALECT,
    apps::DIALECT,
    subscriptions::DIALECT,
];

/// An answer that a handler is making, in the box that it made for itself.
pub(crate) type Handling = Pin<Box<dyn Future<Output = Response> + Send>>;

/// How a contract says no: status and JSON.
pub(crate) type Refusal = fn(&Problem) -> (StatusCode, Bytes);

/// A contract.
#[derive(Clone, Copy)]
pub(crate) struct Dialect {
    /// Where its document is.
    pub(crate) documents: &'static [&'static str],
    /// Is this path the contract's, a route or not?
    pub(crate) owns: fn(&str) -> bool,
    /// Its routes, with what the generator of the document finds out about them.
    pub(crate) routes: fn(&App) -> OpenApiRouter<App>,
    /// Its finished document.
    pub(crate) document: fn(OpenApi) -> Value,
    /// How it says no; `None` is as a problem document.
    pub(crate) refusal: Option<Refusal>,
}

impl Dialect {
    /// The contract's routes, which say no in its own words, and its document.
    pub(crate) fn serve(&self, app: &App) -> (Router<App>, Value) {
        let (routes, document) = (self.routes)(app).split_for_parts();
        let routes = routes.method_not_allowed_fallback(async || Problem::method_not_allowed(None));
        let routes = match self.refusal {
            None => routes,
            Some(refusal) => routes.layer(MapResponseLayer::new(move |response| {
                put_into_words(response, refusal)
            })),
        };
        (routes, (self.document)(document))
    }
}

/// A refusal before any route was asked, in the words of the contract that the path belongs to.
pub(crate) fn refuse(path: &str, problem: Problem) -> Response {
    let response = problem.into_response();
    match ALL
        .iter()
        .find(|dialect| (dialect.owns)(path))
        .and_then(|dialect| dialect.refusal)
    {
        Some(refusal) => put_into_words(response, refusal),
        None => response,
    }
}

/// The same refusal in a contract's words; its headers stay.
fn put_into_words(mut response: Response, refusal: Refusal) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    let (status, document) = refusal(&problem);
    *response.status_mut() = status;
    *response.body_mut() = Body::from(document);
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
