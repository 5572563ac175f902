//! The operations, each parsed, asked of the engine, and rendered.

use super::wire::deliveries::{DeliveriesOut, DeliveriesQuery};
use super::wire::{
    ChangedOut, EndpointChange, EndpointIn, ListedOut, MadeOut, PingOut, RotationOut, Wrapped,
};
use crate::app::App;
use crate::body::JsonBytes;
use crate::call::{Call, Named, answer};
use crate::input;
use crate::problem::Problem;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use stentor_domain::contract::Contract;
use stentor_domain::id::{EndpointId, Id};
use stentor_domain::limits::WHOLE_LIST_ITEMS_MAX;
use stentor_engine::endpoints::{RotationFields, Which};
use stentor_engine::test_send::TestSend;
use stentor_store::endpoints::EndpointWithHealth;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The old secret signs nothing from the moment that there is a new one.
const ROTATION_GRACE_SECONDS: i64 = 0;
/// The name of the list whose cursors are given here.
const DELIVERIES: &str = "apps deliveries";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(update, delete))
        .routes(routes!(rotate_secret))
        .routes(routes!(test_ping))
        .routes(routes!(deliveries))
}

/// The app and the webhook endpoint in a path.
type AppAndWebhook = Named<(String, String)>;

/// The endpoint that a path names: a bare UUID within an app.
fn which((app, id): &(String, String)) -> Which<'_> {
    Which::Of(app, Id::parse_uuid(id).map(EndpointId))
}

/// Create a webhook endpoint. Its signing secret is shown this once.
#[utoipa::path(
    post, path = "/apps/{appId}/webhooks", tag = "webhooks", request_body = EndpointIn,
    params(("appId" = String, Path, description = "The app, by id or uid.")),
    responses(
        (status = 201, body = Wrapped<MadeOut>),
        (status = 409, description = "The app has as many webhook endpoints as it may.")
    )
)]
async fn create(
    State(app): State<App>,
    call: Call,
    Named(named): Named,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let tenant = app.engine().tenant_in_path(&call.caller, &named)?.id;
    let input: EndpointIn = input::json(&body)?;
    let once = call.once(&app, None, Some(tenant), &body, |made: &EndpointWithHealth| {
        let shown = Wrapped::<MadeOut>::of(MadeOut::of(made, None));
        (StatusCode::CREATED, input::bytes(&shown))
    })?;
    let done = app
        .engine()
        .create_endpoint(&call.caller, Contract::Apps, Some(&named), input.fields(), once)
        .await?;
    answer(done, |made| {
        let shown = MadeOut::of(&made.made, made.drawn.as_ref());
        (StatusCode::CREATED, Json(Wrapped::<MadeOut>::of(shown))).into_response()
    })
}

/// List an app's webhook endpoints, newest first, whichever contract they were made through.
#[utoipa::path(
    get, path = "/apps/{appId}/webhooks", tag = "webhooks",
    params(("appId" = String, Path, description = "The app, by id or uid.")),
    responses((status = 200, body = Wrapped<Vec<ListedOut>>))
)]
async fn list(
    State(app): State<App>,
    call: Call,
    Named(named): Named,
) -> Result<Json<Wrapped<Vec<ListedOut>>>, Problem> {
    app.engine().tenant_in_path(&call.caller, &named)?;
    let page = app
        .engine()
        .list_endpoints(&call.caller, Some(&named), None, WHOLE_LIST_ITEMS_MAX)
        .await?;
    let listed: Vec<_> = page.items.iter().map(ListedOut::from).collect();
    Ok(Json(Wrapped::of(listed)))
}

/// Update a webhook endpoint. Only the fields that are sent are changed.
#[utoipa::path(
    put, path = "/apps/{appId}/webhooks/{webhookId}", tag = "webhooks", request_body = EndpointChange,
    params(
        ("appId" = String, Path, description = "The app, by id or uid."),
        ("webhookId" = String, Path, format = "uuid", description = "The webhook endpoint.")
    ),
    responses((status = 200, body = Wrapped<ChangedOut>))
)]
async fn update(
    State(app): State<App>,
    call: Call,
    Named(named): AppAndWebhook,
    JsonBytes(body): JsonBytes,
) -> Result<Json<Wrapped<ChangedOut>>, Problem> {
    let input: EndpointChange = input::json(&body)?;
    let endpoint = app
        .engine()
        .update_endpoint(&call.caller, which(&named), input.fields())
        .await?;
    Ok(Json(Wrapped::of(&endpoint)))
}

