//! Reading events.

use crate::error::{Error, Result};
use crate::{Caller, Engine, Page, page};
use bytes::Bytes;
use stentor_domain::id::EventId;
use stentor_store::events::{Event, EventFilter};

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
}
