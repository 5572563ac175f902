//! The operations, each parsed, asked of the engine in one call, and rendered.

use super::wire::{EndpointChange, EndpointIn, EndpointOut, ListOut, MadeOut, TestOut, which};
use crate::app::App;
use crate::body::JsonBytes;
use crate::call::{Call, Named, answer};
use crate::input;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use stentor_domain::contract::Contract;
use stentor_domain::limits::WHOLE_LIST_ITEMS_MAX;
use stentor_engine::test_send::TestSend;
use stentor_store::endpoints::EndpointWithHealth;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(update, delete))
        .routes(routes!(test))
}

/// Create a webhook. Its signing secret is shown this once.
#[utoipa::path(
    post, path = "/webhooks", tag = "webhooks", request_body = EndpointIn,
    params(("X-Tenant" = Option<String>, Header, description = "The organization, by id or uid; root and project keys only.")),
    responses(
        (status = 201, body = MadeOut),
        (status = 400, description = "A field is at fault; a URL that is not public HTTPS has the code `url_not_allowed`."),
        (status = 409, description = "The organization has as many webhooks as it may: `webhook_limit_reached`.")
    )
)]
async fn create(State(app): State<App>, call: Call, JsonBytes(body): JsonBytes) -> Result<Response, Problem> {
    let input: EndpointIn = input::json(&body)?;
    let tenant = app.engine().tenant(&call.caller, None)?.id;
    let once = call.once(&app, None, Some(tenant), &body, |made: &EndpointWithHealth| {
        (StatusCode::CREATED, input::bytes(&MadeOut::from(made)))
    })?;
    let done = app
        .engine()
        .create_endpoint(&call.caller, Contract::Organization, None, input.fields(), once)
        .await?;
    answer(done, |made| {
        (StatusCode::CREATED, Json(MadeOut::from(made))).into_response()
    })
}

/// List the organization's webhooks, newest first, whichever contract they were made through.
#[utoipa::path(
    get, path = "/webhooks", tag = "webhooks",
    params(("X-Tenant" = Option<String>, Header, description = "The organization, by id or uid; root and project keys only.")),
    responses((status = 200, body = ListOut))
)]
async fn list(State(app): State<App>, call: Call) -> Result<Json<ListOut>, Problem> {
    let page = app
        .engine()
        .list_endpoints(&call.caller, None, None, WHOLE_LIST_ITEMS_MAX)
        .await?;
    let data = page.items.iter().map(EndpointOut::from).collect();
    Ok(Json(ListOut { data }))
}

/// Update a webhook. Only the fields that are sent are changed.
#[utoipa::path(
    put, path = "/webhooks/{id}", tag = "webhooks", request_body = EndpointChange,
    params(("id" = String, Path, description = "The webhook ID.")),
    responses(
        (status = 200, body = EndpointOut),
        (status = 400, description = "A field is at fault; a URL that is not public HTTPS has the code `url_not_allowed`.")
    )
)]
async fn update(
    State(app): State<App>,
    call: Call,
    Named(id): Named,
    JsonBytes(body): JsonBytes,
) -> Result<Json<EndpointOut>, Problem> {
    let input: EndpointChange = input::json(&body)?;
    let endpoint = app
        .engine()
        .update_endpoint(&call.caller, which(&id), input.fields())
        .await?;
    Ok(Json(EndpointOut::from(&endpoint)))
}

/// Delete a webhook; what is unfinished is cancelled.
#[utoipa::path(
    delete, path = "/webhooks/{id}", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook ID.")),
    responses((status = 204, description = "It is deleted."))
)]
async fn delete(State(app): State<App>, call: Call, Named(id): Named) -> Result<StatusCode, Problem> {
    app.engine().delete_endpoint(&call.caller, which(&id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send a test to a webhook now, also while it is inactive, and answer what came of it.
#[utoipa::path(
    post, path = "/webhooks/{id}/test", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook ID.")),
    responses((status = 200, description = "The test was made, with success or without.", body = TestOut))
)]
async fn test(
    State(app): State<App>,
    call: Call,
    Named(id): Named,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let tenant = app.engine().endpoint(&call.caller, which(&id))?.endpoint.tenant;
    let once = call.once(&app, None, Some(tenant), &body, |made: &TestSend| {
        (StatusCode::OK, input::bytes(&TestOut::from(made)))
    })?;
    let done = app.engine().test_endpoint(&call.caller, which(&id), once).await?;
    answer(done, |made| Json(TestOut::from(&made)).into_response())
}
