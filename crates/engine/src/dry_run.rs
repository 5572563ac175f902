//! The dry run of matching: would an event go to an endpoint, and why not? It asks the same rule as publishing does, and puts
//! its answer into words.

use crate::endpoints::Which;
use crate::error::{Check, Error, Result};
use crate::filter::payload::Lazy;
use crate::matching::{self, Candidate, Unwanted};
use crate::publish::check_size;
use crate::{Caller, Engine};
use bytes::Bytes;
use stentor_domain::channels::Channels;
use stentor_domain::endpoint::{Endpoint, Status};
use stentor_domain::name::EventTypeName;
use stentor_store::config::EndpointConfig;
use stentor_store::once::{Done, Once};

/// Names that a reason tells.
const TOLD_MAX: usize = 5;

/// An event that might be published.
#[derive(Clone, Debug)]
pub struct Imagined {
    /// Its type.
    pub event_type: String,
    /// Its channels.
    pub channels: Vec<String>,
    /// Its payload: any JSON value.
    pub payload: Bytes,
}

/// What publishing it would come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matching {
    /// Would it go to the endpoint?
    pub matches: bool,
    /// Why, as a sentence for people.
    pub reason: String,
}

impl Engine {
    /// Tells whether an event would go to an endpoint, and why. Nothing is published.
    pub async fn match_endpoint<'a>(
        &self,
        caller: &Caller,
        which: impl Into<Which<'a>>,
        imagined: Imagined,
        once: Option<Once<Matching>>,
    ) -> Result<Done<Matching>> {
        let configured = self.endpoint(caller, which)?;
        check_size(&imagined.payload, self.settings.payload_bytes_max)?;
        let mut check = Check::default();
        let event_type = check.take("type", EventTypeName::parse(&imagined.event_type));
        let channels = check.take_item("channels", Channels::parse(&imagined.channels));
        check.done()?;
        if let Some(before) = self.store.answered_before(&once, self.now()).await? {
            return Ok(before);
        }
        let event_type = event_type.ok_or_else(|| Error::invalid("type", "is required"))?;
        let event = Imagination {
            event_type,
            channels: channels.unwrap_or_default(),
            payload: imagined.payload,
        };
        let matching = event.told(&configured);
        self.store.keep_answer(once, matching.clone()).await?;
        Ok(Done::Now(matching))
    }
}

/// The same, with rules kept.
struct Imagination {
    event_type: EventTypeName,
    channels: Channels,
    payload: Bytes,
}

impl Imagination {
    fn told(&self, configured: &EndpointConfig) -> Matching {
        let payload = Lazy::new(&self.payload);
        let event = Candidate {
            event_type: &self.event_type,
            channels: &self.channels,
            payload: &payload,
        };
        match matching::check(configured, event) {
            Ok(()) => Matching {
                matches: true,
                reason: welcome(&configured.endpoint),
            },
            Err(unwanted) => Matching {
                matches: false,
                reason: self.why_not(&configured.endpoint, &unwanted, &payload),
            },
        }
    }

    fn why_not(&self, endpoint: &Endpoint, unwanted: &Unwanted<'_>, payload: &Lazy<'_>) -> String {
        let wanted = &endpoint.settings.subscription;
        match unwanted {
            Unwanted::Disabled => match endpoint.status {
                Status::Disabled(reason) => format!("The endpoint is disabled. {}", reason.sentence()),
                Status::Active | Status::Paused { .. } => "The endpoint is disabled.".into(),
            },
            Unwanted::Type => format!(
                "The endpoint wants events of the types {}, but not of the type {}.",
                listed(&wanted.types.texts()),
                self.event_type
            ),
            Unwanted::Channels => {
                let has = match self.channels.texts().as_slice() {
                    [] => "none".to_owned(),
                    names => listed(names),
                };
                let wants = listed(&wanted.channels.texts());
                format!("The endpoint wants events of the channels {wants}; this one has {has}.")
            }
            Unwanted::Filter(failed) => {
                format!("The endpoint's filter does not hold: {}.", failed.words(payload))
            }
            Unwanted::Unreadable => "The endpoint's filter cannot be read. Set it again.".into(),
        }
    }
}

fn welcome(endpoint: &Endpoint) -> String {
    match endpoint.status {
        Status::Paused { .. } => {
            "The event would go to the endpoint, and be held, since it is paused.".into()
        }
        Status::Active | Status::Disabled(_) => "The event would go to the endpoint.".into(),
    }
}

fn listed(names: &[&str]) -> String {
    let told = names
        .iter()
        .take(TOLD_MAX)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().checked_sub(TOLD_MAX) {
        None | Some(0) => told,
        Some(more) => format!("{told} and {more} more"),
    }
}
