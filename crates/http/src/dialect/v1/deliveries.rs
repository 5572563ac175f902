//! `/v1/deliveries`.

pub(super) mod wire;

use super::filter::Faults;
use super::pages::{PageOut, PageQuery};
use crate::app::App;
use crate::body::JsonBytes;
use crate::call::{Call, Named, answer};
use crate::input;
use crate::problem::Problem;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use stentor_domain::delivery::{Delivery, State as DeliveryState};
use stentor_domain::id::{EndpointId, EventId};
use stentor_domain::key::Scope;
use stentor_store::deliveries::DeliveryFilter;
use stentor_store::once::Once;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::{DeliveryOut, DeliveryWithAttemptsOut};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(retry))
        .routes(routes!(cancel))
}

/// The filters of the list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct DeliveriesQuery {
    /// Only those for the endpoint with this id.
    endpoint: Option<String>,
    /// Only those of the event with this id.
    event: Option<String>,
    /// Only those of events of this type.
    r#type: Option<String>,
    /// Only those that are `pending`, `held`, `delivered`, `exhausted` or `cancelled`.
    status: Option<String>,
    /// Only those accepted then or later, as ISO 8601.
    since: Option<String>,
    /// Only those accepted before, as ISO 8601.
    until: Option<String>,
}

impl DeliveriesQuery {
    fn read(&self) -> Result<DeliveryFilter, Problem> {
        let mut faults = Faults::default();
        let filter = DeliveryFilter {
            endpoint: faults.take(
                "endpoint",
                self.endpoint.as_deref(),
                EndpointId::parse,
                "must be the id of an endpoint: ep_ and a UUID",
            ),
            event: faults.take(
                "event",
                self.event.as_deref(),
                EventId::parse,
                "must be the id of an event: evt_ and a UUID",
            ),
            event_type: faults.event_type(self.r#type.as_deref()),
            states: Vec::from_iter(faults.take(
                "status",
                self.status.as_deref(),
                DeliveryState::parse,
                "must be pending, held, delivered, exhausted or cancelled",
            )),
            without_tests: false,
            period: faults.period(self.since.as_deref(), self.until.as_deref()),
        };
        faults.done()?;
        Ok(filter)
    }
}

/// List deliveries, newest first.
#[utoipa::path(
    get, path = "/v1/deliveries", tag = "deliveries", params(PageQuery, DeliveriesQuery),
    responses((status = 200, body = PageOut<DeliveryOut>))
)]
async fn list(
    State(app): State<App>,
    call: Call,
    RawQuery(query): RawQuery,
) -> Result<Json<PageOut<DeliveryOut>>, Problem> {
    let cursors = app.cursors("v1 deliveries", app.engine().scope(&call.caller)?);
    let (limit, before) = PageQuery::read(query.as_deref(), &cursors)?;
    let filter = input::query::<DeliveriesQuery>(query.as_deref())?.read()?;
    let page = app
        .engine()
        .list_deliveries(&call.caller, filter, before, limit)
        .await?;
    Ok(Json(PageOut::of(page, &cursors, |delivery| {
        DeliveryOut::from(&delivery)
    })))
}

/// Get a delivery with its attempts.
#[utoipa::path(
    get, path = "/v1/deliveries/{id}", tag = "deliveries", params(("id" = String, Path, description = "Id.")),
    responses((status = 200, body = DeliveryWithAttemptsOut))
)]
async fn get(
    State(app): State<App>,
    call: Call,
    Named(id): Named,
) -> Result<Json<DeliveryWithAttemptsOut>, Problem> {
    let (delivery, attempts) = app.engine().get_delivery(&call.caller, &id).await?;
    Ok(Json(DeliveryWithAttemptsOut::of(&delivery, &attempts)))
}

/// Try a delivery again now, under the same `webhook-id`. One that has ended gets a fresh schedule; one whose endpoint is
/// paused waits on.
#[utoipa::path(
    post, path = "/v1/deliveries/{id}/retry", tag = "deliveries", params(("id" = String, Path, description = "Id.")),
    responses(
        (status = 202, description = "It is due now.", body = DeliveryOut),
        (status = 409, description = "Its endpoint is disabled or deleted, its payload is gone, or it is a test."),
    )
)]
async fn retry(
    State(app): State<App>,
    call: Call,
    Named(id): Named,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let once = once(&app, &call, &body, |_| StatusCode::ACCEPTED)?;
    let done = app.engine().retry_delivery(&call.caller, &id, once).await?;
    answer(done, |delivery| {
        (StatusCode::ACCEPTED, Json(DeliveryOut::from(&delivery))).into_response()
    })
}

/// End a delivery. One that is in flight is delivered if its receiver still takes it, and cancelled otherwise.
#[utoipa::path(
    post, path = "/v1/deliveries/{id}/cancel", tag = "deliveries", params(("id" = String, Path, description = "Id.")),
    responses(
        (status = 200, description = "It has ended.", body = DeliveryOut),
        (status = 202, description = "It is in flight and ends with this attempt.", body = DeliveryOut),
        (status = 409, description = "It had ended before."),
    )
)]
async fn cancel(
    State(app): State<App>,
    call: Call,
    Named(id): Named,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let once = once(&app, &call, &body, cancel_status)?;
    let done = app.engine().cancel_delivery(&call.caller, &id, once).await?;
    answer(done, |delivery| {
        (cancel_status(&delivery), Json(DeliveryOut::from(&delivery))).into_response()
    })
}

fn cancel_status(delivery: &Delivery) -> StatusCode {
    if delivery.state.finished() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    }
}

fn once(
    app: &App,
    call: &Call,
    body: &[u8],
    status: impl Fn(&Delivery) -> StatusCode + Send + Sync + 'static,
) -> Result<Option<Once<Delivery>>, Problem> {
    let tenant = match app.engine().scope_of_named(&call.caller)? {
        Scope::Tenant(_, tenant) => Some(tenant),
        Scope::Root | Scope::Project(_) => None,
    };
    call.once(app, None, tenant, body, move |delivery| {
        (status(delivery), input::bytes(&DeliveryOut::from(delivery)))
    })
}
