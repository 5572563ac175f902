//! `GET /v1/events`: what was accepted; and erasing what is in it.

use super::filter::Faults;
use super::pages::{PageOut, PageQuery};
use crate::app::App;
use crate::call::{Call, Named};
use crate::input;
use crate::problem::Problem;
use axum::Json;
use axum::extract::{RawQuery, State};
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stentor_domain::delivery::PayloadGone;
use stentor_store::events::{Event, EventFilter};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(erase))
}

/// The filters of the list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// Only those of this type.
    r#type: Option<String>,
    /// Only those accepted then or later, as ISO 8601.
    since: Option<String>,
    /// Only those accepted before, as ISO 8601.
    until: Option<String>,
}

impl EventsQuery {
    fn read(&self) -> Result<EventFilter, Problem> {
        let mut faults = Faults::default();
        let filter = EventFilter {
            event_type: faults.event_type(self.r#type.as_deref()),
            period: faults.period(self.since.as_deref(), self.until.as_deref()),
        };
        faults.done()?;
        Ok(filter)
    }
}

/// An event that is kept.
#[derive(Serialize, ToSchema)]
struct KeptEventOut {
    /// What receivers see as `webhook-id`.
    id: String,
    /// Your own id for it.
    #[schema(required)]
    event_id: Option<String>,
    r#type: String,
    channels: Vec<String>,
    tenant: String,
    /// How many endpoints matched.
    deliveries: u32,
    created_at: String,
    /// When it happened, if you said so.
    #[schema(required)]
    occurred_at: Option<String>,
    /// Why it has no payload any more: `expired` (it is older than payloads are kept) or `erased`; null while it has one.
    #[schema(required)]
    payload_gone: Option<&'static str>,
}

impl From<&Event> for KeptEventOut {
    fn from(event: &Event) -> Self {
        Self {
            id: event.id.to_string(),
            event_id: event.event_id.clone(),
            r#type: event.event_type.to_string(),
            channels: event.channels.texts().into_iter().map(str::to_owned).collect(),
            tenant: event.tenant.to_string(),
            deliveries: event.deliveries,
            created_at: event.created_at.iso_millis(),
            occurred_at: event.occurred_at.map(|at| at.iso_millis()),
            payload_gone: event.payload_gone.map(PayloadGone::as_str),
        }
    }
}

/// An event that is kept, with its payload.
#[derive(Serialize, ToSchema)]
struct KeptEventWithPayloadOut {
    #[serde(flatten)]
    event: KeptEventOut,
    /// As it was published, byte for byte; null once it is gone.
    #[schema(required, value_type = Option<Value>)]
    payload: Option<Box<RawValue>>,
}

impl KeptEventWithPayloadOut {
    fn of(event: &Event, payload: Option<&Bytes>) -> Self {
        let text = |payload: &Bytes| String::from_utf8(payload.to_vec()).ok();
        Self {
            event: event.into(),
            payload: payload
                .and_then(text)
                .and_then(|text| RawValue::from_string(text).ok()),
        }
    }
}

/// List events, newest first. Those of tests are left out.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", params(PageQuery, EventsQuery),
    responses((status = 200, body = PageOut<KeptEventOut>))
)]
async fn list(
    State(app): State<App>,
    call: Call,
    RawQuery(query): RawQuery,
) -> Result<Json<PageOut<KeptEventOut>>, Problem> {
    let cursors = app.cursors("v1 events", app.engine().scope(&call.caller)?);
    let (limit, before) = PageQuery::read(query.as_deref(), &cursors)?;
    let filter = input::query::<EventsQuery>(query.as_deref())?.read()?;
    let page = app
        .engine()
        .list_events(&call.caller, filter, before, limit)
        .await?;
    Ok(Json(PageOut::of(page, &cursors, |event| {
        KeptEventOut::from(&event)
    })))
}

/// Get an event with its payload.
#[utoipa::path(
    get, path = "/v1/events/{id}", tag = "events", params(("id" = String, Path, description = "Id.")),
    responses((status = 200, body = KeptEventWithPayloadOut))
)]
async fn get(
    State(app): State<App>,
    call: Call,
    Named(id): Named,
) -> Result<Json<KeptEventWithPayloadOut>, Problem> {
    let (event, payload) = app.engine().get_event(&call.caller, &id).await?;
    Ok(Json(KeptEventWithPayloadOut::of(&event, payload.as_ref())))
}

/// Erase an event's content: its payload, and what receivers have answered to it. Unfinished deliveries end; what is in flight
/// ends with its attempt. From this moment nothing shows the content; it leaves the disk a little later.
#[utoipa::path(
    delete, path = "/v1/events/{id}/content", tag = "events", params(("id" = String, Path, description = "Id.")),
    responses((status = 204, description = "It is erased."))
)]
async fn erase(State(app): State<App>, call: Call, Named(id): Named) -> Result<StatusCode, Problem> {
    app.engine().erase_event_content(&call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
