//! Contract organization, `/webhooks`: up to ten endpoints for each tenant, which it calls an organization.
//! - [`mod@routes`]: its operations;
//! - [`wire`]: what it takes and shows;
//! - [`errors`]: how it says no.

mod errors;
mod routes;
mod wire;

use super::Dialect;
use crate::app::App;
use crate::openapi;
use crate::rate_limit;
use errors::ErrorOut;
use serde_json::Value;
use utoipa::{OpenApi, PartialSchema as _};
use utoipa_axum::router::OpenApiRouter;

/// What the OpenAPI document says about the whole.
#[derive(OpenApi, Debug)]
#[openapi(info(
    title = "Stentor: webhook management",
    description = "Manage an organization's webhook endpoints. The API key names the organization. Every authenticated \
                   answer tells how the key stands: `X-RateLimit-Limit` requests in any 60 seconds, \
                   `X-RateLimit-Remaining`, and `X-RateLimit-Reset` in Unix seconds.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
))]
struct Document;

/// The contract.
pub(super) const DIALECT: Dialect = Dialect {
    documents: &["/openapi/organization.json"],
    owns: |path| path == "/webhooks" || path.starts_with("/webhooks/"),
    routes,
    document,
    refusal: Some(errors::render),
};

fn routes(app: &App) -> OpenApiRouter<App> {
    let operations = rate_limit::before(app, rate_limit::ORGANIZATION, routes::routes());
    OpenApiRouter::with_openapi(Document::openapi()).merge(operations)
}

fn document(generated: utoipa::openapi::OpenApi) -> Value {
    let refusal = openapi::Refusal {
        name: "Error",
        media_type: "application/json",
        schema: ErrorOut::schema(),
    };
    openapi::finished(generated, refusal)
}
