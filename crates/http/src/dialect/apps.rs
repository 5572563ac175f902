//! Contract apps, `/apps/{appId}/webhooks`: the endpoints of a tenant, which it calls an app.
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
    title = "Stentor: webhook endpoints of an app",
    description = "Create an app's webhook endpoints, choose their events, rotate their secrets, and look into their deliveries.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
))]
struct Document;

/// The contract.
pub(super) const DIALECT: Dialect = Dialect {
    documents: &["/openapi/apps.json"],
    owns: |path| path == "/apps" || path.starts_with("/apps/"),
    routes,
    document,
    refusal: Some(errors::render),
};

fn routes(app: &App) -> OpenApiRouter<App> {
    let operations = rate_limit::before(app, rate_limit::APPS, routes::routes());
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
