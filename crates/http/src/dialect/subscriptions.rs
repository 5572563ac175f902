//! Contract subscriptions, `/api/v1/webhooks`: a tenant's endpoints as subscriptions that are numbered from 1.
//! - `routes`: its operations;
//! - `wire`: what is read and shown;
//! - `errors`: how it says no.

mod errors;
mod routes;
mod wire;

use super::Dialect;
use crate::openapi;
use serde_json::Value;
use utoipa::PartialSchema as _;

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
fn document(generated: utoipa::openapi::OpenApi) -> Value {
    let refusal = openapi::Refusal {
        name: "Refused",
        media_type: "application/json",
        schema: errors::Refused::schema(),
    };
    openapi::finished(generated, refusal)
}
