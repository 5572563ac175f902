//! Managing projects: for root keys only. Project `default` can neither be renamed nor deleted, since root keys act in it
//! unless they name another.

use crate::error::{Check, Error, Result};
use crate::{Caller, DEFAULT_PROJECT, Engine, Page, page};
use std::sync::Arc;
use stentor_domain::contract::Contract;
use stentor_domain::id::ProjectId;
use stentor_domain::name::check_name;
use stentor_domain::payload_format::PayloadFormat;
use stentor_domain::signature_prefix::SignaturePrefix;
use stentor_store::config::ProjectConfig;
use stentor_store::once::{Done, Once};
use stentor_store::projects::{NewProject, Project, ProjectError};

/// What a caller wants changed of a project; `None` leaves alone.
#[derive(Clone, Debug, Default)]
pub struct ProjectPatch {
    /// Its name.
    pub name: Option<String>,
    /// Whether it is a sandbox, which cannot change: only what it is already is taken.
    pub sandbox: Option<bool>,
    /// The prefix of its signature headers; `Some(None)` takes the default.
    pub signature_prefix: Option<Option<String>>,
    /// Formats of new endpoints' deliveries by contract; `None` is raw.
    pub payload_formats: Vec<(Contract, Option<String>)>,
}

impl Engine {
    /// Makes a project.
    pub async fn create_project(
        &self,
        caller: &Caller,
        new: NewProject,
        once: Option<Once<Project>>,
    ) -> Result<Done<Project>> {
        caller.is_root()?;
        caller.may_change()?;
        let mut check = Check::default();
        check_project_name(&mut check, &new.name);
        check.done()?;
        Ok(self.store.create_project(self.by(caller), new, once).await?)
    }

    /// The project with this id or name.
    pub async fn get_project(&self, caller: &Caller, named: &str) -> Result<Project> {
        caller.is_root()?;
        let id = self.known_project(named)?.id;
        self.store.project(id).await?.ok_or(Error::NotFound("project"))
    }

    /// All projects, newest first.
    pub async fn list_projects(
        &self,
        caller: &Caller,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<Project>> {
        caller.is_root()?;
        let projects = self.store.projects(before, limit.saturating_add(1)).await?;
        Ok(page(projects, limit, |project| project.id.n()))
    }

    /// Changes a project.
    pub async fn update_project(&self, caller: &Caller, named: &str, patch: ProjectPatch) -> Result<Project> {
        caller.is_root()?;
        caller.may_change()?;
        let mut check = Check::default();
        if let Some(name) = &patch.name {
            check_project_name(&mut check, name);
        }
        let prefix = patch.signature_prefix.and_then(|text| match text {
            Some(text) => check.take("signature_prefix", SignaturePrefix::of_project(&text)),
            None => Some(SignaturePrefix::default()),
        });
        let mut formats = Vec::with_capacity(patch.payload_formats.len());
        for (contract, word) in patch.payload_formats {
            let field = format!("payload_formats.{}", contract.as_str());
            let format = word.map_or(Ok(PayloadFormat::Raw), |word| PayloadFormat::parse(&word));
            formats.extend(check.take(&field, format).map(|format| (contract, format)));
        }
        check.done()?;
        let project = self.known_project(named)?;
        if patch.sandbox.is_some_and(|sandbox| sandbox != project.sandbox) {
            return Err(sandbox_is_fixed());
        }
        if patch.name.as_ref().is_some_and(|name| *name != project.name) {
            refuse_default(&project, "renamed")?;
        }
        Ok(self
            .store
            .update_project(self.by(caller), project.id, move |settings| {
                if let Some(name) = patch.name {
                    settings.name = name;
                }
                if let Some(prefix) = prefix {
                    settings.signature_prefix = prefix;
                }
                for (contract, format) in formats {
                    settings.payload_formats.set(contract, format);
                }
            })
            .await?)
    }

    /// Deletes a project that has no tenants and no event types but archived ones; its keys are revoked.
    pub async fn delete_project(&self, caller: &Caller, named: &str) -> Result<()> {
        caller.is_root()?;
        caller.may_change()?;
        let project = self.known_project(named)?;
        refuse_default(&project, "deleted")?;
        Ok(self.store.delete_project(self.by(caller), project.id).await?)
    }

    fn known_project(&self, named: &str) -> Result<Arc<ProjectConfig>> {
        self.project_called(named).ok_or(Error::NotFound("project"))
    }
}

fn refuse_default(project: &ProjectConfig, what: &str) -> Result<()> {
    if project.name == DEFAULT_PROJECT {
        let detail = format!("Project {DEFAULT_PROJECT} cannot be {what}: root keys act in it by default.");
        return Err(Error::conflict("default_project", detail));
    }
    Ok(())
}

fn sandbox_is_fixed() -> Error {
    let detail = "A project stays what it was made as: a sandbox, or not one. Make another project, and move what is in this one.";
    Error::conflict("sandbox_is_fixed", detail)
}

/// A display name that cannot be taken for an id, since `?project=` takes both.
fn check_project_name(check: &mut Check, name: &str) {
    check.take("name", check_name(name));
    if name.starts_with(ProjectId::PREFIX) {
        check.broken("name", format!("must not start with {}", ProjectId::PREFIX));
    }
}

impl From<ProjectError> for Error {
    fn from(error: ProjectError) -> Self {
        match error {
            ProjectError::NameTaken => {
                Self::conflict("name_taken", "Another project has this name. Choose another.")
            }
            ProjectError::NotEmpty => Self::conflict(
                "project_not_empty",
                "The project has tenants or event types. Delete them first.",
            ),
            ProjectError::NotFound => Self::NotFound("project"),
            ProjectError::Store(error) => Self::Store(error),
        }
    }
}
