//! Projects: isolated worlds of tenants, event types and keys.

use crate::Store;
use crate::change::{Audit, By, record, tick};
use crate::error::{Result, StoreError};
use crate::keys;
use crate::once::{self, Done, Once};
use crate::operational;
use crate::tx::{Row, Tx, values};
use stentor_domain::Timestamp;
use stentor_domain::id::ProjectId;
use stentor_domain::payload_format::PayloadFormats;
use stentor_domain::signature_prefix::SignaturePrefix;

/// A project, as an operator knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Do its deliveries go only to destinations that the operator allows? It does so for good, or never.
    pub sandbox: bool,
    /// What an operator set.
    pub settings: ProjectSettings,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// What an operator sets of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectSettings {
    /// Its name, unique.
    pub name: String,
    /// What the names of its own signature headers begin with.
    pub signature_prefix: SignaturePrefix,
    /// What the bodies of new endpoints' deliveries look like.
    pub payload_formats: PayloadFormats,
}

/// A project to be made.
#[derive(Clone, Debug)]
pub struct NewProject {
    /// Its name, unique.
    pub name: String,
    /// Is it a sandbox?
    pub sandbox: bool,
}

/// Why a project could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// Another project has this name.
    #[error("the name is taken")]
    NameTaken,
    /// It has tenants or event types.
    #[error("the project is not empty")]
    NotEmpty,
    /// There is no such project.
    #[error("there is no such project")]
    NotFound,
    /// The store's own fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Makes a project.
    pub async fn create_project(
        &self,
        by: By,
        new: NewProject,
        once: Option<Once<Project>>,
    ) -> Result<Done<Project>, ProjectError> {
        let project = Project {
            id: ProjectId(self.next_id()),
            sandbox: new.sandbox,
            settings: ProjectSettings {
                name: new.name,
                signature_prefix: SignaturePrefix::default(),
                payload_formats: PayloadFormats::default(),
            },
            created_at: by.at,
            updated_at: by.at,
        };
        self.change(move |tx| Box::pin(create(tx, by, project, once)))
            .await
    }

    /// The project with this id.
    pub async fn project(&self, id: ProjectId) -> Result<Option<Project>> {
        self.ask(move |tx| Box::pin(async move { find(tx, id).await }))
            .await
    }

    /// Projects, newest first, those older than `before`; at most `limit`.
    pub async fn projects(&self, before: Option<i64>, limit: u32) -> Result<Vec<Project>> {
        self.ask(move |tx| {
            Box::pin(async move {
                tx.rows(
                    "SELECT n, tag, name, sandbox, signature_prefix, created_at, updated_at, payload_formats
                     FROM projects WHERE n < ?1 AND deleted_at IS NULL ORDER BY n DESC LIMIT ?2",
                    values![before.unwrap_or(i64::MAX), limit],
                    read,
                )
                .await
            })
        })
        .await
    }

    /// Changes what `change` changes of a project's settings.
    pub async fn update_project(
        &self,
        by: By,
        id: ProjectId,
        change: impl FnOnce(&mut ProjectSettings) + Send + 'static,
    ) -> Result<Project, ProjectError> {
        self.change(move |tx| Box::pin(update(tx, by, id, change))).await
    }

    /// Deletes a project without tenants and event types. Its keys are revoked.
    pub async fn delete_project(&self, by: By, id: ProjectId) -> Result<(), ProjectError> {
        self.change(move |tx| Box::pin(delete(tx, by, id))).await
    }
}

/// The project with this id, unless it was deleted.
pub(crate) async fn find(tx: &mut Tx<'_>, id: ProjectId) -> Result<Option<Project>> {
    tx.row(
        "SELECT n, tag, name, sandbox, signature_prefix, created_at, updated_at, payload_formats
         FROM projects WHERE n = ?1 AND tag = ?2 AND deleted_at IS NULL",
        values![id.n(), id.0.tag],
        read,
    )
    .await
}

async fn create(
    tx: &mut Tx<'_>,
    by: By,
    project: Project,
    once: Option<Once<Project>>,
) -> Result<Done<Project>, ProjectError> {
    let version = tick(tx).await?;
    if let Some(done) = once::before(tx, once.as_ref(), by.at).await? {
        return Ok(done);
    }
    check_name_is_free(tx, &project).await?;
    tx.execute_one(
        "INSERT INTO projects (n, tag, name, sandbox, signature_prefix, created_at, updated_at, config_version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)",
        values![
            project.id.n(),
            project.id.0.tag,
            project.settings.name.as_str(),
            project.sandbox,
            kept_prefix(&project.settings),
            project.created_at,
            version,
        ],
    )
    .await?;
    audit(tx, &by, "project.created", &project).await?;
    once::keep(tx, once, &project).await?;
    Ok(Done::Now(project))
}

