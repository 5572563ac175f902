//! `/v1/event-types`.

use super::pages::{PageOut, PageQuery};
use crate::app::App;
use crate::body::JsonBytes;
use crate::call::{Call, Named, answer};
use crate::input::{self, Field, json_text, stored_json};
use crate::problem::Problem;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stentor_engine::event_types::{EventTypePatch, NewEventType};
use stentor_store::event_types::EventType;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, update, archive))
}

/// A new event type.
#[derive(Deserialize, ToSchema)]
struct EventTypeIn {
    /// Its name, such as `order.completed`.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$"
    )]
    name: String,
    /// What it means.
    #[schema(max_length = 1000)]
    description: String,
    /// What its payloads look like: a JSON Schema (docs/schemas.md).
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    schema: Option<Box<RawValue>>,
    /// Refuse payloads that the schema does not hold for.
    #[schema(default = false)]
    validate: Option<bool>,
    /// The project, by name or id; root keys only.
    project: Option<String>,
}

/// What to change of an event type.
#[derive(Deserialize, ToSchema)]
struct EventTypeChange {
    /// What it means.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 1000)]
    description: Field<String>,
    /// What its payloads look like; null clears it.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    schema: Field<Box<RawValue>>,
    /// Refuse payloads that the schema does not hold for.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    validate: Field<bool>,
}

/// An event type.
#[derive(Serialize, ToSchema)]
struct EventTypeOut {
    name: String,
    description: String,
    #[schema(required, value_type = Option<Object>)]
    schema: Option<Box<RawValue>>,
    /// Are payloads refused that the schema does not hold for?
    validate: bool,
    /// Was it deleted? Lists leave it out then; publishing goes on, and creating it again brings it back.
    archived: bool,
    created_at: String,
    updated_at: String,
}

impl From<&EventType> for EventTypeOut {
    fn from(event_type: &EventType) -> Self {
        Self {
            name: event_type.name.to_string(),
            description: event_type.settings.description.clone(),
            schema: stored_json(&event_type.settings.schema),
            validate: event_type.settings.validate,
            archived: event_type.archived_at.is_some(),
            created_at: event_type.created_at.iso_millis(),
            updated_at: event_type.updated_at.iso_millis(),
        }
    }
}

/// Make an event type, or bring an archived one back.
#[utoipa::path(
    post, path = "/v1/event-types", tag = "event types", request_body = EventTypeIn,
    responses((status = 201, body = EventTypeOut), (status = 409, description = "It exists."))
)]
async fn create(State(app): State<App>, call: Call, JsonBytes(body): JsonBytes) -> Result<Response, Problem> {
    let input: EventTypeIn = input::json(&body)?;
    let once = call.once(&app, input.project.as_deref(), None, &body, |made: &EventType| {
        (StatusCode::CREATED, input::bytes(&EventTypeOut::from(made)))
    })?;
    let new = NewEventType {
        name: input.name,
        description: input.description,
        schema: input.schema.map(json_text),
        validate: input.validate.unwrap_or_default(),
    };
    let done = app
        .engine()
        .create_event_type(&call.caller, input.project.as_deref(), new, once)
        .await?;
    answer(done, |made| {
        (StatusCode::CREATED, Json(EventTypeOut::from(&made))).into_response()
    })
}

/// List event types, newest first, without archived ones.
#[utoipa::path(get, path = "/v1/event-types", tag = "event types", params(PageQuery), responses((status = 200, body = PageOut<EventTypeOut>)))]
async fn list(
    State(app): State<App>,
    call: Call,
    RawQuery(query): RawQuery,
) -> Result<Json<PageOut<EventTypeOut>>, Problem> {
    let cursors = app.cursors("v1 event types", app.engine().project(&call.caller, None)?.id);
    let (limit, before) = PageQuery::read(query.as_deref(), &cursors)?;
    let page = app.engine().list_event_types(&call.caller, before, limit).await?;
    Ok(Json(PageOut::of(page, &cursors, |event_type| {
        EventTypeOut::from(&event_type)
    })))
}

/// Get an event type by name, archived or not.
#[utoipa::path(get, path = "/v1/event-types/{name}", tag = "event types", params(("name" = String, Path, description = "Name.")), responses((status = 200, body = EventTypeOut)))]
async fn get(State(app): State<App>, call: Call, Named(name): Named) -> Result<Json<EventTypeOut>, Problem> {
    let event_type = app.engine().get_event_type(&call.caller, &name).await?;
    Ok(Json(EventTypeOut::from(&event_type)))
}

/// Change an event type.
#[utoipa::path(patch, path = "/v1/event-types/{name}", tag = "event types", params(("name" = String, Path, description = "Name.")), request_body = EventTypeChange, responses((status = 200, body = EventTypeOut)))]
async fn update(
    State(app): State<App>,
    call: Call,
    Named(name): Named,
    JsonBytes(body): JsonBytes,
) -> Result<Json<EventTypeOut>, Problem> {
    let input: EventTypeChange = input::json(&body)?;
    let patch = EventTypePatch {
        description: input.description.required("description")?,
        schema: input.schema.clearing().map(|schema| schema.map(json_text)),
        validate: input.validate.required("validate")?,
    };
    let event_type = app.engine().update_event_type(&call.caller, &name, patch).await?;
    Ok(Json(EventTypeOut::from(&event_type)))
}

/// Archive an event type: lists leave it out, publishing goes on.
#[utoipa::path(delete, path = "/v1/event-types/{name}", tag = "event types", params(("name" = String, Path, description = "Name.")), responses((status = 204, description = "It is archived.")))]
async fn archive(State(app): State<App>, call: Call, Named(name): Named) -> Result<StatusCode, Problem> {
    app.engine().archive_event_type(&call.caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
