//! Managing projects: for root keys only. Project `default` can neither be renamed nor deleted, since root keys act in it
//! unless they name another.

use crate::error::{Check, Error, Result};
use crate::{Caller, DEFAULT_PROJECT, Engine, Page, page};
use std::sync::Arc;
use stentor_domain::id::ProjectId;
use stentor_domain::name::check_name;
use stentor_store::config::ProjectConfig;
use stentor_store::once::{Done, Once};
use stentor_store::projects::{Project, ProjectError, ProjectSettings};

/// What a caller wants changed of a project; `None` leaves alone.
#[derive(Clone, Debug, Default)]
pub struct ProjectPatch {
    /// Its name.
    pub name: Option<String>,
}

impl Engine {
    /// Makes a project.
    pub async fn create_project(
        &self,
        caller: &Caller,
        name: String,
        once: Option<Once<Project>>,
    ) -> Result<Done<Project>> {
        caller.is_root()?;
        caller.may_change()?;
        check_project_name(&name)?;
        let settings = ProjectSettings { name };
        Ok(self.store.create_project(self.by(caller), settings, once).await?)
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
        if let Some(name) = &patch.name {
            check_project_name(name)?;
        }
        let project = self.known_project(named)?;
        if patch.name.as_ref().is_some_and(|name| *name != project.name) {
            refuse_default(&project, "renamed")?;
        }
        Ok(self
            .store
            .update_project(self.by(caller), project.id, move |settings| {
                if let Some(name) = patch.name {
                    settings.name = name;
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

/// A display name that cannot be taken for an id, since `?project=` takes both.
fn check_project_name(name: &str) -> Result<()> {
    let mut check = Check::default();
    check.take("name", check_name(name));
    if name.starts_with(ProjectId::PREFIX) {
        check.broken("name", format!("must not start with {}", ProjectId::PREFIX));
    }
    check.done()
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
