//! Contract subscriptions, `/api/v1/webhooks`: a tenant's endpoints as subscriptions that are numbered from 1.
//! - [`routes`]: its operations;
//! - [`wire`]: what is read and shown;
//! - [`errors`]: how it says no.

mod errors;
mod routes;
mod wire;

use super::Dialect;
use crate::openapi;
use serde_json::Value;
use utoipa::PartialSchema as _;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{Header, ObjectBuilder, OpenApi, RefOr, Response, Type};

/// Where its subscriptions are; all its paths are below.
const PATH: &str = "/api/v1/webhooks";

/// The contract.
pub(super) const DIALECT: Dialect = Dialect {
    documents: &["/openapi/subscriptions.json"],
    owns: |path| {
        path.strip_prefix(PATH)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    },
    routes: routes::routes,
    document,
    refusal: Some(errors::refusal),
};

/// The document, with what the generator does not know.
fn document(mut generated: OpenApi) -> Value {
    for path in generated.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.post, &mut path.patch, &mut path.delete];
        operations.into_iter().flatten().for_each(tell_of_limits);
    }
    let refusal = openapi::Refusal {
        name: "Refused",
        media_type: "application/json",
        schema: errors::Refused::schema(),
    };
    openapi::finished(generated, refusal)
}

/// Says of an operation which headers tell its caller of the limit, and what comes beyond it.
fn tell_of_limits(operation: &mut Operation) {
    let mut refused = Response::new("The key has asked for this too often in the last 60 seconds.");
    let wait = header(Type::Integer, "Seconds until there is room again.");
    refused.headers.insert("Retry-After".into(), wait);
    let responses = &mut operation.responses.responses;
    responses.insert("429".into(), RefOr::T(refused));
    for response in responses.values_mut() {
        if let RefOr::T(response) = response {
            response
                .headers
                .extend(limits().map(|(name, header)| (name.into(), header)));
        }
    }
}

/// The headers of every authenticated answer, unless the operator has turned the limit off.
fn limits() -> [(&'static str, RefOr<Header>); 4] {
    [
        (
            "X-RateLimit-Limit",
            header(Type::Integer, "The most requests in any 60 seconds."),
        ),
        (
            "X-RateLimit-Remaining",
            header(Type::Integer, "How many more there is room for now."),
        ),
        (
            "RateLimit",
            header(
                Type::String,
                "The same, and the seconds until there is more room.",
            ),
        ),
        (
            "RateLimit-Policy",
            header(Type::String, "The limit and its window in seconds."),
        ),
    ]
}

fn header(kind: Type, description: &str) -> RefOr<Header> {
    let mut header = Header::new(ObjectBuilder::new().schema_type(kind));
    header.description = Some(description.into());
    RefOr::T(header)
}
