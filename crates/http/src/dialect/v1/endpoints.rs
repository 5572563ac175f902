//! `/v1/endpoints`. The published resource, with v1's own fields behind the published ones: see [`wire`]. Beside it
//! [`operational`], the same for Stentor's own events.

pub(super) mod operational;
mod wire;

use super::pages::PageQuery;
use crate::app::App;
use crate::body::JsonBytes;
use crate::call::{Call, Named, answer};
use crate::input;
use crate::paging::Cursors;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LINK;
use http::{HeaderValue, StatusCode, Uri};
use stentor_domain::contract::Contract;
use stentor_domain::id::EndpointId;
use stentor_engine::endpoints::Which;
use stentor_store::endpoints::EndpointWithHealth;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::{EndpointChange, EndpointIn, EndpointOut, RotationIn, RotationOut};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, update, delete))
        .routes(routes!(rotate_secret))
}

/// Make an endpoint.
#[utoipa::path(
    post, path = "/v1/endpoints", tag = "endpoints", request_body = EndpointIn,
    params(("X-Tenant" = Option<String>, Header, description = "The tenant, by id or uid; root and project keys only.")),
    responses(
        (status = 201, body = EndpointOut, description = "With `secret`, this once, where none was given."),
        (status = 409, description = "The uid is taken, or the tenant has as many endpoints as it may.")
    )
)]
async fn create(State(app): State<App>, call: Call, JsonBytes(body): JsonBytes) -> Result<Response, Problem> {
    let mut input: EndpointIn = input::json(&body)?;
    let named = input.tenant.take();
    let tenant = app.engine().tenant(&call.caller, named.as_deref())?.id;
    let now = app.engine().now();
    let once = call.once(
        &app,
        None,
        Some(tenant),
        &body,
        move |made: &EndpointWithHealth| (StatusCode::CREATED, input::bytes(&EndpointOut::of(made, now))),
    )?;
    let fields = input.fields()?;
    let done = app
        .engine()
        .create_endpoint(&call.caller, Contract::V1, named.as_deref(), fields, once)
        .await?;
    answer(done, |made| {
        let shown = EndpointOut::of(&made.made, now).with_secret(made.drawn);
        (StatusCode::CREATED, Json(shown)).into_response()
    })
}

/// List a tenant's endpoints, newest first: a bare array. Where there are more, the header `Link` names the next page.
#[utoipa::path(
    get, path = "/v1/endpoints", tag = "endpoints",
    params(PageQuery, ("X-Tenant" = Option<String>, Header, description = "The tenant, by id or uid; root and project keys only.")),
    responses((status = 200, body = [EndpointOut], headers(("Link" = String, description = "The next page: `<...>; rel=\"next\"`."))))
)]
async fn list(State(app): State<App>, call: Call, uri: Uri) -> Result<Response, Problem> {
    let tenant = app.engine().tenant(&call.caller, None)?.id;
    let cursors = app.cursors("v1 endpoints", tenant);
    let (limit, before) = PageQuery::read(uri.query(), &cursors)?;
    let page = app
        .engine()
        .list_endpoints(&call.caller, None, before, limit)
        .await?;
    let mut response = Json(shown(&app, &page.items)).into_response();
    if let Some(next) = page.next.and_then(|last| link_to_next(&uri, &cursors, last)) {
        response.headers_mut().insert(LINK, next);
    }
    Ok(response)
}

fn shown(app: &App, endpoints: &[EndpointWithHealth]) -> Vec<EndpointOut> {
    let now = app.engine().now();
    endpoints
        .iter()
        .map(|known| EndpointOut::of(known, now))
        .collect()
}

/// Get an endpoint.
#[utoipa::path(get, path = "/v1/endpoints/{id}", tag = "endpoints", params(("id" = String, Path, description = "Its id.")), responses((status = 200, body = EndpointOut)))]
async fn get(State(app): State<App>, call: Call, Named(id): Named) -> Result<Json<EndpointOut>, Problem> {
    let endpoint = app.engine().get_endpoint(&call.caller, which(&id)).await?;
    Ok(Json(EndpointOut::of(&endpoint, app.engine().now())))
}

/// Change an endpoint. `PAUSED` holds its deliveries, `ACTIVE` resumes them from every state.
#[utoipa::path(patch, path = "/v1/endpoints/{id}", tag = "endpoints", params(("id" = String, Path, description = "Its id.")), request_body = EndpointChange, responses((status = 200, body = EndpointOut)))]
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

/// Delete an endpoint; what is unfinished is cancelled.
#[utoipa::path(delete, path = "/v1/endpoints/{id}", tag = "endpoints", params(("id" = String, Path, description = "Its id.")), responses((status = 204, description = "It is deleted.")))]
async fn delete(State(app): State<App>, call: Call, Named(id): Named) -> Result<StatusCode, Problem> {
    app.engine().delete_endpoint(&call.caller, which(&id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give it a new secret. The earlier ones go on signing until the grace ends.
#[utoipa::path(
    post, path = "/v1/endpoints/{id}/rotate-secret", tag = "endpoints", request_body = RotationIn,
    params(("id" = String, Path, description = "Its id.")),
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

async fn rotate(app: &App, call: &Call, which: Which<'_>, body: &[u8]) -> Result<Response, Problem> {
    let input: RotationIn = input::json(body)?;
    let tenant = app.engine().endpoint(&call.caller, which)?.endpoint.tenant;
    let once = call.once(app, None, Some(tenant), body, |(): &()| {
        (StatusCode::OK, input::bytes(&RotationOut::of(None)))
    })?;
    let done = app
        .engine()
        .rotate_secret(&call.caller, which, Contract::V1, input.fields(), once)
        .await?;
    answer(done, |drawn| {
        Json(RotationOut::of(drawn.as_ref())).into_response()
    })
}

/// The endpoint that a path names, in v1's spelling.
pub(super) fn which(id: &str) -> Which<'static> {
    Which::Id(EndpointId::parse(id))
}

/// Where the page after the item with the key `last` is: the same list, with its cursor.
fn link_to_next(uri: &Uri, cursors: &Cursors<'_>, last: i64) -> Option<HeaderValue> {
    let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs.filter(|(name, _)| name != "cursor"))
        .append_pair("cursor", &cursors.after(last))
        .finish();
    HeaderValue::try_from(format!("<{}?{query}>; rel=\"next\"", uri.path())).ok()
}
