//! Contract v1, the native API: what a producer, an operator and a dashboard use. A file for each resource, and beside
//! them:
//! - `pages`, `filter`: how it shows lists page by page, and reads their filters;
//! - `webhooks`: the outgoing webhooks, for the OpenAPI document;
//! - `health`, `metrics`: what load balancers and the operator's monitoring ask.

mod audit;
mod deliveries;
mod endpoints;
mod event_types;
mod events;
mod events_read;
mod filter;
mod health;
mod keys;
mod matching;
mod metrics;
mod pages;
mod projects;
mod replays;
mod stats;
mod tenants;
mod test_send;
mod webhooks;

pub(crate) use events::{PATH as PUBLISH_PATH, publish_directly as publish};

use super::Dialect;
use crate::app::App;
use crate::openapi;
use crate::problem::{Document as ProblemDocument, PROBLEM_MEDIA_TYPE};
use crate::rate_limit;
use serde_json::Value;
use utoipa::{OpenApi, PartialSchema as _};
use utoipa_axum::router::OpenApiRouter;

/// What the OpenAPI document says about the whole.
#[derive(OpenApi, Debug)]
#[openapi(info(
    title = "Stentor",
    description = "Publish events; Stentor delivers them, signed, to every endpoint that wants them.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
))]
pub(crate) struct Document;

/// The contract. It says no as [`crate::problem`] does.
pub(super) const DIALECT: Dialect = Dialect {
    documents: &["/openapi/v1.json", "/openapi.json"],
    owns: |path| path.starts_with("/v1/"),
    routes,
    document,
    refusal: None,
};

/// The document, with what the generator does not know.
fn document(generated: utoipa::openapi::OpenApi) -> Value {
    let refusal = openapi::Refusal {
        name: "Problem",
        media_type: PROBLEM_MEDIA_TYPE,
        schema: ProblemDocument::schema(),
    };
    let mut document = openapi::finished(generated, refusal);
    if let Some(fields) = document.as_object_mut() {
        fields.insert("webhooks".into(), webhooks::webhooks());
    }
    document
}

fn routes(app: &App) -> OpenApiRouter<App> {
    let resources = OpenApiRouter::new()
        .merge(projects::routes())
        .merge(keys::routes())
        .merge(tenants::routes())
        .merge(events::routes())
        .merge(endpoints::routes())
        .merge(endpoints::operational::routes(
            app.engine().settings().payload_bytes_max,
        ))
        .merge(test_send::routes())
        .merge(matching::routes(app.engine().settings().payload_bytes_max))
        .merge(event_types::routes())
        .merge(audit::routes())
        .merge(events_read::routes())
        .merge(deliveries::routes())
        .merge(replays::routes())
        .merge(stats::routes());
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(rate_limit::before(app, rate_limit::V1, resources))
}
