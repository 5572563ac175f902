//! Deliveries as callers see them: lists, one with its attempts, retrying, cancelling.
//!
//! - [`read`]: a row of `work` or of `deliveries` as a delivery, its state derived; its attempts;
//! - [`list`]: pages over both tables;
//! - [`change`]: retry and cancel.

mod change;
mod list;
mod read;

#[cfg(test)]
mod tests;

pub(crate) use read::standing;

use crate::Store;
use crate::change::By;
use crate::error::{Result, StoreError};
use crate::once::{Done, Once};
use crate::period::Period;
use stentor_domain::attempt::Attempt;
use stentor_domain::custom_headers::CustomHeaders;
use stentor_domain::delivery::{Delivery, PayloadGone, Reason, State};
use stentor_domain::id::{DeliveryId, EndpointId, EventId};
use stentor_domain::key::Scope;
use stentor_domain::name::EventTypeName;

/// Which deliveries a list shows; `None` is any, and so is an empty set of states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Those for this endpoint.
    pub endpoint: Option<EndpointId>,
    /// Those of this event.
    pub event: Option<EventId>,
    /// Those of events of this type.
    pub event_type: Option<EventTypeName>,
    /// Those that are in one of these.
    pub states: Vec<State>,
    /// Leaves out tests.
    pub without_tests: bool,
    /// Those accepted then.
    pub period: Period,
}

/// An attempt with what was kept apart from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAttempt {
    /// The attempt.
    pub attempt: Attempt,
    /// The custom headers that were sent; none where their version is not kept any more.
    pub custom_headers: CustomHeaders,
}

/// Why a delivery could not be retried or cancelled.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// There is no such delivery in the caller's scope.
    #[error("there is no such delivery")]
    NotFound,
    /// A test is tried once.
    #[error("a test is tried once")]
    Test,
    /// Its endpoint is disabled.
    #[error("the endpoint is disabled")]
    EndpointDisabled,
    /// Its endpoint, or its tenant, was deleted.
    #[error("the endpoint is deleted")]
    EndpointDeleted,
    /// The event's payload was purged.
    #[error("the payload is gone")]
    PayloadExpired,
    /// It has ended already.
    #[error("the delivery has ended")]
    Finished,
    /// Somebody asked for its end, which its attempt in flight still has to bring.
    #[error("the delivery is being cancelled")]
    BeingCancelled,
    /// The store's own fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Deliveries in `scope`, newest first, those older than `before`; at most `limit`. A page stays good while new ones
    /// arrive and old ones end, since a delivery keeps its key wherever its row is.
    pub async fn deliveries(
        &self,
        scope: Scope,
        filter: DeliveryFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Delivery>> {
        self.ask(move |tx| Box::pin(list::page(tx, scope, filter, before, limit)))
            .await
    }

    /// The delivery with this id.
    pub async fn delivery(&self, scope: Scope, id: DeliveryId) -> Result<Option<Delivery>> {
        self.ask(move |tx| {
            Box::pin(async move { Ok(read::find(tx, scope, id).await?.map(|found| found.delivery)) })
        })
        .await
    }

    /// The delivery with this id and its attempts, both as of one moment: by number, those that share one by age.
    pub async fn delivery_with_attempts(
        &self,
        scope: Scope,
        id: DeliveryId,
    ) -> Result<Option<(Delivery, Vec<KeptAttempt>)>> {
        let master = self.master().clone();
        self.ask(move |tx| {
            Box::pin(async move {
                let Some(found) = read::find(tx, scope, id).await? else {
                    return Ok(None);
                };
                let erased = found.delivery.payload_gone == Some(PayloadGone::Erased);
                let attempts = read::attempts(tx, id, erased, &master).await?;
                Ok(Some((found.delivery, attempts)))
            })
        })
        .await
    }

    /// Tries a delivery again: an unfinished one is due now (and waits on where its endpoint is paused), a finished one
    /// is reopened under the same id, with a fresh schedule and its attempts' numbers going on.
    pub async fn retry_delivery(
        &self,
        by: By,
        scope: Scope,
        id: DeliveryId,
        once: Option<Once<Delivery>>,
    ) -> Result<Done<Delivery>, DeliveryError> {
        let (done, _) = self
            .change_and(
                move |tx| Box::pin(change::retry(tx, by, scope, id, once)),
                |(_, told), effects| told.note(effects),
            )
            .await?;
        Ok(done)
    }

    /// Ends a delivery: at once where it waits; with the attempt in flight otherwise, unless that succeeds. Which of
    /// them it was tells the state of the delivery given back.
    pub async fn cancel_delivery(
        &self,
        by: By,
        scope: Scope,
        id: DeliveryId,
        once: Option<Once<Delivery>>,
    ) -> Result<Done<Delivery>, DeliveryError> {
        let (done, _) = self
            .change_and(
                move |tx| Box::pin(change::cancel(tx, by, scope, id, once)),
                move |(done, told), effects| {
                    match done {
                        Done::Now(delivery) if delivery.state.finished() => effects.ended.push(id.n()),
                        Done::Now(_) => effects.cancel_requested.push((id, Reason::Requested)),
                        Done::Before { .. } | Done::Conflict => {}
                    }
                    told.note(effects);
                },
            )
            .await?;
        Ok(done)
    }
}