/// Delete a webhook endpoint for good; what is unfinished is cancelled.
#[utoipa::path(
    delete, path = "/apps/{appId}/webhooks/{webhookId}", tag = "webhooks",
    params(
        ("appId" = String, Path, description = "The app, by id or uid."),
        ("webhookId" = String, Path, format = "uuid", description = "The webhook endpoint.")
    ),
    responses((status = 204, description = "It is deleted."))
)]
async fn delete(
    State(app): State<App>,
    call: Call,
    Named(named): AppAndWebhook,
) -> Result<StatusCode, Problem> {
    app.engine().delete_endpoint(&call.caller, which(&named)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Draw a new signing secret, shown this once. The old one signs nothing any more.
#[utoipa::path(
    post, path = "/apps/{appId}/webhooks/{webhookId}/rotate-secret", tag = "webhooks",
    params(
        ("appId" = String, Path, description = "The app, by id or uid."),
        ("webhookId" = String, Path, format = "uuid", description = "The webhook endpoint.")
    ),
    responses((status = 200, body = Wrapped<RotationOut>))
)]
async fn rotate_secret(
    State(app): State<App>,
    call: Call,
    Named(named): AppAndWebhook,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let tenant = app
        .engine()
        .endpoint(&call.caller, which(&named))?
        .endpoint
        .tenant;
    let once = call.once(&app, None, Some(tenant), &body, |(): &()| {
        let shown = Wrapped::<RotationOut>::of(RotationOut::default());
        (StatusCode::OK, input::bytes(&shown))
    })?;
    let fields = RotationFields {
        secret: None,
        grace_seconds: Some(ROTATION_GRACE_SECONDS),
    };
    let done = app
        .engine()
        .rotate_secret(&call.caller, which(&named), Contract::Apps, fields, once)
        .await?;
    answer(done, |drawn| {
        Json(Wrapped::<RotationOut>::of(drawn)).into_response()
    })
}

/// Send a test event to a webhook endpoint now, also while it is inactive, and answer what came of it.
#[utoipa::path(
    post, path = "/apps/{appId}/webhooks/{webhookId}/test-ping", tag = "webhooks",
    params(
        ("appId" = String, Path, description = "The app, by id or uid."),
        ("webhookId" = String, Path, format = "uuid", description = "The webhook endpoint.")
    ),
    responses((status = 200, description = "The test was made, with success or without.", body = Wrapped<PingOut>))
)]
async fn test_ping(
    State(app): State<App>,
    call: Call,
    Named(named): AppAndWebhook,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let tenant = app
        .engine()
        .endpoint(&call.caller, which(&named))?
        .endpoint
        .tenant;
    let once = call.once(&app, None, Some(tenant), &body, |made: &TestSend| {
        (StatusCode::OK, input::bytes(&Wrapped::<PingOut>::of(made)))
    })?;
    let done = app
        .engine()
        .test_endpoint(&call.caller, which(&named), once)
        .await?;
    answer(done, |made| Json(Wrapped::<PingOut>::of(&made)).into_response())
}

/// List a webhook endpoint's deliveries, newest first. Tests are not among them.
#[utoipa::path(
    get, path = "/apps/{appId}/webhooks/{webhookId}/deliveries", tag = "webhooks",
    params(
        ("appId" = String, Path, description = "The app, by id or uid."),
        ("webhookId" = String, Path, format = "uuid", description = "The webhook endpoint."),
        DeliveriesQuery
    ),
    responses(
        (status = 200, body = Wrapped<DeliveriesOut>),
        (status = 400, description = "The cursor is not one that was given for this webhook endpoint: `bad_cursor`.")
    )
)]
async fn deliveries(
    State(app): State<App>,
    call: Call,
    Named(named): AppAndWebhook,
    RawQuery(query): RawQuery,
) -> Result<Json<Wrapped<DeliveriesOut>>, Problem> {
    let endpoint = app.engine().endpoint(&call.caller, which(&named))?;
    let cursors = app.cursors(
        DELIVERIES,
        format!("{} {}", endpoint.endpoint.tenant, endpoint.endpoint.id),
    );
    let asked = DeliveriesQuery::read(query.as_deref(), &cursors)?;
    let page = app
        .engine()
        .deliveries_of_endpoint(&endpoint, asked.filter, asked.before, asked.limit)
        .await?;
    Ok(Json(Wrapped::of(DeliveriesOut::of(page, &cursors))))
}
