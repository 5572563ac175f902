//! `/v1/projects`.

use super::pages::{PageOut, PageQuery};
use crate::app::App;
use crate::body::JsonBytes;
use crate::call::{Call, Named, answer};
use crate::input::{self, Field, Object};
use crate::problem::Problem;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use stentor_domain::contract::Contract;
use stentor_domain::key::Scope;
use stentor_domain::payload_format::PayloadFormats;
use stentor_engine::projects::ProjectPatch;
use stentor_store::projects::{NewProject, Project};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, update, delete))
}

/// A new project.
#[derive(Deserialize, ToSchema)]
struct ProjectIn {
    /// Its name, unique.
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    /// Are deliveries only to destinations that the operator allows sent, and all others simulated? It stays so for good.
    sandbox: Option<bool>,
}

/// What to change of a project.
#[derive(Deserialize, ToSchema)]
struct ProjectChange {
    /// Its name, unique.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    name: Field<String>,
    /// What it is already: a project stays a sandbox, or stays none.
    sandbox: Option<bool>,
    /// What the headers of style `apps` begin with: letters, digits and hyphens, in any case. Null is `x-webhook`.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 64)]
    signature_prefix: Field<String>,
    /// What the bodies of deliveries look like to endpoints that are made from now on, by contract; null is `raw`.
    #[schema(value_type = Option<FormatsIn>)]
    payload_formats: Option<Object<FormatsIn>>,
}

/// A project: an isolated world of tenants, event types and keys.
#[derive(Serialize, ToSchema)]
struct ProjectOut {
    id: String,
    name: String,
    /// Are only deliveries to destinations that the operator allows sent, and all others simulated?
    sandbox: bool,
    /// What the headers of style `apps` begin with.
    signature_prefix: String,
    /// What the bodies of deliveries look like to new endpoints, by contract.
    payload_formats: FormatsOut,
    created_at: String,
    updated_at: String,
}

impl From<&Project> for ProjectOut {
    fn from(project: &Project) -> Self {
        Self {
            id: project.id.to_string(),
            name: project.settings.name.clone(),
            sandbox: project.sandbox,
            signature_prefix: project.settings.signature_prefix.to_string(),
            payload_formats: (&project.settings.payload_formats).into(),
            created_at: project.created_at.iso_millis(),
            updated_at: project.updated_at.iso_millis(),
        }
    }
}

/// Formats by contract, to be changed.
#[derive(Deserialize, ToSchema)]
struct FormatsIn {
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    organization: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    apps: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    subscriptions: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    v1: Field<String>,
}

impl FormatsIn {
    /// What was sent.
    fn changes(self) -> Vec<(Contract, Option<String>)> {
        let all = [
            (Contract::Organization, self.organization),
            (Contract::Apps, self.apps),
            (Contract::Subscriptions, self.subscriptions),
            (Contract::V1, self.v1),
        ];
        let sent = all.into_iter();
        sent.filter_map(|(contract, word)| Some((contract, word.clearing()?)))
            .collect()
    }
}

/// Formats by contract.
#[derive(Serialize, ToSchema)]
struct FormatsOut {
    organization: &'static str,
    apps: &'static str,
    subscriptions: &'static str,
    v1: &'static str,
}

impl From<&PayloadFormats> for FormatsOut {
    fn from(formats: &PayloadFormats) -> Self {
        let of = |contract| formats.of(contract).as_str();
        Self {
            organization: of(Contract::Organization),
            apps: of(Contract::Apps),
            subscriptions: of(Contract::Subscriptions),
            v1: of(Contract::V1),
        }
    }
}

/// Make a project.
#[utoipa::path(
    post, path = "/v1/projects", tag = "projects", request_body = ProjectIn,
    responses((status = 201, body = ProjectOut), (status = 409, description = "The name is taken."))
)]
async fn create(State(app): State<App>, call: Call, JsonBytes(body): JsonBytes) -> Result<Response, Problem> {
    let input: ProjectIn = input::json(&body)?;
    let new = NewProject {
        name: input.name,
        sandbox: input.sandbox.unwrap_or(false),
    };
    let once = call.once(&app, None, None, &body, |made: &Project| {
        (StatusCode::CREATED, input::bytes(&ProjectOut::from(made)))
    })?;
    let done = app.engine().create_project(&call.caller, new, once).await?;
    answer(done, |made| {
        (StatusCode::CREATED, Json(ProjectOut::from(&made))).into_response()
    })
}

/// List projects, newest first.
#[utoipa::path(get, path = "/v1/projects", tag = "projects", params(PageQuery), responses((status = 200, body = PageOut<ProjectOut>)))]
async fn list(
    State(app): State<App>,
    call: Call,
    RawQuery(query): RawQuery,
) -> Result<Json<PageOut<ProjectOut>>, Problem> {
    let cursors = app.cursors("v1 projects", Scope::Root);
    let (limit, before) = PageQuery::read(query.as_deref(), &cursors)?;
    let page = app.engine().list_projects(&call.caller, before, limit).await?;
    Ok(Json(PageOut::of(page, &cursors, |project| {
        ProjectOut::from(&project)
    })))
}

/// Get a project by id or name.
#[utoipa::path(get, path = "/v1/projects/{id}", tag = "projects", params(("id" = String, Path, description = "Id or name.")), responses((status = 200, body = ProjectOut)))]
async fn get(State(app): State<App>, call: Call, Named(id): Named) -> Result<Json<ProjectOut>, Problem> {
    let project = app.engine().get_project(&call.caller, &id).await?;
    Ok(Json(ProjectOut::from(&project)))
}

/// Change a project.
#[utoipa::path(
    patch, path = "/v1/projects/{id}", tag = "projects", params(("id" = String, Path, description = "Id or name.")),
    request_body = ProjectChange,
    responses((status = 200, body = ProjectOut), (status = 409, description = "The name is taken, the project is `default`, or `sandbox` would change."))
)]
async fn update(
    State(app): State<App>,
    call: Call,
    Named(id): Named,
    JsonBytes(body): JsonBytes,
) -> Result<Json<ProjectOut>, Problem> {
    let input: ProjectChange = input::json(&body)?;
    let patch = ProjectPatch {
        name: input.name.required("name")?,
        sandbox: input.sandbox,
        signature_prefix: input.signature_prefix.clearing(),
        payload_formats: input
            .payload_formats
            .map_or_else(Vec::new, |formats| formats.0.changes()),
    };
    let project = app.engine().update_project(&call.caller, &id, patch).await?;
    Ok(Json(ProjectOut::from(&project)))
}

/// Delete a project without tenants and event types; its keys are revoked.
#[utoipa::path(
    delete, path = "/v1/projects/{id}", tag = "projects", params(("id" = String, Path, description = "Id or name.")),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 409, description = "It is not empty, or it is `default`.")
    )
)]
async fn delete(State(app): State<App>, call: Call, Named(id): Named) -> Result<StatusCode, Problem> {
    app.engine().delete_project(&call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
