//! `/v1/replays`.

use super::endpoints::which;
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
use stentor_domain::delivery::{Reason, State as DeliveryState};
use stentor_domain::id::EndpointId;
use stentor_domain::key::Scope;
use stentor_domain::replay::{Replay, ReplayProgress, ReplaySpec};
use stentor_engine::replays::ReplayFields;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get))
        .routes(routes!(cancel))
}

/// What to send again, and where to.
#[derive(Deserialize, ToSchema)]
struct ReplayIn {
    /// The endpoint's id.
    endpoint: String,
    /// Only what was accepted then or later; in the past.
    #[schema(value_type = String, format = DateTime)]
    since: Instant,
    /// Only what was accepted before. Never later than the replay is asked for, which is also the default.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Instant>,
    /// Only deliveries that have ended so: `delivered`, `exhausted` or `cancelled`.
    #[schema(pattern = "^(delivered|exhausted|cancelled)$")]
    status: Option<String>,
    /// Only events of this type.
    r#type: Option<String>,
    /// Also events that have no delivery for the endpoint, and that it wants as it is now. Without `status` only these.
    missing: Option<bool>,
    /// Only count what would be replayed.
    dry_run: Option<bool>,
}

impl ReplayIn {
    fn fields(self) -> ReplayFields {
        ReplayFields {
            endpoint: EndpointId::parse(&self.endpoint),
            since: self.since.0,
            until: self.until.map(|until| until.0),
            status: self.status,
            event_type: self.r#type,
            missing: self.missing.unwrap_or(false),
        }
    }
}

/// A replay.
#[derive(Debug, Serialize, ToSchema)]
struct ReplayOut {
    id: String,
    endpoint: String,
    tenant: String,
    /// `queued`, `running`, `done` or `cancelled`. Of an endpoint's replays one runs at a time.
    status: &'static str,
    /// Why it was cancelled, or what its endpoint waits for while it has not ended.
    #[schema(required)]
    reason: Option<&'static str>,
    filter: FilterOut,
    progress: ProgressOut,
    created_at: String,
    #[schema(required)]
    finished_at: Option<String>,
}

/// What a replay sends again.
#[derive(Debug, Serialize, ToSchema)]
struct FilterOut {
    since: String,
    until: String,
    #[schema(required)]
    status: Option<&'static str>,
    #[schema(required)]
    r#type: Option<String>,
    missing: bool,
}

/// How far a replay has come.
#[derive(Debug, Serialize, ToSchema)]
struct ProgressOut {
    /// About how many deliveries, and events where missing ones are looked for, there are to look at; null before it runs, and
    /// where there are too many to count.
    #[schema(required)]
    total: Option<u64>,
    /// Those that it has looked at.
    considered: u64,
    /// Those of them that it has made due.
    replayed: u64,
    /// Those that it was to replay and could not: unfinished ones, and those whose payload is gone.
    skipped: u64,
}

/// How many deliveries a replay would make due.
#[derive(Debug, Serialize, ToSchema)]
struct CountOut {
    count: u64,
}

impl From<&Replay> for ReplayOut {
    fn from(replay: &Replay) -> Self {
        Self {
            id: replay.id.to_string(),
            endpoint: replay.endpoint.to_string(),
            tenant: replay.tenant.to_string(),
            status: replay.state.as_str(),
            reason: replay.reason.map(Reason::as_str),
            filter: FilterOut::from(&replay.spec),
            progress: replay.progress.into(),
            created_at: replay.created_at.iso_millis(),
            finished_at: replay.finished_at.map(|at| at.iso_millis()),
        }
    }
}

impl From<&ReplaySpec> for FilterOut {
    fn from(spec: &ReplaySpec) -> Self {
        Self {
            since: spec.since.iso_millis(),
            until: spec.until.iso_millis(),
            status: spec.state.map(DeliveryState::as_str),
            r#type: spec.event_type.as_ref().map(ToString::to_string),
            missing: spec.missing,
        }
    }
}

