//! Reading events, and erasing what is in them.

use crate::error::{Error, Result};
use crate::{Caller, Engine, Page, page};
use bytes::Bytes;
use stentor_domain::id::EventId;
use stentor_store::events::{Event, EventFilter};
use stentor_store::retention::erasure::ErasureError;

impl Engine {
    /// The events that the caller acts among, newest first, without those of tests.
    pub async fn list_events(
        &self,
        caller: &Caller,
        filter: EventFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<Event>> {
        let scope = self.scope(caller)?;
        let events = self
            .store
            .events(scope, filter, before, limit.saturating_add(1))
            .await?;
        Ok(page(events, limit, |event| event.id.n()))
    }

    /// An event and its payload, byte for byte, unless that is not kept any more.
    pub async fn get_event(&self, caller: &Caller, id: &str) -> Result<(Event, Option<Bytes>)> {
        let id = EventId::parse(id).ok_or(Error::NotFound("event"))?;
        let scope = self.scope_of_named(caller)?;
        let found = self.store.event(scope, id).await?;
        found.ok_or(Error::NotFound("event"))
    }

    /// Erases an event's content: its payload, and what receivers have answered. Whoever may not publish may not erase either.
    pub async fn erase_event_content(&self, caller: &Caller, id: &str) -> Result<()> {
        caller.is_above_tenant()?;
        caller.may_change()?;
        let id = EventId::parse(id).ok_or(Error::NotFound("event"))?;
        let scope = self.scope_of_named(caller)?;
        self.store
            .erase_event(self.by(caller), scope, id)
            .await
            .map_err(|error| match error {
                ErasureError::NotFound => Error::NotFound("event"),
                ErasureError::Store(error) => Error::Store(error),
            })
    }
}