async fn update(
    tx: &mut Tx<'_>,
    by: By,
    id: ProjectId,
    change: impl FnOnce(&mut ProjectSettings) + Send,
) -> Result<Project, ProjectError> {
    let version = tick(tx).await?;
    let mut project = find(tx, id).await?.ok_or(ProjectError::NotFound)?;
    change(&mut project.settings);
    project.updated_at = by.at;
    check_name_is_free(tx, &project).await?;
    tx.execute_one(
        "UPDATE projects SET name = ?1, signature_prefix = ?2, updated_at = ?3, config_version = ?4, payload_formats = ?6
         WHERE n = ?5",
        values![
            project.settings.name.as_str(),
            kept_prefix(&project.settings),
            by.at,
            version,
            id.n(),
            project.settings.payload_formats.text().as_str(),
        ],
    )
    .await?;
    audit(tx, &by, "project.updated", &project).await?;
    Ok(project)
}

async fn delete(tx: &mut Tx<'_>, by: By, id: ProjectId) -> Result<(), ProjectError> {
    let version = tick(tx).await?;
    let project = find(tx, id).await?.ok_or(ProjectError::NotFound)?;
    let content = tx
        .row(
            "SELECT n FROM tenants WHERE project = ?1 AND deleted_at IS NULL AND kind = 'customer'
             UNION ALL SELECT n FROM event_types WHERE project = ?1 AND archived_at IS NULL LIMIT 1",
            values![id.n()],
            |row| row.int(0),
        )
        .await?;
    if content.is_some() {
        return Err(ProjectError::NotEmpty);
    }
    keys::revoke_of_project(tx, id, by.at, version).await?;
    operational::delete_all(tx, id, by.at, version).await?;
    tx.execute_one(
        "UPDATE projects SET deleted_at = ?1, config_version = ?2 WHERE n = ?3",
        values![by.at, version, id.n()],
    )
    .await?;
    audit(tx, &by, "project.deleted", &project).await?;
    Ok(())
}

async fn check_name_is_free(tx: &mut Tx<'_>, project: &Project) -> Result<(), ProjectError> {
    let taken = tx
        .row(
            "SELECT n FROM projects WHERE name = ?1 AND n <> ?2 AND deleted_at IS NULL",
            values![project.settings.name.as_str(), project.id.n()],
            |row| row.int(0),
        )
        .await?;
    if taken.is_some() {
        Err(ProjectError::NameTaken)
    } else {
        Ok(())
    }
}

async fn audit(tx: &mut Tx<'_>, by: &By, action: &'static str, project: &Project) -> Result<()> {
    let object = project.id.to_string();
    record(
        tx,
        by,
        Audit {
            action,
            object: &object,
            project: Some(project.id),
            tenant: None,
            detail: None,
        },
    )
    .await
}

fn read(row: &Row<'_>) -> Result<Project> {
    Ok(Project {
        id: ProjectId(row.id(0)?),
        sandbox: row.flag(3)?,
        settings: ProjectSettings {
            name: row.text(2)?,
            signature_prefix: read_prefix(row, 4)?,
            payload_formats: read_formats(row, 7)?,
        },
        created_at: row.time(5)?,
        updated_at: row.time(6)?,
    })
}

/// The formats as they are stored: nothing where all are raw.
pub(crate) fn read_formats(row: &Row<'_>, at: usize) -> Result<PayloadFormats> {
    let text = row.text_or_null(at)?.unwrap_or_default();
    let read = PayloadFormats::parse(&text);
    read.ok_or_else(|| StoreError::Unreadable(format!("{text:?} names no payload formats")))
}

/// The prefix as it is stored: a project without one of its own goes with the default.
fn kept_prefix(settings: &ProjectSettings) -> Option<&str> {
    let prefix = &settings.signature_prefix;
    (!prefix.is_default()).then(|| prefix.as_str())
}

/// Reads what `kept_prefix` wrote.
pub(crate) fn read_prefix(row: &Row<'_>, at: usize) -> Result<SignaturePrefix> {
    match row.text_or_null(at)? {
        Some(_) => row.word(at, |text| SignaturePrefix::of_project(text).ok()),
        None => Ok(SignaturePrefix::default()),
    }
}
