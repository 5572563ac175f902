//! Reading the audit log.

use crate::error::Result;
use crate::{Caller, Engine, Page, page};
use stentor_store::audit::AuditRow;

impl Engine {
    /// What was changed in the caller's project, newest first; for a root key that names no project, everywhere.
    pub async fn list_audit(
        &self,
        caller: &Caller,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<AuditRow>> {
        caller.is_above_tenant()?;
        let project = self.project_seen(caller)?;
        let rows = self.store.audit(project, before, limit.saturating_add(1)).await?;
        Ok(page(rows, limit, |row| row.id.n()))
    }
}
