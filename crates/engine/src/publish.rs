//! Publishing: events are checked, matched against the snapshot of the configuration, and accepted in one durable commit.

use crate::error::{Check, Error, Result};
use crate::filter::payload::Lazy;
use crate::matching::{self, Candidate};
use crate::{Caller, Engine, fingerprint};
use bytes::Bytes;
use std::sync::Arc;
use stentor_domain::Timestamp;
use stentor_domain::attempt::Trigger;
use stentor_domain::channels::Channels;
use stentor_domain::id::{DeliveryId, EventId, TenantId};
use stentor_domain::limits::FANOUT_INLINE_MAX;
use stentor_domain::name::{EventTypeName, Invalid, check_uid};
use stentor_domain::trace::Trace;
use stentor_store::StoreError;
use stentor_store::config::TenantConfig;
use stentor_store::hot::{Accept, Accepted, EventKey, ExistingEvent, KeptAnswer, NewDelivery, NewEvent};

/// How often a publish is matched again because its tenant's configuration changed meanwhile. Each round loses against
/// another change of the same tenant.
pub(crate) const MATCH_ROUNDS_MAX: usize = 20;

/// An event as a producer publishes it.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Whose it is, by id or uid; a root or project key may name it in the request's head instead.
    pub tenant: Option<String>,
    /// Its type.
    pub event_type: String,
    /// Its payload: any JSON value, byte for byte.
    pub payload: Bytes,
    /// Its channels.
    pub channels: Vec<String>,
    /// The producer's own id for it.
    pub event_id: Option<String>,
    /// When it happened.
    pub occurred_at: Option<Timestamp>,
    /// How many webhooks led to it, one after the other: less than [`LOOPS_MAX`](stentor_domain::limits::LOOPS_MAX).
    pub loops: u8,
    /// The trace that it belongs to. Kept and sent on where the operator wants that.
    pub trace: Option<Trace>,
}

/// An event as it was accepted, now or before.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its id; what receivers see.
    pub id: EventId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its type.
    pub event_type: EventTypeName,
    /// The producer's own id for it.
    pub event_id: Option<String>,
    /// How many endpoints matched.
    pub deliveries: u32,
    /// Was it there already, under the producer's own id?
    pub existing: bool,
}

/// What became of a publish.
#[derive(Debug)]
pub enum Publishing {
    /// Every event is on disk, in the order of the publications.
    Accepted(Vec<Published>),
    /// The same request was made before: this was the answer.
    Repeated {
        /// The status that was answered.
        status: u16,
        /// The body that was answered.
        answer: Bytes,
    },
    /// The idempotency key was used before for another request.
    OnceConflict,
}

/// A publication that keeps all rules.
pub(crate) struct Checked {
    pub(crate) tenant: Arc<TenantConfig>,
    pub(crate) event_type: EventTypeName,
    pub(crate) channels: Channels,
    pub(crate) payload: Bytes,
    pub(crate) event_id: Option<EventKey>,
    pub(crate) occurred_at: Option<Timestamp>,
    pub(crate) loops: u8,
    pub(crate) trace: Option<Trace>,
}

impl Engine {
    /// Accepts events together or not at all; answers once they are on disk. `keep` renders the answer to be kept under
    /// the request's idempotency key, if it has one. `place` names the publication at an index in errors (`events.3`),
    /// or nothing where there is only one.
    pub async fn publish(
        &self,
        caller: &Caller,
        publications: Vec<Publication>,
        place: impl Fn(usize) -> Option<String>,
        keep: impl Fn(&[Published]) -> Result<Option<KeptAnswer>>,
    ) -> Result<Publishing> {
        caller.is_above_tenant()?;
        caller.may_change()?;
        let checked = self.check_all(caller, &publications, &place)?;
        self.store
            .turn(checked.iter().map(|event| event.tenant.id.n()))
            .await;
        let mut events = self.matched_all(&checked);
        drop(checked);
        let mut known = Vec::new();
        for _ in 0..MATCH_ROUNDS_MAX {
            let published = as_published(&events, &known);
            let once = keep(&published)?;
            // Only an answer that is to be kept can be refused for what it tells, and only then are they needed again.
            let again = once.as_ref().map(|_| events.clone());
            let accept = Accept {
                events,
                once,
                known: known.clone(),
            };
            match self.store.accept_events(accept).await? {
                Accepted::Written { existing } => {
                    return Ok(Publishing::Accepted(with_existing(published, &existing)));
                }
                Accepted::EventIdConflict(at) => return Err(event_id_taken(place(at))),
                Accepted::Repeated { status, answer } => return Ok(Publishing::Repeated { status, answer }),
                Accepted::OnceConflict => return Ok(Publishing::OnceConflict),
                Accepted::Known { existing } => {
                    known = existing;
                    events = again.unwrap_or_default();
                }
                Accepted::Stale => {
                    known.clear();
                    events = self.matched_all(&self.check_all(caller, &publications, &place)?);
                }
            }
        }
        Err(
            StoreError::Unavailable("the tenant's configuration changes too fast to match against".into())
                .into(),
        )
    }

