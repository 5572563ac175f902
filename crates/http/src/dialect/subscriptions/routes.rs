//! The operations of the contract.

use super::errors::ValidationErrors;
use super::wire::{SubscriptionChange, SubscriptionIn, SubscriptionMade, SubscriptionOut, TypeOut};
use crate::app::App;
use crate::body::JsonBytes;
use crate::call::{Call, answer};
use crate::input;
use crate::problem::Problem;
use crate::rate_limit;
use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use stentor_domain::contract::Contract;
use stentor_domain::limits::WHOLE_LIST_ITEMS_MAX;
use stentor_engine::endpoints::Which;
use stentor_store::endpoints::EndpointWithHealth;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The name of the one parameter in a path.
pub(super) const SUBSCRIPTION_ID: &str = "subscription_id";

/// What the OpenAPI document says about the whole.
#[derive(OpenApi)]
#[openapi(info(
    title = "Webhook subscriptions",
    description = "The subscriptions of a tenant: where its events are delivered.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
))]
struct Document;

pub(super) fn routes(app: &App) -> OpenApiRouter<App> {
    let routes = OpenApiRouter::new()
        .routes(routes!(types))
        .routes(routes!(list, create))
        .routes(routes!(get, update, delete));
    let routes = rate_limit::before(app, rate_limit::SUBSCRIPTIONS, routes);
    OpenApiRouter::with_openapi(Document::openapi()).merge(routes)
}

/// Get the event types that there are.
#[utoipa::path(
    get, path = "/api/v1/webhooks/types", tag = "subscriptions",
    responses((status = 200, body = [TypeOut]), (status = 422, body = ValidationErrors))
)]
async fn types(State(app): State<App>, call: Call) -> Result<Json<Vec<TypeOut>>, Problem> {
    let types = app
        .engine()
        .list_event_types(&call.caller, None, WHOLE_LIST_ITEMS_MAX)
        .await?;
    Ok(Json(types.items.into_iter().map(TypeOut::from).collect()))
}

/// Get all subscriptions, newest first.
#[utoipa::path(
    get, path = "/api/v1/webhooks", tag = "subscriptions",
    params(("X-Tenant" = Option<String>, Header, description = "The tenant, by id or uid; root and project keys only.")),
    responses((status = 200, body = [SubscriptionOut]), (status = 422, body = ValidationErrors))
)]
async fn list(State(app): State<App>, call: Call) -> Result<Json<Vec<SubscriptionOut>>, Problem> {
    let endpoints = app
        .engine()
        .list_endpoints(&call.caller, None, None, WHOLE_LIST_ITEMS_MAX)
        .await?;
    Ok(Json(endpoints.items.iter().map(SubscriptionOut::from).collect()))
}

/// Make a subscription, which receives every event type.
#[utoipa::path(
    post, path = "/api/v1/webhooks", tag = "subscriptions", request_body = SubscriptionIn,
    params(("X-Tenant" = Option<String>, Header, description = "The tenant, by id or uid; root and project keys only.")),
    responses(
        (status = 200, body = SubscriptionMade, description = "With `client_secret`, this once."),
        (status = 409, description = "The tenant has as many subscriptions as it may."),
        (status = 422, body = ValidationErrors)
    )
)]
async fn create(State(app): State<App>, call: Call, JsonBytes(body): JsonBytes) -> Result<Response, Problem> {
    let input: SubscriptionIn = input::json(&body)?;
    let tenant = app.engine().tenant(&call.caller, None)?.id;
    let once = call.once(&app, None, Some(tenant), &body, |made: &EndpointWithHealth| {
        (StatusCode::OK, input::bytes(&SubscriptionMade::of(made, None)))
    })?;
    let done = app
        .engine()
        .create_endpoint(&call.caller, Contract::Subscriptions, None, input.fields(), once)
        .await?;
    answer(done, |made| {
        Json(SubscriptionMade::of(&made.made, made.drawn.as_ref())).into_response()
    })
}

/// Get a subscription.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{subscription_id}", tag = "subscriptions",
    params(
        ("subscription_id" = i64, Path, description = "Its id."),
        ("X-Tenant" = Option<String>, Header, description = "The tenant, by id or uid; root and project keys only.")
    ),
    responses((status = 200, body = SubscriptionOut), (status = 404), (status = 422, body = ValidationErrors))
)]
async fn get(
    State(app): State<App>,
    call: Call,
    Numbered(which): Numbered,
) -> Result<Json<SubscriptionOut>, Problem> {
    let endpoint = app.engine().get_endpoint(&call.caller, which).await?;
    Ok(Json(SubscriptionOut::from(&endpoint)))
}

/// Change a subscription.
#[utoipa::path(
    patch, path = "/api/v1/webhooks/{subscription_id}", tag = "subscriptions", request_body = SubscriptionChange,
    params(
        ("subscription_id" = i64, Path, description = "Its id."),
        ("X-Tenant" = Option<String>, Header, description = "The tenant, by id or uid; root and project keys only.")
    ),
    responses((status = 200, body = SubscriptionOut), (status = 404), (status = 422, body = ValidationErrors))
)]
async fn update(
    State(app): State<App>,
    call: Call,
    Numbered(which): Numbered,
    JsonBytes(body): JsonBytes,
) -> Result<Json<SubscriptionOut>, Problem> {
    let input: SubscriptionChange = input::json(&body)?;
    let endpoint = app
        .engine()
        .update_endpoint(&call.caller, which, input.fields())
        .await?;
    Ok(Json(SubscriptionOut::from(&endpoint)))
}

/// Delete a subscription; what is unfinished is cancelled.
#[utoipa::path(
    delete, path = "/api/v1/webhooks/{subscription_id}", tag = "subscriptions",
    params(
        ("subscription_id" = i64, Path, description = "Its id."),
        ("X-Tenant" = Option<String>, Header, description = "The tenant, by id or uid; root and project keys only.")
    ),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 404),
        (status = 422, body = ValidationErrors)
    )
)]
async fn delete(
    State(app): State<App>,
    call: Call,
    Numbered(which): Numbered,
) -> Result<StatusCode, Problem> {
    app.engine().delete_endpoint(&call.caller, which).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The subscription that a path names: an integer, however large. What is none is the request's fault; one that numbers
/// nothing is told apart from it.
struct Numbered(Which<'static>);

impl<S: Send + Sync> FromRequestParts<S> for Numbered {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let integer = path.ok().map(|Path(text)| text).filter(|text| is_integer(text));
        let Some(text) = integer else {
            return Err(Problem::invalid().with_error(SUBSCRIPTION_ID, "must be an integer"));
        };
        Ok(Self(Which::Number(text.parse().ok())))
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