impl From<ReplayProgress> for ProgressOut {
    fn from(progress: ReplayProgress) -> Self {
        let ReplayProgress {
            total,
            considered,
            replayed,
            skipped,
        } = progress;
        Self {
            total,
            considered,
            replayed,
            skipped,
        }
    }
}

/// Send again what an endpoint was sent before, or never, under the same `webhook-id`, at the endpoint's own pace. It is done in the
/// background, one replay of an endpoint at a time; the others are queued.
#[utoipa::path(
    post, path = "/v1/replays", tag = "replays", request_body = ReplayIn,
    responses(
        (status = 202, description = "It is queued.", body = ReplayOut),
        (status = 200, description = "With `dry_run`: how many deliveries would be made due.", body = CountOut),
        (status = 409, description = "The endpoint is disabled, or has too many replays that have not ended."),
    )
)]
async fn create(State(app): State<App>, call: Call, JsonBytes(body): JsonBytes) -> Result<Response, Problem> {
    let input: ReplayIn = input::json(&body)?;
    let tenant = app
        .engine()
        .endpoint(&call.caller, which(&input.endpoint))?
        .endpoint
        .tenant;
    if input.dry_run == Some(true) {
        let once = call.once(&app, None, Some(tenant), &body, |count| {
            (StatusCode::OK, input::bytes(&CountOut { count: *count }))
        })?;
        let done = app.engine().count_replay(&call.caller, input.fields(), once);
        return answer(done.await?, |count| Json(CountOut { count }).into_response());
    }
    let once = call.once(&app, None, Some(tenant), &body, |replay| {
        (StatusCode::ACCEPTED, input::bytes(&ReplayOut::from(replay)))
    })?;
    let done = app.engine().create_replay(&call.caller, input.fields(), once);
    answer(done.await?, |replay| {
        (StatusCode::ACCEPTED, Json(ReplayOut::from(&replay))).into_response()
    })
}

/// List replays, newest first.
#[utoipa::path(get, path = "/v1/replays", tag = "replays", params(PageQuery), responses((status = 200, body = PageOut<ReplayOut>)))]
async fn list(
    State(app): State<App>,
    call: Call,
    RawQuery(query): RawQuery,
) -> Result<Json<PageOut<ReplayOut>>, Problem> {
    let cursors = app.cursors("v1 replays", app.engine().scope(&call.caller)?);
    let (limit, before) = PageQuery::read(query.as_deref(), &cursors)?;
    let page = app.engine().list_replays(&call.caller, before, limit).await?;
    Ok(Json(PageOut::of(page, &cursors, |replay| {
        ReplayOut::from(&replay)
    })))
}

/// Get a replay with its progress.
#[utoipa::path(get, path = "/v1/replays/{id}", tag = "replays", params(("id" = String, Path, description = "Id.")), responses((status = 200, body = ReplayOut)))]
async fn get(State(app): State<App>, call: Call, Named(id): Named) -> Result<Json<ReplayOut>, Problem> {
    let replay = app.engine().get_replay(&call.caller, &id).await?;
    Ok(Json(ReplayOut::from(&replay)))
}

/// End a replay. What it has made due and is unfinished is cancelled, too; what is in flight is delivered if its receiver still takes
/// it.
#[utoipa::path(
    post, path = "/v1/replays/{id}/cancel", tag = "replays", params(("id" = String, Path, description = "Id.")),
    responses(
        (status = 200, description = "It has ended.", body = ReplayOut),
        (status = 409, description = "It had ended before."),
    )
)]
async fn cancel(
    State(app): State<App>,
    call: Call,
    Named(id): Named,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    let tenant = match app.engine().scope_of_named(&call.caller)? {
        Scope::Tenant(_, tenant) => Some(tenant),
        Scope::Root | Scope::Project(_) => None,
    };
    let once = call.once(&app, None, tenant, &body, |replay| {
        (StatusCode::OK, input::bytes(&ReplayOut::from(replay)))
    })?;
    let done = app.engine().cancel_replay(&call.caller, &id, once).await?;
    answer(done, |replay| Json(ReplayOut::from(&replay)).into_response())
}