    fn check_all(
        &self,
        caller: &Caller,
        publications: &[Publication],
        place: impl Fn(usize) -> Option<String>,
    ) -> Result<Vec<Checked>> {
        let mut faults = Vec::new();
        let mut checked = Vec::with_capacity(publications.len());
        for (at, publication) in publications.iter().enumerate() {
            let within = |fault: Invalid| match place(at) {
                Some(place) => fault.within(&place),
                None => fault,
            };
            match self.check(caller, publication) {
                Ok(event) => checked.push(event),
                Err(Error::Invalid(more)) => faults.extend(more.into_iter().map(within)),
                Err(Error::TooLarge(fault)) => return Err(Error::TooLarge(within(fault))),
                Err(other) => return Err(other),
            }
        }
        if faults.is_empty() {
            Ok(checked)
        } else {
            Err(Error::Invalid(faults))
        }
    }

    fn check(&self, caller: &Caller, publication: &Publication) -> Result<Checked> {
        check_size(&publication.payload, self.settings.payload_bytes_max)?;
        let tenant = self.tenant(caller, publication.tenant.as_deref())?;
        let mut check = Check::default();
        if let Some(event_id) = &publication.event_id {
            check.take("event_id", check_uid(event_id, EventId::PREFIX));
        }
        let event_type = check.take("type", EventTypeName::parse(&publication.event_type));
        let channels = check.take_item("channels", Channels::parse(&publication.channels));
        check.done()?;
        let event_type = event_type.ok_or_else(|| Error::invalid("type", "is required"))?;
        self.check_schema(tenant.project, &event_type, &publication.payload)?;
        let event_id = publication.event_id.as_ref().map(|text| {
            let content = [event_type.as_str().as_bytes(), b"\0", &publication.payload];
            event_key(tenant.id, text, &content)
        });
        Ok(Checked {
            tenant,
            event_type,
            channels: channels.unwrap_or_default(),
            payload: publication.payload.clone(),
            event_id,
            occurred_at: publication.occurred_at,
            loops: publication.loops,
            trace: publication.trace.clone(),
        })
    }

    fn matched_all(&self, checked: &[Checked]) -> Vec<NewEvent> {
        checked.iter().map(|event| self.matched(event)).collect()
    }

    /// The event with its deliveries, by the configuration as it is now.
    pub(crate) fn matched(&self, checked: &Checked) -> NewEvent {
        let id = EventId(self.store.next_id());
        let event = Candidate {
            event_type: &checked.event_type,
            channels: &checked.channels,
            payload: &Lazy::new(&checked.payload),
        };
        let endpoints = checked.tenant.endpoints().iter();
        let matching: Vec<_> = endpoints
            .filter(|configured| matching::check(configured, event).is_ok())
            .collect();
        // The rest follows from a fan-out row, written in the same commit. But no ordered endpoint is among it: its place in the
        // order is that of the acceptance.
        let ordered = matching
            .iter()
            .rposition(|configured| configured.endpoint.settings.ordered);
        let inline = FANOUT_INLINE_MAX.max(ordered.map_or(0, |at| at + 1));
        let deliveries = matching.iter().take(inline).map(|configured| NewDelivery {
            id: DeliveryId(self.store.next_id()),
            endpoint: configured.endpoint.id.n(),
            shard: configured.shard,
        });
        let deliveries = deliveries.collect();
        let matched = u32::try_from(matching.len()).unwrap_or(u32::MAX);
        NewEvent {
            id,
            tenant: checked.tenant.id,
            tenant_version: checked.tenant.version,
            event_type: checked.event_type.clone(),
            channels: checked.channels.clone(),
            payload: checked.payload.clone(),
            event_id: checked.event_id.clone(),
            occurred_at: checked.occurred_at,
            accepted_at: self.now(),
            deliveries,
            matched,
            trigger: Trigger::Event,
            loops: checked.loops,
            trace: checked.trace.clone(),
        }
    }
}

/// The id `text` of an event of this tenant, for good that of this content.
pub(crate) fn event_key(tenant: TenantId, text: &str, content: &[&[u8]]) -> EventKey {
    EventKey {
        hash: fingerprint::of(&[b"event_id", &tenant.n().to_be_bytes(), text.as_bytes()]),
        body_hash: fingerprint::of(content),
        text: text.to_owned(),
    }
}

/// Refuses a payload beyond the limit.
pub(crate) fn check_size(payload: &[u8], most: usize) -> Result<()> {
    if payload.len() > most {
        let rule = format!("must be at most {most} bytes");
        return Err(Error::TooLarge(Invalid::new("payload", rule)));
    }
    Ok(())
}

/// What is answered for events, of which those in `known` were there already.
fn as_published(events: &[NewEvent], known: &[(usize, ExistingEvent)]) -> Vec<Published> {
    let published = events.iter().map(|event| Published {
        id: event.id,
        tenant: event.tenant,
        event_type: event.event_type.clone(),
        event_id: event.event_id.as_ref().map(|key| key.text.clone()),
        deliveries: event.matched,
        existing: false,
    });
    with_existing(published.collect(), known)
}

fn with_existing(mut published: Vec<Published>, existing: &[(usize, ExistingEvent)]) -> Vec<Published> {
    for (at, known) in existing {
        if let Some(slot) = published.get_mut(*at) {
            (slot.id, slot.deliveries, slot.existing) = (known.id, known.matched, true);
        }
    }
    published
}

fn event_id_taken(place: Option<String>) -> Error {
    let which = place.map(|place| format!(" of {place}")).unwrap_or_default();
    let detail = format!("The event_id{which} is in use for an event with another type or payload.");
    Error::conflict("event_id_conflict", detail)
}
