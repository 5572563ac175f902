//! `POST /v1/endpoints/{id}/match`: would an event go to an endpoint, and why not?

use super::endpoints::which;
use super::events::ENVELOPE_BYTES_MAX;
use crate::app::App;
use crate::body::{BodyLimits, JsonBytes};
use crate::call::{Call, Named, answer};
use crate::input;
use crate::problem::Problem;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use stentor_engine::dry_run::{Imagined, Matching};
use stentor_engine::endpoints::Which;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes(payload_bytes_max: usize) -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(match_event))
        .layer(limits(payload_bytes_max))
}

/// The bounds of a body with a payload in it.
pub(super) fn limits(payload_bytes_max: usize) -> Extension<BodyLimits> {
    Extension(BodyLimits {
        bytes_max: payload_bytes_max.saturating_add(ENVELOPE_BYTES_MAX),
        ..BodyLimits::default()
    })
}

/// An event that might be published.
#[derive(Deserialize, ToSchema)]
pub(super) struct MatchIn<'a> {
    /// Its type, such as `order.completed`.
    #[serde(borrow)]
    #[schema(max_length = 255)]
    r#type: Cow<'a, str>,
    /// Its channels.
    #[schema(max_items = 10)]
    channels: Option<Vec<String>>,
    /// Its payload: any JSON value.
    #[serde(borrow)]
    #[schema(value_type = Value)]
    payload: &'a RawValue,
}

/// What publishing it would come to.
#[derive(Serialize, ToSchema)]
pub(super) struct MatchOut<'a> {
    /// Would it go to the endpoint?
    matches: bool,
    /// Why, or why not, in words: the first thing that does not fit.
    reason: &'a str,
}

impl<'a> From<&'a Matching> for MatchOut<'a> {
    fn from(matching: &'a Matching) -> Self {
        Self {
            matches: matching.matches,
            reason: &matching.reason,
        }
    }
}

/// Ask whether an event would go to an endpoint, and why not. Nothing is published.
#[utoipa::path(
    post, path = "/v1/endpoints/{id}/match", tag = "endpoints", request_body = MatchIn<'_>,
    params(("id" = String, Path, description = "Its id.")),
    responses(
        (status = 200, description = "Whether and why.", body = MatchOut<'_>),
        (status = 413, description = "The payload is too large."),
    )
)]
async fn match_event(
    State(app): State<App>,
    call: Call,
    Named(id): Named,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    tell(&app, &call, which(&id), &body).await
}

/// Tells about whichever endpoint.
pub(super) async fn tell(
    app: &App,
    call: &Call,
    which: Which<'_>,
    body: &Bytes,
) -> Result<Response, Problem> {
    let imagined = imagined(body)?;
    let tenant = app.engine().endpoint(&call.caller, which)?.endpoint.tenant;
    let once = call.once(app, None, Some(tenant), body, |told: &Matching| {
        (StatusCode::OK, input::bytes(&MatchOut::from(told)))
    })?;
    let done = app
        .engine()
        .match_endpoint(&call.caller, which, imagined, once)
        .await?;
    answer(done, |told| Json(MatchOut::from(&told)).into_response())
}

fn imagined(body: &Bytes) -> Result<Imagined, Problem> {
    let event: MatchIn<'_> = input::json(body)?;
    Ok(Imagined {
        event_type: event.r#type.into_owned(),
        channels: event.channels.unwrap_or_default(),
        payload: body.slice_ref(event.payload.get().as_bytes()),
    })
}
