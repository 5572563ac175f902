//! `POST /v1/endpoints/{id}/test`.

use super::deliveries::wire::AttemptOut;
use super::endpoints::which;
use crate::app::App;
use crate::body::JsonBytes;
use crate::call::{Call, Named, answer};
use crate::input;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use stentor_domain::attempt::Outcome;
use stentor_engine::endpoints::Which;
use stentor_engine::test_send::TestSend;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(test))
}

/// What came of a test.
#[derive(Serialize, ToSchema)]
pub(super) struct TestOut {
    /// Did the receiver answer 2xx? In a sandbox, where nothing is sent, true.
    success: bool,
    /// The status of the answer; null if none came.
    #[schema(required)]
    status_code: Option<u16>,
    /// How long the exchange took.
    response_time_ms: u32,
    /// What came of it, in words.
    message: String,
    attempt: AttemptOut,
}

impl From<&TestSend> for TestOut {
    fn from(test: &TestSend) -> Self {
        let attempt = &test.attempt.attempt;
        let message = match (attempt.outcome, attempt.outcome.error_class()) {
            (_, Some(class)) => class.sentence(),
            (Outcome::Simulated, None) => "Simulated: the project is a sandbox, so nothing was sent",
            (_, None) => "Test webhook delivered successfully",
        };
        Self {
            success: attempt.outcome.succeeded(),
            status_code: attempt.outcome.status(),
            response_time_ms: attempt.exchange.timing.total_micros.div_ceil(1_000),
            message: message.to_owned(),
            attempt: AttemptOut::of(test.delivery, &test.attempt),
        }
    }
}

/// Send a test to an endpoint now, whatever its status, and answer what came of it.
#[utoipa::path(
    post, path = "/v1/endpoints/{id}/test", tag = "endpoints", params(("id" = String, Path)),
    responses((status = 200, description = "The test was made, with success or without.", body = TestOut))
)]
async fn test(
    State(app): State<App>,
    call: Call,
    Named(id): Named,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    send(&app, &call, which(&id), &body).await
}

/// Sends a test to whichever endpoint.
pub(super) async fn send(app: &App, call: &Call, which: Which<'_>, body: &[u8]) -> Result<Response, Problem> {
    let tenant = app.engine().endpoint(&call.caller, which)?.endpoint.tenant;
    let once = call.once(app, None, Some(tenant), body, |made: &TestSend| {
        (StatusCode::OK, input::bytes(&TestOut::from(made)))
    })?;
    let done = app.engine().test_endpoint(&call.caller, which, once).await?;
    answer(done, |made| Json(TestOut::from(&made)).into_response())
}
