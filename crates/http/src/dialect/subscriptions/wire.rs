//! What the contract reads and shows, with the fields in the order of its published text.

use crate::input::{Field, Noted};
use serde::{Deserialize, Serialize};
use stentor_domain::endpoint::Switch;
use stentor_domain::name::Invalid;
use stentor_domain::secret::Secret;
use stentor_engine::endpoints::EndpointFields;
use stentor_store::endpoints::EndpointWithHealth;
use stentor_store::event_types::EventType;
use utoipa::ToSchema;

/// All event types, in the core's spelling.
const ALL_EVENTS: &str = "*";
const NO_EVENTS: &str = "must name at least one registered event type; null is all of them";

/// A new subscription.
#[derive(Deserialize, ToSchema)]
pub(super) struct SubscriptionIn {
    /// Where it is: a public HTTPS URL.
    #[serde(default)]
    #[schema(required = true, value_type = String, format = "uri", min_length = 1, max_length = 2083, example = "https://example.com")]
    url: Noted<String>,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 1000)]
    description: Noted<String>,
}

/// What to change of a subscription. An absent field is left alone.
#[derive(Deserialize, ToSchema)]
pub(super) struct SubscriptionChange {
    /// The event types that it wants: registered ones, and prefixes such as `order.*`; null is all there are and will be.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 500)]
    events: Noted<Vec<String>>,
    /// Where it is; null leaves it alone.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = "uri", min_length = 1, max_length = 2083, example = "https://example.com")]
    url: Noted<String>,
    /// What it is for; null clears it.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 1000)]
    description: Noted<String>,
    /// Is it sent to? Null leaves it alone; true resumes from whatever stopped it.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    enabled: Noted<bool>,
}

/// A subscription.
#[derive(Serialize, ToSchema)]
pub(super) struct SubscriptionOut {
    /// The URL of the webhook endpoint.
    url: String,
    /// Its number among the tenant's, from 1, never used again.
    #[schema(minimum = 1)]
    id: i64,
    /// What it is for.
    #[schema(required, max_length = 1000)]
    description: Option<String>,
    /// The owner's own switch. What was disabled because its receiver is gone is still on here.
    enabled: bool,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
}

/// A subscription that was made now.
#[derive(Serialize, ToSchema)]
pub(super) struct SubscriptionMade {
    #[serde(flatten)]
    subscription: SubscriptionOut,
    /// What its deliveries are signed with, shown this once: a repetition by `Idempotency-Key` is answered without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, max_length = 255)]
    client_secret: Option<String>,
}

/// An event type.
#[derive(Serialize, ToSchema)]
pub(super) struct TypeOut {
    /// What it means.
    description: String,
    /// Its name.
    #[schema(max_length = 255)]
    event: String,
}

impl SubscriptionIn {
    pub(super) fn fields(self) -> EndpointFields {
        let mut misread = vec![];
        let faults = &mut misread;
        EndpointFields {
            url: self.url.read("url", faults).not_null("url", faults),
            description: Some(self.description.read("description", faults).or_absent()),
            misread,
            ..EndpointFields::default()
        }
    }
}

impl SubscriptionChange {
    pub(super) fn fields(self) -> EndpointFields {
        let mut misread = vec![];
        let faults = &mut misread;
        let (events, only_registered) = match self.events.read("events", faults) {
            Field::Absent => (None, false),
            Field::Null => (Some(vec![ALL_EVENTS.to_owned()]), false),
            Field::Value(events) if events.is_empty() => {
                faults.push(Invalid::new("events", NO_EVENTS));
                (None, false)
            }
            Field::Value(events) => (Some(events), true),
        };
        EndpointFields {
            events,
            only_registered,
            url: self.url.read("url", faults).or_absent(),
            description: self.description.read("description", faults).clearing(),
            switch: self
                .enabled
                .read("enabled", faults)
                .or_absent()
                .map(Switch::Enabled),
            misread,
            ..EndpointFields::default()
        }
    }
}

impl From<&EndpointWithHealth> for SubscriptionOut {
    fn from(EndpointWithHealth { endpoint, .. }: &EndpointWithHealth) -> Self {
        Self {
            url: endpoint.settings.url.text().to_owned(),
            id: endpoint.number,
            description: endpoint.settings.description.clone(),
            enabled: endpoint.status.enabled(),
            created_at: endpoint.created_at.iso_millis(),
        }
    }
}

impl SubscriptionMade {
    /// What was made, with the secret that is shown this once.
    pub(super) fn of(made: &EndpointWithHealth, secret: Option<&Secret>) -> Self {
        Self {
            subscription: made.into(),
            client_secret: secret.map(|secret| secret.expose().to_owned()),
        }
    }
}

impl From<EventType> for TypeOut {
    fn from(event_type: EventType) -> Self {
        Self {
            description: event_type.settings.description,
            event: event_type.name.to_string(),
        }
    }
}
