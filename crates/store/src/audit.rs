//! The audit log: who did what, to which object, when, from where. Its rows are written by the changes themselves (see
//! [`change`](crate::change)); here they are read.

use crate::Store;
use crate::error::Result;
use crate::tx::{Row, values};
use stentor_domain::Timestamp;
use stentor_domain::id::{AuditId, Id, KeyId, ProjectId, TenantId};

/// A row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Its id.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// With which key; `None` is Stentor itself or its command line.
    pub key: Option<KeyId>,
    /// What was done, such as `tenant.created`.
    pub action: String,
    /// To which object: its id, or the name of an event type.
    pub object: String,
    /// The object's project; root keys belong to none.
    pub project: Option<ProjectId>,
    /// The object's tenant, where it has one.
    pub tenant: Option<TenantId>,
    /// From where.
    pub address: Option<String>,
    /// What the action alone does not say.
    pub detail: Option<String>,
}

/// A question for rows, whose columns [`read`] expects.
macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT n, tag, at, key, key_tag, action, object,
                    project, (SELECT tag FROM projects WHERE n = audit.project),
                    tenant, (SELECT tag FROM tenants WHERE n = audit.tenant), address, detail
             FROM audit ",
            $condition
        )
    };
}

impl Store {
    /// The rows of a project, or of all with `None`, newest first, those older than `before`; at most `limit`.
    pub async fn audit(
        &self,
        project: Option<ProjectId>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>> {
        let before = before.unwrap_or(i64::MAX);
        self.ask(move |tx| {
            Box::pin(async move {
                match project {
                    Some(project) => {
                        let sql = select!("WHERE project = ?1 AND n < ?2 ORDER BY n DESC LIMIT ?3");
                        tx.rows(sql, values![project.n(), before, limit], read).await
                    }
                    None => {
                        let sql = select!("WHERE n < ?1 ORDER BY n DESC LIMIT ?2");
                        tx.rows(sql, values![before, limit], read).await
                    }
                }
            })
        })
        .await
    }
}

fn read(row: &Row<'_>) -> Result<AuditRow> {
    // A row outlives what it tells of; without its tag the id of what is gone cannot be spelled.
    let id = |n: usize, tag: usize| -> Result<Option<Id>> {
        let (n, tag) = (row.int_or_null(n)?, row.int_or_null(tag)?);
        Ok(n.zip(tag).map(|(n, tag)| Id { n, tag }))
    };
    Ok(AuditRow {
        id: AuditId(row.id(0)?),
        at: row.time(2)?,
        key: id(3, 4)?.map(KeyId),
        action: row.text(5)?,
        object: row.text(6)?,
        project: id(7, 8)?.map(ProjectId),
        tenant: id(9, 10)?.map(TenantId),
        address: row.text_or_null(11)?,
        detail: row.text_or_null(12)?,
    })
}
