//! `/v1/operational-endpoints`: as `/v1/endpoints`, for Stentor's own events. A project has them, not a tenant, so that tenant keys
//! get 403, and whatever tenant a request names means nothing.

use super::wire::{EndpointChange, EndpointIn, EndpointOut, RotationIn, RotationOut};
use super::{link_to_next, rotate, shown};
use crate::app::App;
use crate::body::JsonBytes;
use crate::call::{Call, Named, answer};
use crate::dialect::v1::matching::{self, MatchIn, MatchOut};
use crate::dialect::v1::pages::PageQuery;
use crate::dialect::v1::test_send::{self, TestOut};
use crate::input;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LINK;
use http::{StatusCode, Uri};
use serde::Deserialize;
use stentor_domain::id::EndpointId;
use stentor_engine::endpoints::Which;
use stentor_store::endpoints::EndpointWithHealth;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(in crate::dialect::v1) fn routes(payload_bytes_max: usize) -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, update, delete))
        .routes(routes!(rotate_secret))
        .routes(routes!(test))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(match_event))
                .layer(matching::limits(payload_bytes_max)),
        )
}

/// Where a new one is made, beside what an endpoint is.
#[derive(Deserialize)]
struct Where {
    project: Option<String>,
}

/// Make an operational endpoint: one that gets Stentor's own events, `endpoint.failing`, `endpoint.recovered`, `endpoint.disabled`
/// and `delivery.exhausted`. For root keys `project` names the project, in the body or the query.
#[utoipa::path(
    post, path = "/v1/operational-endpoints", tag = "operational endpoints", request_body = EndpointIn,
    params(("project" = Option<String>, Query, description = "The project, by id or name; root keys only.")),
    responses(
        (status = 201, body = EndpointOut, description = "With `secret`, this once, where none was given."),
        (status = 409, description = "The uid is taken, or the project has as many operational endpoints as it may.")
    )
)]
async fn create(State(app): State<App>, call: Call, JsonBytes(body): JsonBytes) -> Result<Response, Problem> {
    let input: EndpointIn = input::json(&body)?;
    let Where { project } = input::json(&body)?;
    let now = app.engine().now();
    let once = call.once(
        &app,
        project.as_deref(),
        None,
        &body,
        move |made: &EndpointWithHealth| (StatusCode::CREATED, input::bytes(&EndpointOut::of(made, now))),
    )?;
    let fields = input.fields()?;
    let done = app
        .engine()
        .create_operational_endpoint(&call.caller, project.as_deref(), fields, once)
        .await?;
    answer(done, |made| {
        let shown = EndpointOut::of(&made.made, now).with_secret(made.drawn);
        (StatusCode::CREATED, Json(shown)).into_response()
    })
}

/// List a project's operational endpoints, newest first: a bare array. Where there are more, the header `Link` names the next page.
#[utoipa::path(
    get, path = "/v1/operational-endpoints", tag = "operational endpoints", 
    params(PageQuery, ("project" = Option<String>, Query, description = "The project, by id or name; root keys only.")),
    responses((status = 200, body = [EndpointOut], headers(("Link" = String, description = "The next page: `<...>; rel=\"next\"`."))))
)]
async fn list(State(app): State<App>, call: Call, uri: Uri) -> Result<Response, Problem> {
    call.caller.is_above_tenant()?;
    let project = app.engine().project(&call.caller, None)?.id;
    let cursors = app.cursors("v1 operational-endpoints", project);
    let (limit, before) = PageQuery::read(uri.query(), &cursors)?;
    let page = app
        .engine()
        .list_operational_endpoints(&call.caller, before, limit)
        .await?;
    let mut response = Json(shown(&app, &page.items)).into_response();
    if let Some(next) = page.next.and_then(|last| link_to_next(&uri, &cursors, last)) {
        response.headers_mut().insert(LINK, next);
    }
    Ok(response)
}

/// Get an operational endpoint.
#[utoipa::path(get, path = "/v1/operational-endpoints/{id}", tag = "operational endpoints", params(("id" = String, Path, description = "Its id.")), responses((status = 200, body = EndpointOut)))]
async fn get(State(app): State<App>, call: Call, Named(id): Named) -> Result<Json<EndpointOut>, Problem> {
    let endpoint = app.engine().get_endpoint(&call.caller, which(&id)).await?;
    Ok(Json(EndpointOut::of(&endpoint, app.engine().now())))
}

/// Change an operational endpoint. `PAUSED` holds its deliveries, `ACTIVE` resumes them from every state.
#[utoipa::path(patch, path = "/v1/operational-endpoints/{id}", tag = "operational endpoints", params(("id" = String, Path, description = "Its id.")), request_body = EndpointChange, responses((status = 200, body = EndpointOut)))]
async fn update(
    State(app): State<App>,
    call: Call,
    Named(id): Named,
    JsonBytes(body): JsonBytes,
) -> Result<Json<EndpointOut>, Problem> {
    let input: EndpointChange = input::json(&body)?;
    let endpoint = app
        .engine()
        .update_endpoint(&call.caller, which(&id), input.fields()?)
        .await?;
    Ok(Json(EndpointOut::of(&endpoint, app.engine().now())))
}

/// Delete an operational endpoint; what is unfinished is cancelled.
#[utoipa::path(delete, path = "/v1/operational-endpoints/{id}", tag = "operational endpoints", params(("id" = String, Path, description = "Its id.")), responses((status = 204, description = "It is deleted.")))]
async fn delete(State(app): State<App>, call: Call, Named(id): Named) -> Result<StatusCode, Problem> {
    app.engine().delete_endpoint(&call.caller, which(&id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give it a new secret. The earlier ones go on signing until the grace ends.
#[utoipa::path(
    post, path = "/v1/operational-endpoints/{id}/rotate-secret", tag = "operational endpoints",
    request_body = RotationIn, params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, body = RotationOut, description = "With the new secret, this once, where none was given."))
)]
async fn rotate_secret(
    State(app): State<App>,
    call: Call,
    Named(id): Named,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    rotate(&app, &call, which(&id), &body).await
}

/// Send a test to an operational endpoint now, whatever its status, and answer what came of it.
#[utoipa::path(
    post, path = "/v1/operational-endpoints/{id}/test", tag = "operational endpoints",
    params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "The test was made, with success or without.", body = TestOut))
)]
async fn test(
    State(app): State<App>,
    call: Call,
    Named(id): Named,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    test_send::send(&app, &call, which(&id), &body).await
}

/// Ask whether an event would go to an operational endpoint, and why not. Nothing is published.
#[utoipa::path(
    post, path = "/v1/operational-endpoints/{id}/match", tag = "operational endpoints",
    request_body = MatchIn<'_>, params(("id" = String, Path, description = "Its id.")),
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
    matching::tell(&app, &call, which(&id), &body).await
}

/// The operational endpoint that a path names.
fn which(id: &str) -> Which<'static> {
    Which::Operational(EndpointId::parse(id))
}
