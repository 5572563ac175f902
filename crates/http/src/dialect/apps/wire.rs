//! What this contract takes and shows. The fields of every answer stand in the order of its published text.

pub(super) mod deliveries;

use crate::input::Noted;
use crate::openapi::schemas::{event_types, uuid};
use serde::{Deserialize, Serialize};
use stentor_domain::endpoint::Switch;
use stentor_domain::secret::Secret;
use stentor_engine::endpoints::EndpointFields;
use stentor_engine::test_send::TestSend;
use stentor_store::endpoints::EndpointWithHealth;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

/// What every answer with a body is wrapped in.
#[derive(Serialize, ToSchema)]
pub(super) struct Wrapped<T> {
    #[schema(schema_with = always_true)]
    success: bool,
    data: T,
}

impl<T> Wrapped<T> {
    pub(super) fn of(data: impl Into<T>) -> Self {
        Self {
            success: true,
            data: data.into(),
        }
    }
}

/// What `success` is of every answer, or of every refusal.
pub(super) fn always(success: bool) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .enum_values(Some([success]))
        .build()
        .into()
}

fn always_true() -> Schema {
    always(true)
}

/// A new webhook endpoint.
#[derive(Deserialize, ToSchema)]
pub(super) struct EndpointIn {
    /// Where it receives events: a public HTTPS URL.
    #[serde(default)]
    #[schema(required = true, value_type = String, format = "uri", max_length = 2083)]
    url: Noted<String>,
    /// The event types that it wants; `["*"]` is all.
    #[serde(default)]
    #[schema(required = true, schema_with = event_types)]
    events: Noted<Vec<String>>,
}

/// What to change of a webhook endpoint; what is left out stays.
#[derive(Deserialize, ToSchema)]
pub(super) struct EndpointChange {
    /// Where it receives events: a public HTTPS URL.
    #[serde(default)]
    #[schema(value_type = String, format = "uri", max_length = 2083)]
    url: Noted<String>,
    /// The event types that it wants; `["*"]` is all.
    #[serde(default)]
    #[schema(schema_with = event_types)]
    events: Noted<Vec<String>>,
    /// `true` switches it on again, whoever switched it off; `false` switches it off.
    #[serde(default)]
    #[schema(value_type = bool)]
    active: Noted<bool>,
}

impl EndpointIn {
    pub(super) fn fields(self) -> EndpointFields {
        let mut misread = vec![];
        let url = self.url.read("url", &mut misread).or_absent();
        let before = misread.len();
        let events = self.events.read("events", &mut misread).or_absent();
        // Elsewhere no events are all events; here they must be named, which an empty list is told.
        let events = match misread.len() == before {
            true => Some(events.unwrap_or_default()),
            false => None,
        };
        EndpointFields {
            url,
            events,
            misread,
            ..EndpointFields::default()
        }
    }
}

impl EndpointChange {
    pub(super) fn fields(self) -> EndpointFields {
        let mut misread = vec![];
        let faults = &mut misread;
        let url = self.url.read("url", faults).not_null("url", faults);
        let events = self.events.read("events", faults).not_null("events", faults);
        let active = self.active.read("active", faults).not_null("active", faults);
        EndpointFields {
            url,
            events,
            switch: active.map(Switch::Active),
            misread,
            ..EndpointFields::default()
        }
    }
}

/// What all shapes of a webhook endpoint show.
#[derive(Serialize, ToSchema)]
struct Shown {
    #[schema(schema_with = uuid)]
    id: String,
    /// Where it receives events, as it was sent.
    url: String,
    /// The event types that it wants.
    #[schema(schema_with = event_types)]
    events: Vec<String>,
    /// Is it delivered to?
    active: bool,
}

/// A webhook endpoint as the answer to its creation shows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MadeOut {
    #[serde(flatten)]
    shown: Shown,
    #[schema(format = DateTime)]
    created_at: String,
    /// What its deliveries are signed with, shown this once: a repetition by `Idempotency-Key` is answered without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, pattern = "^whsec_[A-Za-z0-9+/]{43}=$")]
    secret: Option<String>,
}

/// A webhook endpoint in a list.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedOut {
    #[serde(flatten)]
    shown: Shown,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// A webhook endpoint as the answer to its change shows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangedOut {
    #[serde(flatten)]
    shown: Shown,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// The new secret of a webhook endpoint.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct RotationOut {
    /// What its deliveries are signed with from now on, shown this once: a repetition by `Idempotency-Key` is answered
    /// without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, pattern = "^whsec_[A-Za-z0-9+/]{43}=$")]
    secret: Option<String>,
}

/// What came of a test ping.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PingOut {
    /// Did the receiver answer 2xx? In a sandbox, where nothing is sent, true.
    success: bool,
    /// The status of the answer; null if none came.
    #[schema(required, minimum = 100, maximum = 999)]
    status_code: Option<u16>,
    /// The first 16 KiB of the answer's body; what is not UTF-8 in it is replaced. Null if no answer came.
    #[schema(required)]
    response_body: Option<String>,
    /// Why it failed, in words; null for a success.
    #[schema(required)]
    error: Option<String>,
}

impl From<&EndpointWithHealth> for Shown {
    fn from(EndpointWithHealth { endpoint, .. }: &EndpointWithHealth) -> Self {
        let events = endpoint.settings.subscription.types.texts();
        Self {
            id: endpoint.id.0.uuid(),
            url: endpoint.settings.url.text().to_owned(),
            events: events.into_iter().map(str::to_owned).collect(),
            active: endpoint.status.sends(),
        }
    }
}

impl MadeOut {
    /// What was made, with the secret that is shown this once.
    pub(super) fn of(made: &EndpointWithHealth, secret: Option<&Secret>) -> Self {
        Self {
            shown: made.into(),
            created_at: made.endpoint.created_at.iso_millis(),
            secret: secret.map(|secret| secret.expose().to_owned()),
        }
    }
}

impl From<&EndpointWithHealth> for ListedOut {
    fn from(known: &EndpointWithHealth) -> Self {
        Self {
            shown: known.into(),
            created_at: known.endpoint.created_at.iso_millis(),
            updated_at: known.endpoint.updated_at.iso_millis(),
        }
    }
}

impl From<&EndpointWithHealth> for ChangedOut {
    fn from(known: &EndpointWithHealth) -> Self {
        Self {
            shown: known.into(),
            updated_at: known.endpoint.updated_at.iso_millis(),
        }
    }
}

impl From<Option<Secret>> for RotationOut {
    fn from(drawn: Option<Secret>) -> Self {
        Self {
            secret: drawn.map(|secret| secret.expose().to_owned()),
        }
    }
}

impl From<&TestSend> for PingOut {
    fn from(test: &TestSend) -> Self {
        let attempt = &test.attempt.attempt;
        let answer = attempt.exchange.answer.as_ref();
        Self {
            success: attempt.outcome.succeeded(),
            status_code: attempt.outcome.status(),
            response_body: answer.map(|answer| String::from_utf8_lossy(&answer.body).into_owned()),
            error: attempt.error_in_words(),
        }
    }
}
