//! Liveness and readiness.

use crate::app::App;
use axum::extract::State;
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(healthz))
        .routes(routes!(readyz))
}

/// Is the process alive?
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, description = "It is.")))]
async fn healthz() -> &'static str {
    "ok"
}

/// Should requests be sent here? Not yet at a start, and no more once a stop has begun.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    security(()),
    responses((status = 200, description = "Yes."), (status = 503, description = "Starting or stopping."))
)]
async fn readyz(State(app): State<App>) -> (StatusCode, &'static str) {
    if app.is_ready() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    }
}
