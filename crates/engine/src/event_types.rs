//! Managing event types. Tenant keys read them; names that are not registered may be published all the same.

use crate::error::{Check, Error, Result};
use crate::schema::Schema;
use crate::{Caller, Engine, Page, page};
use stentor_domain::id::ProjectId;
use stentor_domain::limits::{DESCRIPTION_CHARACTERS_MAX, SUBSCRIPTION_TYPES_MAX};
use stentor_domain::name::{EventTypeName, Invalid};
use stentor_store::StoreError;
use stentor_store::event_types::{EventType, EventTypeError, EventTypeSettings};
use stentor_store::once::{Done, Once};

/// What a caller says about a new event type.
#[derive(Clone, Debug)]
pub struct NewEventType {
    /// Its name.
    pub name: String,
    /// What it means.
    pub description: String,
    /// What its payloads look like: a JSON Schema as text.
    pub schema: Option<String>,
    /// Is the schema to be enforced when an event is published?
    pub validate: bool,
}

/// What a caller wants changed of an event type; `None` leaves alone.
#[derive(Clone, Debug, Default)]
pub struct EventTypePatch {
    /// What it means.
    pub description: Option<String>,
    /// What its payloads look like; an inner `None` clears it.
    pub schema: Option<Option<String>>,
    /// Is the schema to be enforced when an event is published?
    pub validate: Option<bool>,
}

impl Engine {
    /// Registers an event type in the caller's project, or brings an archived one back.
    pub async fn create_event_type(
        &self,
        caller: &Caller,
        project: Option<&str>,
        new: NewEventType,
        once: Option<Once<EventType>>,
    ) -> Result<Done<EventType>> {
        caller.is_above_tenant()?;
        caller.may_change()?;
        let project = self.project(caller, project)?;
        let mut check = Check::default();
        let name = check.take("name", EventTypeName::parse(&new.name));
        check.take("description", check_description(&new.description));
        if let Some(schema) = &new.schema {
            check.take_checked(Schema::compile(schema));
        }
        let settings = EventTypeSettings {
            description: new.description,
            schema: new.schema,
            validate: new.validate,
        };
        check.take_checked(check_enforceable(&settings));
        check.done()?;
        let name = name.ok_or_else(|| Error::invalid("name", "is required"))?;
        Ok(self
            .store
            .create_event_type(self.by(caller), project.id, name, settings, once)
            .await?)
    }

    /// The event type of the caller's project with this name, archived or not.
    pub async fn get_event_type(&self, caller: &Caller, name: &str) -> Result<EventType> {
        let project = self.project(caller, None)?;
        let found = self.store.event_type(project.id, known_name(name)?).await?;
        found.ok_or(Error::NotFound("event type"))
    }

