//! Event types that a project has registered. A name is registered once and for ever: deleting only archives it, and
//! making it again brings it back.

use crate::Store;
use crate::change::{Audit, By, record, tick};
use crate::error::{Result, StoreError};
use crate::once::{self, Done, Once};
use crate::projects;
use crate::tx::{Row, Tx, values};
use stentor_domain::Timestamp;
use stentor_domain::id::{EventTypeId, ProjectId};
use stentor_domain::name::{EventTypeName, Invalid};

/// A registered event type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventType {
    /// Its row's identity; people know it by its name.
    pub id: EventTypeId,
    /// Its project.
    pub project: ProjectId,
    /// Its name, unique in its project.
    pub name: EventTypeName,
    /// What its owner set.
    pub settings: EventTypeSettings,
    /// When it was made first.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// When it was archived, if it is.
    pub archived_at: Option<Timestamp>,
}

/// What the owner of an event type sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTypeSettings {
    /// What it means.
    pub description: String,
    /// What its payloads look like: a JSON Schema as text, which the engine reads.
    pub schema: Option<String>,
    /// Is the schema enforced when an event is published?
    pub validate: bool,
}

/// Why an event type could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EventTypeError {
    /// The project has it already.
    #[error("the event type exists")]
    Exists,
    /// There is no such event type.
    #[error("there is no such event type")]
    NotFound,
    /// What the change would make of it breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Its project was deleted meanwhile.
    #[error("there is no such project")]
    NoProject,
    /// The store's own fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A question about event types, whose rows [`read`] reads.
macro_rules! event_types {
    ($rest:literal) => {
        concat!(
            "SELECT n, tag, project, (SELECT tag FROM projects WHERE n = event_types.project),
                    name, description, created_at, updated_at, archived_at, schema, validate
             FROM event_types WHERE ",
            $rest
        )
    };
}

impl Store {
    /// Registers an event type, or brings an archived one back with new settings.
    pub async fn create_event_type(
        &self,
        by: By,
        project: ProjectId,
        name: EventTypeName,
        settings: EventTypeSettings,
        once: Option<Once<EventType>>,
    ) -> Result<Done<EventType>, EventTypeError> {
        let event_type = EventType {
            id: EventTypeId(self.next_id()),
            project,
            name,
            settings,
            created_at: by.at,
            updated_at: by.at,
            archived_at: None,
        };
        self.change(move |tx| Box::pin(create(tx, by, event_type, once)))
            .await
    }

    /// The event type of a project with this name, archived or not.
    pub async fn event_type(&self, project: ProjectId, name: EventTypeName) -> Result<Option<EventType>> {
        self.ask(move |tx| Box::pin(async move { find(tx, project, &name).await }))
            .await
    }

    /// Those of `names` that the project has not registered, or has archived.
    pub async fn unregistered(
        &self,
        project: ProjectId,
        names: Vec<EventTypeName>,
    ) -> Result<Vec<EventTypeName>> {
        self.ask(move |tx| {
            Box::pin(async move {
                let mut unregistered = Vec::new();
                for name in names {
                    let known = find(tx, project, &name).await?;
                    if known.is_none_or(|known| known.archived_at.is_some()) {
                        unregistered.push(name);
                    }
                }
                Ok(unregistered)
            })
        })
        .await
    }

