//! What an endpoint looks like on the wire: in, changed, and out.

use crate::input::{Noted, json_text, stored_json};
use crate::problem::Problem;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use stentor_domain::Timestamp;
use stentor_domain::endpoint::Status;
use stentor_domain::health::Health;
use stentor_domain::secret::Secret;
use stentor_engine::endpoints::{EndpointFields, RotationFields};
use stentor_store::endpoints::EndpointWithHealth;
use utoipa::ToSchema;

/// A new endpoint.
#[derive(Deserialize, ToSchema)]
pub(super) struct EndpointIn {
    /// Its display name.
    #[serde(default)]
    #[schema(required = true, value_type = String, min_length = 1, max_length = 255)]
    name: Noted<String>,
    /// Where it is: a public HTTPS URL.
    #[serde(default)]
    #[schema(required = true, value_type = String, max_length = 2083)]
    url: Noted<String>,
    /// Its signing secret: `whsec_` and base64 of 24 to 64 bytes, `whsk_` and base64 of an ed25519 seed and its public key, or
    /// any 16 to 255 printable characters. Without one it gets a new `whsec_` one, which the answer shows.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 16, max_length = 255)]
    secret: Noted<String>,
    /// Headers that are added to every request.
    #[serde(default)]
    #[schema(value_type = Option<Headers>)]
    headers_json: Noted<Headers>,
    /// The deadline of one exchange.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 60, default = 10)]
    timeout_seconds: Noted<i64>,
    /// Your own id for it, unique among the tenant's endpoints.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 256, pattern = "^[A-Za-z0-9_.-]+$")]
    uid: Noted<String>,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 1000)]
    description: Noted<String>,
    /// The event types that it wants: names, and prefixes such as `order.*`; `["*"]` is all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    events: Noted<Vec<String>>,
    /// Only events that have at least one of these channels; null is all events.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 10)]
    channels: Noted<Vec<String>>,
    /// What it asks of payloads: an object of paths and what is asked of them, such as `{"data.total": {"$gte": 100}}`
    /// (docs/filters.md); null is nothing.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    filter: Noted<Box<RawValue>>,
    /// Your own notes about it.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    metadata: Noted<Box<RawValue>>,
    /// The waits between attempts, in seconds; empty is no retry.
    #[serde(default)]
    #[schema(value_type = Option<Vec<i64>>, max_items = 64)]
    retry_schedule: Noted<Vec<i64>>,
    /// Where a wait starts: at the failed attempt before it (`previous`), or the waits add up from the `first` attempt.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^(previous|first)$", default = "previous")]
    retry_anchor: Noted<String>,
    /// How its deliveries are signed: `standard`; beside it `svix`, `stripe`, `github`, `shopify`, at most one of `organization`,
    /// `apps` and `v1`, and `prefix:NAME` for the standard headers under a name of your own. An ed25519 secret goes with
    /// `standard`, `svix` and `prefix:NAME` only, and starts with `standard` alone.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, max_items = 8, default = json!(["standard", "v1"]))]
    header_styles: Noted<Vec<String>>,
    /// What the bodies of its deliveries look like; by default as its project says.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^(raw|standard|cloudevents|cloudevents_binary|thin|organization|apps|subscriptions)$")]
    payload_format: Noted<String>,
    /// The most requests at once; null is the server's default.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1000)]
    max_in_flight: Noted<i64>,
    /// The tenant, by id or uid; root and project keys only.
    pub(super) tenant: Option<String>,
    /// The most requests that start in any second; null is no limit.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    rate_limit: Noted<i64>,
    /// Strictly in the order of acceptance, the next only once the one before has ended.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    ordered: Noted<bool>,
}

/// What to change of an endpoint.
#[derive(Deserialize, ToSchema)]
pub(super) struct EndpointChange {
    /// Its display name.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    name: Noted<String>,
    /// Where it is.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    url: Noted<String>,
    /// A new signing secret; all earlier ones end at once.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    secret: Noted<String>,
    /// Headers that are added to every request: the whole map. `***` keeps what is stored under the name.
    #[serde(default)]
    #[schema(value_type = Option<Headers>)]
    headers_json: Noted<Headers>,
    /// The deadline of one exchange.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    timeout_seconds: Noted<i64>,
    /// `PAUSED` holds deliveries, `ACTIVE` resumes them.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    status: Noted<String>,
    /// Your own id for it; null clears it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    uid: Noted<String>,
    /// What it is for; null clears it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    description: Noted<String>,
    /// The event types that it wants: names, and prefixes such as `order.*`; `["*"]` is all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    events: Noted<Vec<String>>,
    /// Only events that have at least one of these channels; null is all events.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 10)]
    channels: Noted<Vec<String>>,
    /// What it asks of payloads; null clears it.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    filter: Noted<Box<RawValue>>,
    /// Your own notes about it; null clears them.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    metadata: Noted<Box<RawValue>>,
    /// The waits between attempts, in seconds; empty is no retry.
    #[serde(default)]
    #[schema(value_type = Option<Vec<i64>>)]
    retry_schedule: Noted<Vec<i64>>,
    /// `previous` or `first`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    retry_anchor: Noted<String>,
    /// How its deliveries are signed.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    header_styles: Noted<Vec<String>>,
    /// What the bodies of its deliveries look like.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    payload_format: Noted<String>,
    /// The most requests at once; null is the server's default.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    max_in_flight: Noted<i64>,
    /// The most requests that start in any second; null is no limit.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    rate_limit: Noted<i64>,
    /// Strictly in the order of acceptance, the next only once the one before has ended.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    ordered: Noted<bool>,
}

