//! Operational endpoints: those that a project has for Stentor's own events (see `jobs::notices`). Project and root keys manage
//! them; for tenant keys there are none. What a customer's endpoint can do they can too, and nothing is told of them.

use super::fields::Checked;
use super::{EndpointFields, MadeEndpoint};
use crate::error::{Check, Error, Result};
use crate::{Caller, Engine, Page, page};
use stentor_domain::contract::Contract;
use stentor_domain::name::Invalid;
use stentor_domain::notice::NoticeKind;
use stentor_domain::payload_format::PayloadFormat;
use stentor_domain::subscription::{Pattern, Types};
use stentor_store::endpoints::EndpointWithHealth;
use stentor_store::once::{Done, Once};

impl Engine {
    /// Makes an operational endpoint of the caller's project, which `project` may name.
    pub async fn create_operational_endpoint(
        &self,
        caller: &Caller,
        project: Option<&str>,
        fields: EndpointFields,
        once: Option<Once<EndpointWithHealth>>,
    ) -> Result<Done<MadeEndpoint>> {
        caller.is_above_tenant()?;
        caller.may_change()?;
        let project = self.project(caller, project)?.id;
        let checked = fields.check_new(Contract::V1, &self.settings.allow)?;
        self.check_styles(&checked, project)?;
        check(&checked)?;
        let made = self.store.operational_tenant(project, self.now()).await?;
        let tenant = made.ok_or(Error::NotFound("project"))?;
        // The project's own format is for what its customers get.
        self.make_endpoint(caller, Contract::V1, (tenant, PayloadFormat::Raw), checked, once)
            .await
    }

    /// The operational endpoints of the caller's project, newest first.
    pub async fn list_operational_endpoints(
        &self,
        caller: &Caller,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<EndpointWithHealth>> {
        caller.is_above_tenant()?;
        let project = self.project(caller, None)?.id;
        let endpoints = match self.store.config().operational_tenant(project) {
            Some(tenant) => {
                let most = limit.saturating_add(1);
                self.store.endpoints(tenant.id, before, most).await?
            }
            None => Vec::new(),
        };
        Ok(page(endpoints, limit, |one| one.endpoint.id.n()))
    }
}

/// Refuses what would never get anything.
pub(super) fn check(checked: &Checked) -> Result<()> {
    let mut faults = Check::default();
    let known = |pattern: &Pattern| {
        let mut kinds = NoticeKind::ALL.iter();
        kinds.any(|kind| pattern.matches(&kind.event_type()))
    };
    if let Some(Types::Some(patterns)) = &checked.types {
        for (at, _) in patterns.iter().enumerate().filter(|(_, pattern)| !known(pattern)) {
            let names = NoticeKind::ALL.map(NoticeKind::as_str).join(", ");
            let rule = format!("must be one of Stentor's own event types: {names}");
            faults.take_checked::<()>(Err(Invalid::new(format!("events.{at}"), rule)));
        }
    }
    if matches!(&checked.channels, Some(Some(channels)) if !channels.is_empty()) {
        faults.broken(
            "channels",
            "must be absent: Stentor's own events have no channels",
        );
    }
    faults.done()
}
