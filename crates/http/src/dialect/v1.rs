//! Contract v1, the native API: what a producer, an operator and a dashboard use. A file for each resource, and beside
//! them:
//! - `errors`: how this contract says no, and `filter`: how it reads the filters of lists;
//! - `webhooks`: the outgoing webhook, for the OpenAPI document;
//! - `health`: what load balancers ask.

mod audit;
mod deliveries;
mod endpoints;
mod errors;
mod event_types;
mod events;
mod events_read;
mod filter;
mod health;
mod keys;
mod projects;
mod tenants;
mod test_send;
mod webhooks;

pub(crate) use webhooks::webhooks;

use crate::app::App;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

/// What the OpenAPI document says about the whole.
#[derive(OpenApi, Debug)]
#[openapi(info(
    title = "Stentor",
    description = "Publish events; Stentor delivers them, signed, to every endpoint that wants them.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
))]
pub(crate) struct Document;

/// All routes of the contract, for payloads of at most `payload_bytes_max`.
pub(crate) fn routes(payload_bytes_max: usize) -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(health::routes())
        .merge(projects::routes())
        .merge(keys::routes())
        .merge(tenants::routes())
        .merge(events::routes(payload_bytes_max))
        .merge(endpoints::routes())
        .merge(test_send::routes())
        .merge(event_types::routes())
        .merge(audit::routes())
        .merge(events_read::routes())
        .merge(deliveries::routes())
}