    /// The event types of a project that are not archived, newest first, those older than `before`; at most `limit`.
    pub async fn event_types(
        &self,
        project: ProjectId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<EventType>> {
        self.ask(move |tx| {
            Box::pin(async move {
                tx.rows(
                    event_types!("project = ?1 AND n < ?2 AND archived_at IS NULL ORDER BY n DESC LIMIT ?3"),
                    values![project.n(), before.unwrap_or(i64::MAX), limit],
                    read,
                )
                .await
            })
        })
        .await
    }

    /// Changes what `change` changes of an event type's settings; it may refuse what would come of it.
    pub async fn update_event_type(
        &self,
        by: By,
        project: ProjectId,
        name: EventTypeName,
        change: impl FnOnce(&mut EventTypeSettings) -> Result<(), Invalid> + Send + 'static,
    ) -> Result<EventType, EventTypeError> {
        self.change(move |tx| {
            Box::pin(async move {
                let version = tick(tx).await?;
                let found = find(tx, project, &name).await?;
                let mut event_type = found.ok_or(EventTypeError::NotFound)?;
                change(&mut event_type.settings)?;
                event_type.updated_at = by.at;
                write(tx, &event_type, version).await?;
                audit(tx, &by, "event_type.updated", &event_type).await?;
                Ok(event_type)
            })
        })
        .await
    }

    /// Archives an event type: lists leave it out, publishing goes on. Archiving it again changes nothing.
    pub async fn archive_event_type(
        &self,
        by: By,
        project: ProjectId,
        name: EventTypeName,
    ) -> Result<(), EventTypeError> {
        self.change(move |tx| {
            Box::pin(async move {
                let version = tick(tx).await?;
                let found = find(tx, project, &name).await?;
                let mut event_type = found.ok_or(EventTypeError::NotFound)?;
                if event_type.archived_at.is_some() {
                    return Ok(());
                }
                event_type.archived_at = Some(by.at);
                event_type.updated_at = by.at;
                write(tx, &event_type, version).await?;
                audit(tx, &by, "event_type.archived", &event_type).await?;
                Ok(())
            })
        })
        .await
    }
}

async fn create(
    tx: &mut Tx<'_>,
    by: By,
    new: EventType,
    once: Option<Once<EventType>>,
) -> Result<Done<EventType>, EventTypeError> {
    let version = tick(tx).await?;
    if let Some(done) = once::before(tx, once.as_ref(), by.at).await? {
        return Ok(done);
    }
    projects::find(tx, new.project)
        .await?
        .ok_or(EventTypeError::NoProject)?;
    let made = match find(tx, new.project, &new.name).await? {
        Some(known) if known.archived_at.is_none() => return Err(EventTypeError::Exists),
        Some(archived) => {
            let restored = EventType {
                id: archived.id,
                created_at: archived.created_at,
                ..new
            };
            write(tx, &restored, version).await?;
            audit(tx, &by, "event_type.restored", &restored).await?;
            restored
        }
        None => {
            insert(tx, &new, version).await?;
            audit(tx, &by, "event_type.created", &new).await?;
            new
        }
    };
    once::keep(tx, once, &made).await?;
    Ok(Done::Now(made))
}

async fn insert(tx: &mut Tx<'_>, new: &EventType, version: i64) -> Result<()> {
    tx.execute_one(
        "INSERT INTO event_types (n, tag, project, name, description, schema, validate, created_at, updated_at, config_version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9)",
        values![
            new.id.n(),
            new.id.0.tag,
            new.project.n(),
            new.name.as_str(),
            new.settings.description.as_str(),
            new.settings.schema.as_deref(),
            i64::from(new.settings.validate),
            new.created_at,
            version,
        ],
    )
    .await
}

async fn write(tx: &mut Tx<'_>, event_type: &EventType, version: i64) -> Result<()> {
    tx.execute_one(
        "UPDATE event_types SET description = ?1, schema = ?2, validate = ?3, updated_at = ?4, archived_at = ?5,
                config_version = ?6 WHERE n = ?7",
        values![
            event_type.settings.description.as_str(),
            event_type.settings.schema.as_deref(),
            i64::from(event_type.settings.validate),
            event_type.updated_at,
            event_type.archived_at,
            version,
            event_type.id.n(),
        ],
    )
    .await
}

/// Event types that changed since the configuration was at `since`. Who knows nothing yet need only hear of those that are
/// enforced.
pub(crate) async fn changed(tx: &mut Tx<'_>, since: i64) -> Result<Vec<EventType>> {
    tx.rows(
        event_types!(
            "config_version > ?1 AND (?1 > 0 OR (validate <> 0 AND archived_at IS NULL)) ORDER BY config_version"
        ),
        values![since],
        read,
    )
    .await
}

async fn find(tx: &mut Tx<'_>, project: ProjectId, name: &EventTypeName) -> Result<Option<EventType>> {
    tx.row(
        event_types!("project = ?1 AND name = ?2"),
        values![project.n(), name.as_str()],
        read,
    )
    .await
}

async fn audit(tx: &mut Tx<'_>, by: &By, action: &'static str, event_type: &EventType) -> Result<()> {
    record(
        tx,
        by,
        Audit {
            action,
            object: event_type.name.as_str(),
            project: Some(event_type.project),
            tenant: None,
            detail: None,
        },
    )
    .await
}

fn read(row: &Row<'_>) -> Result<EventType> {
    Ok(EventType {
        id: EventTypeId(row.id(0)?),
        project: ProjectId(row.id(2)?),
        name: row.word(4, |name| EventTypeName::parse(name).ok())?,
        settings: EventTypeSettings {
            description: row.text(5)?,
            schema: row.text_or_null(9)?,
            validate: row.flag(10)?,
        },
        created_at: row.time(6)?,
        updated_at: row.time(7)?,
        archived_at: row.time_or_null(8)?,
    })
}