/// An endpoint: a URL that events are delivered to.
#[derive(Serialize, ToSchema)]
pub(super) struct EndpointOut {
    // These nine, in this order, are the published resource.
    id: String,
    name: String,
    url: String,
    headers_json: Headers,
    timeout_seconds: u16,
    /// `ACTIVE`, `PAUSED` or `DISABLED`.
    status: &'static str,
    #[schema(required)]
    paused_at: Option<String>,
    created_at: String,
    updated_at: String,
    // What v1 adds.
    /// Your own id for it.
    #[schema(required)]
    uid: Option<String>,
    /// Its number among the tenant's endpoints, never reused.
    number: i64,
    #[schema(required)]
    description: Option<String>,
    events: Vec<String>,
    #[schema(required)]
    channels: Option<Vec<String>>,
    #[schema(required, value_type = Option<Object>)]
    filter: Option<Box<RawValue>>,
    #[schema(required, value_type = Option<Object>)]
    metadata: Option<Box<RawValue>>,
    retry_schedule: Vec<u32>,
    retry_anchor: &'static str,
    #[schema(value_type = Vec<String>)]
    header_styles: Vec<Cow<'static, str>>,
    payload_format: &'static str,
    #[schema(required)]
    max_in_flight: Option<u16>,
    #[schema(required)]
    rate_limit: Option<u16>,
    ordered: bool,
    /// Why it is disabled: `gone` (its receiver answered 410), `failing` (for days without one success) or `owner`.
    #[schema(required)]
    disabled_reason: Option<&'static str>,
    breaker: BreakerOut,
    /// What its receivers verify with, `whpk_` and base64, where its newest secret is an ed25519 one (`whsk_`).
    #[schema(required)]
    public_key: Option<String>,
    /// Attempts that failed since the last one that did not.
    consecutive_failures: u32,
    /// Its secret, in the answer to its creation only, and only where none was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// Whether it is sent to as its limits say, and why not.
#[derive(Serialize, ToSchema)]
pub(super) struct BreakerOut {
    /// `closed`; `open`: it fails, and waits for a probe; `throttled`: its receiver asked for a pause; `half_open`: a probe,
    /// or the few deliveries after one that succeeded, show whether it is back.
    state: &'static str,
    /// Why it is not closed, in words.
    #[schema(required)]
    reason: Option<String>,
    /// When the next probe is due, while it is not sent to.
    #[schema(required)]
    next_probe_at: Option<String>,
}

/// A new secret beside the earlier ones.
#[derive(Deserialize, ToSchema)]
pub(super) struct RotationIn {
    /// The secret. Without one, one of the newest's kind is drawn, `whsk_` after `whsk_` and `whsec_` else, which the answer shows.
    #[schema(min_length = 16, max_length = 255)]
    secret: Option<String>,
    /// How long the earlier secrets go on signing; 0 ends them at once.
    #[schema(minimum = 0, maximum = 604_800, default = 86_400)]
    grace_seconds: Option<i64>,
}

/// A new secret.
#[derive(Serialize, ToSchema)]
pub(super) struct RotationOut {
    /// The secret, shown this once, where none was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// Header names and values, in the order given.
#[derive(ToSchema)]
#[schema(value_type = std::collections::HashMap<String, String>)]
struct Headers(Vec<(String, String)>);

impl EndpointIn {
    pub(super) fn fields(self) -> Result<EndpointFields, Problem> {
        let mut misread = vec![];
        let faults = &mut misread;
        Ok(EndpointFields {
            name: self.name.read("name", faults).or_absent(),
            url: self.url.read("url", faults).or_absent(),
            secret: self.secret.read("secret", faults).or_absent(),
            custom_headers: self
                .headers_json
                .read("headers_json", faults)
                .or_absent()
                .map(|headers| headers.0),
            timeout_seconds: self.timeout_seconds.read("timeout_seconds", faults).or_absent(),
            events: self.events.read("events", faults).or_absent(),
            channels: Some(self.channels.read("channels", faults).or_absent()),
            uid: Some(self.uid.read("uid", faults).or_absent()),
            description: Some(self.description.read("description", faults).or_absent()),
            filter: Some(self.filter.read("filter", faults).or_absent().map(json_text)),
            metadata: Some(self.metadata.read("metadata", faults).or_absent().map(json_text)),
            retry_schedule: self.retry_schedule.read("retry_schedule", faults).or_absent(),
            retry_anchor: self.retry_anchor.read("retry_anchor", faults).or_absent(),
            header_styles: self.header_styles.read("header_styles", faults).or_absent(),
            payload_format: self.payload_format.read("payload_format", faults).or_absent(),
            max_in_flight: Some(self.max_in_flight.read("max_in_flight", faults).or_absent()),
            rate_limit: Some(self.rate_limit.read("rate_limit", faults).or_absent()),
            ordered: self.ordered.read("ordered", faults).or_absent(),
            misread,
            ..EndpointFields::default()
        })
    }
}

impl EndpointChange {
    pub(super) fn fields(self) -> Result<EndpointFields, Problem> {
        let mut misread = vec![];
        let faults = &mut misread;
        Ok(EndpointFields {
            name: self.name.value("name", faults),
            url: self.url.value("url", faults),
            secret: self.secret.value("secret", faults),
            custom_headers: self
                .headers_json
                .value("headers_json", faults)
                .map(|headers| headers.0),
            timeout_seconds: self.timeout_seconds.value("timeout_seconds", faults),
            events: self.events.value("events", faults),
            channels: self.channels.read("channels", faults).clearing(),
            uid: self.uid.read("uid", faults).clearing(),
            description: self.description.read("description", faults).clearing(),
            filter: self
                .filter
                .read("filter", faults)
                .clearing()
                .map(|json| json.map(json_text)),
            metadata: self
                .metadata
                .read("metadata", faults)
                .clearing()
                .map(|json| json.map(json_text)),
            retry_schedule: self.retry_schedule.value("retry_schedule", faults),
            retry_anchor: self.retry_anchor.value("retry_anchor", faults),
            header_styles: self.header_styles.value("header_styles", faults),
            payload_format: self.payload_format.value("payload_format", faults),
            max_in_flight: self.max_in_flight.read("max_in_flight", faults).clearing(),
            rate_limit: self.rate_limit.read("rate_limit", faults).clearing(),
            ordered: self.ordered.value("ordered", faults),
            status: self.status.value("status", faults),
            misread,
            ..EndpointFields::default()
        })
    }
}

impl BreakerOut {
    fn of(health: Health, now: Timestamp) -> Self {
        Self {
            state: health.breaker(now).as_str(),
            reason: health.reason(),
            next_probe_at: health.next_probe_at().map(Timestamp::iso_millis),
        }
    }
}

impl EndpointOut {
    /// An endpoint as it is at `now`.
    pub(super) fn of(known: &EndpointWithHealth, now: Timestamp) -> Self {
        let endpoint = &known.endpoint;
        let settings = &endpoint.settings;
        let (status, paused_at, disabled_reason) = match endpoint.status {
            Status::Active => ("ACTIVE", None, None),
            Status::Paused { at } => ("PAUSED", Some(at), None),
            Status::Disabled(reason) => ("DISABLED", None, Some(reason.as_str())),
        };
        let shown = settings.custom_headers.shown();
        Self {
            id: endpoint.id.to_string(),
            name: settings.name.clone(),
            url: settings.url.text().to_owned(),
            headers_json: Headers(shown.map(|(name, value)| (name.into(), value.into())).collect()),
            timeout_seconds: settings.timeout_seconds,
            status,
            paused_at: paused_at.map(|at| at.iso_seconds()),
            created_at: endpoint.created_at.iso_seconds(),
            updated_at: endpoint.updated_at.iso_seconds(),
            uid: settings.uid.clone(),
            number: endpoint.number,
            description: settings.description.clone(),
            events: owned(settings.subscription.types.texts()),
            channels: Some(owned(settings.subscription.channels.texts()))
                .filter(|channels| !channels.is_empty()),
            filter: stored_json(&settings.filter),
            metadata: stored_json(&settings.metadata),
            retry_schedule: settings.schedule.waits().to_vec(),
            retry_anchor: settings.anchor.as_str(),
            header_styles: settings.header_styles.words(),
            payload_format: settings.payload_format.as_str(),
            max_in_flight: settings.max_in_flight,
            rate_limit: settings.rate_limit,
            ordered: settings.ordered,
            disabled_reason,
            breaker: BreakerOut::of(known.health, now),
            public_key: endpoint.public_key.clone(),
            consecutive_failures: known.health.consecutive_failures,
            secret: None,
        }
    }
}

fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}

impl EndpointOut {
    /// The same with a secret that is shown this once.
    pub(super) fn with_secret(self, secret: Option<Secret>) -> Self {
        Self {
            secret: secret.map(|secret| secret.expose().to_owned()),
            ..self
        }
    }
}

impl RotationIn {
    pub(super) fn fields(self) -> RotationFields {
        RotationFields {
            secret: self.secret,
            grace_seconds: self.grace_seconds,
        }
    }
}

impl RotationOut {
    /// `None` is the answer to a secret that the caller knows, and to a repeated request.
    pub(super) fn of(drawn: Option<&Secret>) -> Self {
        Self {
            secret: drawn.map(|secret| secret.expose().to_owned()),
        }
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Headers {
    /// Keeps the order, and names that are given twice, so that the rules can refuse these.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Headers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of header names and their values, which are strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Headers(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}
