//! `/v1/tenants`.

use super::pages::{PageOut, PageQuery};
use crate::app::App;
use crate::body::JsonBytes;
use crate::call::{Call, Named, answer};
use crate::input::{self, Field, json_text};
use crate::problem::Problem;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stentor_engine::tenants::{NewTenant, TenantPatch};
use stentor_store::tenants::Tenant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, update, delete))
        .routes(routes!(erase))
}

/// A new tenant.
#[derive(Deserialize, ToSchema)]
struct TenantIn {
    /// Its display name.
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    /// Your own id for it, unique in the project.
    #[schema(min_length = 1, max_length = 256, pattern = "^[A-Za-z0-9_.-]+$")]
    uid: Option<String>,
    /// Your own notes about it.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Box<RawValue>>,
    /// The project, by name or id; root keys only.
    project: Option<String>,
}

/// What to change of a tenant.
#[derive(Deserialize, ToSchema)]
struct TenantChange {
    /// Its display name.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    name: Field<String>,
    /// Your own id for it; null clears it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    uid: Field<String>,
    /// Your own notes about it; null clears them.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    metadata: Field<Box<RawValue>>,
}

/// A tenant: one customer of yours.
#[derive(Serialize, ToSchema)]
struct TenantOut {
    id: String,
    name: String,
    #[schema(required)]
    uid: Option<String>,
    #[schema(required, value_type = Option<Object>)]
    metadata: Option<Box<RawValue>>,
    created_at: String,
    updated_at: String,
}

impl From<&Tenant> for TenantOut {
    fn from(tenant: &Tenant) -> Self {
        let settings = &tenant.settings;
        Self {
            id: tenant.id.to_string(),
            name: settings.name.clone(),
            uid: settings.uid.clone(),
            metadata: settings
                .metadata
                .clone()
                .and_then(|text| RawValue::from_string(text).ok()),
            created_at: tenant.created_at.iso_millis(),
            updated_at: tenant.updated_at.iso_millis(),
        }
    }
}

/// Make a tenant.
#[utoipa::path(
    post, path = "/v1/tenants", tag = "tenants", request_body = TenantIn,
    responses((status = 201, body = TenantOut), (status = 409, description = "The uid is taken."))
)]
async fn create(State(app): State<App>, call: Call, JsonBytes(body): JsonBytes) -> Result<Response, Problem> {
    let input: TenantIn = input::json(&body)?;
    let once = call.once(&app, input.project.as_deref(), None, &body, |made: &Tenant| {
        (StatusCode::CREATED, input::bytes(&TenantOut::from(made)))
    })?;
    let new = NewTenant {
        name: input.name,
        uid: input.uid,
        metadata: input.metadata.map(json_text),
    };
    let done = app
        .engine()
        .create_tenant(&call.caller, input.project.as_deref(), new, once)
        .await?;
    answer(done, |made| {
        (StatusCode::CREATED, Json(TenantOut::from(&made))).into_response()
    })
}

/// List tenants, newest first.
#[utoipa::path(get, path = "/v1/tenants", tag = "tenants", params(PageQuery), responses((status = 200, body = PageOut<TenantOut>)))]
async fn list(
    State(app): State<App>,
    call: Call,
    RawQuery(query): RawQuery,
) -> Result<Json<PageOut<TenantOut>>, Problem> {
    let cursors = app.cursors("v1 tenants", app.engine().project(&call.caller, None)?.id);
    let (limit, before) = PageQuery::read(query.as_deref(), &cursors)?;
    let page = app.engine().list_tenants(&call.caller, before, limit).await?;
    Ok(Json(PageOut::of(page, &cursors, |tenant| {
        TenantOut::from(&tenant)
    })))
}

/// Get a tenant by id or uid.
#[utoipa::path(get, path = "/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path, description = "Id or uid.")), responses((status = 200, body = TenantOut)))]
async fn get(State(app): State<App>, call: Call, Named(id): Named) -> Result<Json<TenantOut>, Problem> {
    let tenant = app.engine().get_tenant(&call.caller, &id).await?;
    Ok(Json(TenantOut::from(&tenant)))
}

/// Change a tenant.
#[utoipa::path(patch, path = "/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path, description = "Id or uid.")), request_body = TenantChange, responses((status = 200, body = TenantOut)))]
async fn update(
    State(app): State<App>,
    call: Call,
    Named(id): Named,
    JsonBytes(body): JsonBytes,
) -> Result<Json<TenantOut>, Problem> {
    let input: TenantChange = input::json(&body)?;
    let patch = TenantPatch {
        name: input.name.required("name")?,
        uid: input.uid.clearing(),
        metadata: input.metadata.clearing().map(|json| json.map(json_text)),
    };
    let tenant = app.engine().update_tenant(&call.caller, &id, patch).await?;
    Ok(Json(TenantOut::from(&tenant)))
}

/// Delete a tenant with its endpoints; what is unfinished is cancelled.
#[utoipa::path(delete, path = "/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path, description = "Id or uid.")), responses((status = 204, description = "It is deleted.")))]
async fn delete(State(app): State<App>, call: Call, Named(id): Named) -> Result<StatusCode, Problem> {
    app.engine().delete_tenant(&call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Erase the content of everything that a tenant has published so far: payloads, and what receivers have answered to them.
/// Unfinished deliveries end; what is in flight ends with its attempt. From this moment nothing shows the content; it leaves the
/// disk in the background, and the audit log says when that is done.
#[utoipa::path(delete, path = "/v1/tenants/{id}/content", tag = "tenants", params(("id" = String, Path, description = "Id or uid.")), responses((status = 204, description = "It is erased.")))]
async fn erase(State(app): State<App>, call: Call, Named(id): Named) -> Result<StatusCode, Problem> {
    app.engine().erase_tenant_content(&call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
