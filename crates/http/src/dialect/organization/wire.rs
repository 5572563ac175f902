//! What this contract takes and shows. The fields of every answer stand in the order of its published text.

use crate::input::Noted;
use crate::openapi::schemas;
use serde::{Deserialize, Serialize};
use stentor_domain::attempt::{ErrorClass, Outcome};
use stentor_domain::endpoint::Switch;
use stentor_domain::id::{EndpointId, Id};
use stentor_engine::endpoints::{EndpointFields, MadeEndpoint, Which};
use stentor_engine::test_send::TestSend;
use stentor_store::endpoints::EndpointWithHealth;
use utoipa::ToSchema;
use utoipa::openapi::schema::Schema;

/// What stands before the UUID in this contract's spelling of an endpoint's id.
const PREFIX: &str = "wh-";

/// The endpoint that a path names.
pub(super) fn which(id: &str) -> Which<'static> {
    Which::Id(id.strip_prefix(PREFIX).and_then(Id::parse_uuid).map(EndpointId))
}

/// A new endpoint.
#[derive(Deserialize, ToSchema)]
pub(super) struct EndpointIn {
    /// Where deliveries go: a public HTTPS URL.
    #[serde(default)]
    #[schema(required = true, value_type = String, format = "uri", max_length = 2083)]
    url: Noted<String>,
    /// The event types that it wants; `["*"]` is all.
    #[serde(default)]
    #[schema(required = true, schema_with = schemas::event_types)]
    events: Noted<Vec<String>>,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 1000)]
    description: Noted<String>,
}

/// What to change of an endpoint; what is left out stays.
#[derive(Deserialize, ToSchema)]
pub(super) struct EndpointChange {
    /// Where deliveries go: a public HTTPS URL.
    #[serde(default)]
    #[schema(value_type = String, format = "uri", max_length = 2083)]
    url: Noted<String>,
    /// The event types that it wants; `["*"]` is all.
    #[serde(default)]
    #[schema(schema_with = schemas::event_types)]
    events: Noted<Vec<String>>,
    /// What it is for; null clears it.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 1000)]
    description: Noted<String>,
    /// `true` switches it on again, whoever switched it off; `false` switches it off.
    #[serde(default)]
    #[schema(value_type = bool)]
    active: Noted<bool>,
}

impl EndpointIn {
    pub(super) fn fields(self) -> EndpointFields {
        let mut misread = vec![];
        let url = self.url.read("url", &mut misread);
        let events = self.events.read("events", &mut misread);
        let description = self.description.read("description", &mut misread);
        let events_known = misread.iter().any(|fault| fault.field.starts_with("events"));
        EndpointFields {
            url: url.or_absent(),
            // Elsewhere no events are all events; here they must be named.
            events: if events_known {
                None
            } else {
                Some(events.or_absent().unwrap_or_default())
            },
            description: Some(description.or_absent()),
            misread,
            ..EndpointFields::default()
        }
    }
}

impl EndpointChange {
    pub(super) fn fields(self) -> EndpointFields {
        let mut misread = vec![];
        let faults = &mut misread;
        EndpointFields {
            url: self.url.read("url", faults).not_null("url", faults),
            events: self.events.read("events", faults).not_null("events", faults),
            description: self.description.read("description", faults).clearing(),
            switch: self
                .active
                .read("active", faults)
                .not_null("active", faults)
                .map(Switch::Active),
            misread,
            ..EndpointFields::default()
        }
    }
}

/// An endpoint, as the answer to its creation shows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MadeOut {
    #[schema(schema_with = id_schema)]
    id: String,
    url: String,
    #[schema(schema_with = schemas::event_types)]
    events: Vec<String>,
    #[schema(required)]
    description: Option<String>,
    active: bool,
    /// What its deliveries are signed with. It is shown this once; a repeated request does not show it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, pattern = "^whs_[0-9a-f]{42}$")]
    signing_secret: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
}

/// An endpoint.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointOut {
    #[schema(schema_with = id_schema)]
    id: String,
    url: String,
    #[schema(schema_with = schemas::event_types)]
    events: Vec<String>,
    #[schema(required)]
    description: Option<String>,
    /// Is it delivered to?
    active: bool,
    /// Attempts of deliveries that failed since the last one that did not; tests do not count.
    consecutive_failures: u32,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// All endpoints of the organization, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct ListOut {
    pub(super) data: Vec<EndpointOut>,
}

/// What came of a test.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestOut {
    /// Did the receiver answer 2xx?
    success: bool,
    /// The status of the answer; null if none came.
    #[schema(required, minimum = 100, maximum = 999)]
    status_code: Option<u16>,
    /// How long it took, in milliseconds.
    response_time: u32,
    /// What came of it, in words.
    message: &'static str,
}

impl From<&EndpointWithHealth> for MadeOut {
    fn from(made: &EndpointWithHealth) -> Self {
        let shown = EndpointOut::from(made);
        Self {
            id: shown.id,
            url: shown.url,
            events: shown.events,
            description: shown.description,
            active: shown.active,
            signing_secret: None,
            created_at: shown.created_at,
        }
    }
}

impl From<MadeEndpoint> for MadeOut {
    fn from(made: MadeEndpoint) -> Self {
        Self {
            signing_secret: made.drawn.map(|secret| secret.expose().to_owned()),
            ..Self::from(&made.made)
        }
    }
}

impl From<&EndpointWithHealth> for EndpointOut {
    fn from(known: &EndpointWithHealth) -> Self {
        let endpoint = &known.endpoint;
        let events = endpoint.settings.subscription.texts();
        Self {
            id: format!("{PREFIX}{}", endpoint.id.0.uuid()),
            url: endpoint.settings.url.text().to_owned(),
            events: events.into_iter().map(str::to_owned).collect(),
            description: endpoint.settings.description.clone(),
            active: endpoint.status.sends(),
            consecutive_failures: known.health.consecutive_failures,
            created_at: endpoint.created_at.iso_millis(),
            updated_at: endpoint.updated_at.iso_millis(),
        }
    }
}

impl From<&TestSend> for TestOut {
    fn from(test: &TestSend) -> Self {
        let attempt = &test.attempt.attempt;
        Self {
            success: attempt.outcome.succeeded(),
            status_code: attempt.outcome.status(),
            response_time: attempt.exchange.timing.total_micros.div_ceil(1_000),
            message: message(attempt.outcome),
        }
    }
}

/// The two sentences of the published text, and our own for what it does not name.
const fn message(outcome: Outcome) -> &'static str {
    match (outcome, outcome.error_class()) {
        (_, Some(ErrorClass::HttpStatus | ErrorClass::RedirectNotFollowed)) => {
            "Webhook endpoint returned non-2xx status code"
        }
        (_, Some(class)) => class.sentence(),
        (Outcome::Simulated, None) => "Simulated: the project is a sandbox, so nothing was sent",
        (_, None) => "Test webhook delivered successfully",
    }
}

/// An endpoint's id in this contract's spelling.
fn id_schema() -> Schema {
    schemas::uuid_after(PREFIX)
}