    /// The event types of the caller's project, newest first, without archived ones.
    pub async fn list_event_types(
        &self,
        caller: &Caller,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<EventType>> {
        let project = self.project(caller, None)?;
        let types = self
            .store
            .event_types(project.id, before, limit.saturating_add(1))
            .await?;
        Ok(page(types, limit, |event_type| event_type.id.n()))
    }

    /// Changes an event type.
    pub async fn update_event_type(
        &self,
        caller: &Caller,
        name: &str,
        patch: EventTypePatch,
    ) -> Result<EventType> {
        caller.is_above_tenant()?;
        caller.may_change()?;
        let project = self.project(caller, None)?;
        let mut check = Check::default();
        if let Some(description) = &patch.description {
            check.take("description", check_description(description));
        }
        if let Some(Some(schema)) = &patch.schema {
            check.take_checked(Schema::compile(schema));
        }
        check.done()?;
        Ok(self
            .store
            .update_event_type(self.by(caller), project.id, known_name(name)?, move |settings| {
                if let Some(description) = patch.description {
                    settings.description = description;
                }
                if let Some(schema) = patch.schema {
                    settings.schema = schema;
                }
                if let Some(validate) = patch.validate {
                    settings.validate = validate;
                }
                check_enforceable(settings)
            })
            .await?)
    }

    /// Archives an event type: lists leave it out, publishing goes on.
    pub async fn archive_event_type(&self, caller: &Caller, name: &str) -> Result<()> {
        caller.is_above_tenant()?;
        caller.may_change()?;
        let project = self.project(caller, None)?;
        Ok(self
            .store
            .archive_event_type(self.by(caller), project.id, known_name(name)?)
            .await?)
    }

    /// Refuses a payload that is not as its event type's schema wants it, where that is enforced: one look-up where it is not.
    pub(crate) fn check_schema(
        &self,
        project: ProjectId,
        event_type: &EventTypeName,
        payload: &[u8],
    ) -> Result<()> {
        let Some(enforced) = self.store.config().enforced_type(project, event_type) else {
            return Ok(());
        };
        let compiled = enforced
            .made
            .get_or_make(|| compile(event_type, &enforced.schema));
        let schema = compiled.and_then(Option::as_ref).ok_or_else(|| {
            StoreError::Unreadable(format!("the schema of event type {event_type}; set it again"))
        })?;
        schema.check(payload).map_err(|fault| Error::Invalid(vec![fault]))
    }

    /// Refuses what is no registered event type of the project, among the texts of an `events` field. Patterns need no type to
    /// be there, since they are for those to come as well; what breaks another rule is left to that.
    pub(crate) async fn check_registered(&self, project: ProjectId, events: &[String]) -> Result<()> {
        if events.len() > SUBSCRIPTION_TYPES_MAX {
            return Ok(());
        }
        let named: Vec<EventTypeName> = events
            .iter()
            .filter_map(|text| EventTypeName::parse(text).ok())
            .collect();
        let unknown = self.store.unregistered(project, named).await?;
        let mut check = Check::default();
        for (at, text) in events.iter().enumerate() {
            if text == "*" || unknown.iter().any(|name| name.as_str() == text) {
                check.broken(&format!("events.{at}"), "is not a registered event type");
            }
        }
        check.done()
    }
}

/// The schema of one version of an event type. One that cannot be read, since another version of Stentor has stored it, lets
/// nobody publish: its project has asked to be protected from what it does not fit.
fn compile(event_type: &EventTypeName, schema: &str) -> Option<Schema> {
    Schema::compile(schema)
        .inspect_err(|fault| {
            let (field, rule) = (&fault.field, &fault.rule);
            tracing::error!(%event_type, field, rule, "an event type's schema cannot be read; set it again, or turn validate off");
        })
        .ok()
}

/// Only what is there can be enforced.
fn check_enforceable(settings: &EventTypeSettings) -> Result<(), Invalid> {
    if settings.validate && settings.schema.is_none() {
        return Err(Invalid::new("validate", "must be false where there is no schema"));
    }
    Ok(())
}

/// What is no name cannot be registered.
fn known_name(name: &str) -> Result<EventTypeName> {
    EventTypeName::parse(name).map_err(|_| Error::NotFound("event type"))
}

/// Checks a description: at most 1,000 characters (contract v1), with line breaks but no other control character. The
/// error is the broken rule.
fn check_description(text: &str) -> Result<(), String> {
    if text.chars().count() > DESCRIPTION_CHARACTERS_MAX {
        return Err(format!("must be at most {DESCRIPTION_CHARACTERS_MAX} characters"));
    }
    if text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        return Err("must not contain control characters".into());
    }
    Ok(())
}

impl From<EventTypeError> for Error {
    fn from(error: EventTypeError) -> Self {
        match error {
            EventTypeError::Exists => Self::conflict(
                "event_type_exists",
                "The event type exists already. Change it with PATCH.",
            ),
            EventTypeError::NotFound => Self::NotFound("event type"),
            EventTypeError::Invalid(fault) => Self::Invalid(vec![fault]),
            EventTypeError::NoProject => Self::NotFound("project"),
            EventTypeError::Store(error) => Self::Store(error),
        }
    }
}
