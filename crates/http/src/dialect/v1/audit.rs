//! `/v1/audit`.

use super::pages::{PageOut, PageQuery};
use crate::app::App;
use crate::call::Call;
use crate::problem::Problem;
use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use stentor_store::audit::AuditRow;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// A change: who did what, to which object, when, from where.
#[derive(Serialize, ToSchema)]
struct AuditOut {
    id: String,
    at: String,
    /// The id of the key used; null is Stentor itself or its command line.
    #[schema(required)]
    key: Option<String>,
    /// What was done, such as `tenant.created`.
    action: String,
    /// The object's id, or the name of an event type.
    object: String,
    #[schema(required)]
    tenant: Option<String>,
    /// The object's project; null for root keys.
    #[schema(required)]
    project: Option<String>,
    /// Where the request came from.
    #[schema(required)]
    address: Option<String>,
    /// What the action alone does not say.
    #[schema(required)]
    detail: Option<String>,
}

impl From<AuditRow> for AuditOut {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id.to_string(),
            at: row.at.iso_millis(),
            key: row.key.map(|id| id.to_string()),
            action: row.action,
            object: row.object,
            tenant: row.tenant.map(|id| id.to_string()),
            project: row.project.map(|id| id.to_string()),
            address: row.address,
            detail: row.detail,
        }
    }
}

/// List changes, newest first: those of the project; for a root key without `?project=` all.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(PageQuery), responses((status = 200, body = PageOut<AuditOut>)))]
async fn list(
    State(app): State<App>,
    call: Call,
    RawQuery(query): RawQuery,
) -> Result<Json<PageOut<AuditOut>>, Problem> {
    let cursors = app.cursors("v1 audit", app.engine().scope_seen(&call.caller)?);
    let (limit, before) = PageQuery::read(query.as_deref(), &cursors)?;
    let page = app.engine().list_audit(&call.caller, before, limit).await?;
    Ok(Json(PageOut::of(page, &cursors, AuditOut::from)))
}
