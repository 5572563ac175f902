//! `/v1/keys`.

use super::pages::{PageOut, PageQuery};
use crate::app::App;
use crate::body::JsonBytes;
use crate::call::{Call, Named, answer};
use crate::input::{self, Instant};
use crate::problem::Problem;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use stentor_domain::Timestamp;
use stentor_domain::key::{Key, Scope};
use stentor_engine::keys::{MadeKey, NewKey, Role};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(revoke))
}

/// What a key may do.
// Read by way of a text: serde_json calls a number where it wants a variant malformed JSON, and so would our answer.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(rename_all = "lowercase")]
enum RoleIn {
    Root,
    Project,
    Tenant,
}

impl TryFrom<String> for RoleIn {
    type Error = &'static str;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        match word.as_str() {
            "root" => Ok(Self::Root),
            "project" => Ok(Self::Project),
            "tenant" => Ok(Self::Tenant),
            _ => Err("must be root, project or tenant"),
        }
    }
}

/// A new key.
#[derive(Deserialize, ToSchema)]
struct KeyIn {
    /// A root key makes any, a project key makes tenant keys.
    role: RoleIn,
    /// The project of a project's or tenant's key, by name or id.
    project: Option<String>,
    /// The tenant of a tenant's key, by id or uid.
    tenant: Option<String>,
    /// The key may look but change nothing.
    read_only: Option<bool>,
    /// What the key is for.
    #[schema(min_length = 1, max_length = 255)]
    name: Option<String>,
    /// When the key ends by itself; without it never.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Instant>,
}

/// A key.
#[derive(Serialize, ToSchema)]
struct KeyOut {
    id: String,
    /// The key's text, in the answer to its creation only.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    role: &'static str,
    /// The project's id; null for a root key.
    #[schema(required)]
    project: Option<String>,
    /// The tenant's id; null but for a tenant key.
    #[schema(required)]
    tenant: Option<String>,
    read_only: bool,
    #[schema(required)]
    name: Option<String>,
    created_at: String,
    #[schema(required)]
    expires_at: Option<String>,
    /// To the minute, and shown within a few minutes; null if never.
    #[schema(required)]
    last_used_at: Option<String>,
}

impl From<&Key> for KeyOut {
    fn from(key: &Key) -> Self {
        let (project, tenant) = match key.scope {
            Scope::Root => (None, None),
            Scope::Project(project) => (Some(project), None),
            Scope::Tenant(project, tenant) => (Some(project), Some(tenant)),
        };
        Self {
            id: key.id.to_string(),
            key: None,
            role: key.scope.role(),
            project: project.map(|id| id.to_string()),
            tenant: tenant.map(|id| id.to_string()),
            read_only: key.read_only,
            name: key.name.clone(),
            created_at: key.created_at.iso_millis(),
            expires_at: key.expires_at.map(Timestamp::iso_millis),
            last_used_at: key.last_used_at.map(Timestamp::iso_millis),
        }
    }
}

impl KeyOut {
    fn with_text(made: &MadeKey) -> Self {
        Self {
            key: Some(made.text.expose().to_owned()),
            ..Self::from(&made.key)
        }
    }
}

impl From<KeyIn> for NewKey {
    fn from(input: KeyIn) -> Self {
        Self {
            role: match input.role {
                RoleIn::Root => Role::Root,
                RoleIn::Project => Role::Project,
                RoleIn::Tenant => Role::Tenant,
            },
            project: input.project,
            tenant: input.tenant,
            read_only: input.read_only.unwrap_or(false),
            name: input.name,
            expires_at: input.expires_at.map(|at| at.0),
        }
    }
}

/// Make a key. Its text is shown this once.
#[utoipa::path(
    post, path = "/v1/keys", tag = "keys", request_body = KeyIn,
    responses((status = 201, body = KeyOut))
)]
async fn create(State(app): State<App>, call: Call, JsonBytes(body): JsonBytes) -> Result<Response, Problem> {
    let input: KeyIn = input::json(&body)?;
    let once = call.once(&app, input.project.as_deref(), None, &body, |key: &Key| {
        (StatusCode::CREATED, input::bytes(&KeyOut::from(key)))
    })?;
    let done = app.engine().create_key(&call.caller, input.into(), once).await?;
    answer(done, |made| {
        (StatusCode::CREATED, Json(KeyOut::with_text(&made))).into_response()
    })
}

/// List keys, newest first: those of the project; for a root key without `?project=` all. Revoked keys are left out.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", params(PageQuery), responses((status = 200, body = PageOut<KeyOut>)))]
async fn list(
    State(app): State<App>,
    call: Call,
    RawQuery(query): RawQuery,
) -> Result<Json<PageOut<KeyOut>>, Problem> {
    let cursors = app.cursors("v1 keys", app.engine().scope_seen(&call.caller)?);
    let (limit, before) = PageQuery::read(query.as_deref(), &cursors)?;
    let page = app.engine().list_keys(&call.caller, before, limit).await?;
    Ok(Json(PageOut::of(page, &cursors, |key| KeyOut::from(&key))))
}

/// Revoke a key: from this moment it is unknown.
#[utoipa::path(
    delete, path = "/v1/keys/{id}", tag = "keys", params(("id" = String, Path, description = "Id.")),
    responses(
        (status = 204, description = "It is revoked."),
        (status = 409, description = "It is the last root key that may change things.")
    )
)]
async fn revoke(State(app): State<App>, call: Call, Named(id): Named) -> Result<StatusCode, Problem> {
    app.engine().revoke_key(&call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
