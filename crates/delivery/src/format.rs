//! The body of a delivery in its endpoint's format. The payload goes into an envelope byte for byte; every other part is
//! ours and needs no escaping: ids, names of event types, instants, numbers.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use stentor_domain::endpoint::Endpoint;
use stentor_domain::payload_format::PayloadFormat;
use stentor_store::hot::ClaimedEvent;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CLOUDEVENT: HeaderValue = HeaderValue::from_static("application/cloudevents+json");
const CE_SPECVERSION: HeaderName = HeaderName::from_static("ce-specversion");
const CE_ID: HeaderName = HeaderName::from_static("ce-id");
const CE_SOURCE: HeaderName = HeaderName::from_static("ce-source");
const CE_TYPE: HeaderName = HeaderName::from_static("ce-type");
const CE_TIME: HeaderName = HeaderName::from_static("ce-time");
/// The version of CloudEvents that is spoken.
const SPECVERSION: &str = "1.0";

/// Makes the bodies of one endpoint's deliveries.
pub(crate) struct Formatter {
    format: PayloadFormat,
    /// The number that the subscriptions contract knows the endpoint by.
    number: i64,
    /// A CloudEvent's source: where its producer's tenant is, as a reference (CloudEvents 1.0, "source").
    source: String,
}

impl Formatter {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        Self {
            format: endpoint.settings.payload_format,
            number: endpoint.number,
            source: format!("/v1/tenants/{}", endpoint.tenant),
        }
    }

    /// The media type of the bodies.
    pub(crate) fn content_type(&self) -> HeaderValue {
        match self.format {
            PayloadFormat::CloudEvents => CLOUDEVENT,
            _ => JSON,
        }
    }

    /// The body for an event. As published it is the payload itself, not a copy.
    pub(crate) fn body(&self, event: &ClaimedEvent) -> Bytes {
        let payload = &event.payload;
        if matches!(self.format, PayloadFormat::Raw | PayloadFormat::CloudEventsBinary) {
            return payload.clone();
        }
        let (id, kind) = (event.id, &event.event_type);
        let happened_at = event.happened_at().iso_millis();
        match self.format {
            PayloadFormat::Raw | PayloadFormat::CloudEventsBinary => payload.clone(),
            PayloadFormat::Standard => around(
                &format!(r#"{{"type":"{kind}","timestamp":"{happened_at}","data":"#),
                payload,
                "}",
            ),
            PayloadFormat::CloudEvents => around(
                &format!(
                    r#"{{"specversion":"{SPECVERSION}","id":"{id}","source":"{}","type":"{kind}","time":"{happened_at}","datacontenttype":"application/json","data":"#,
                    self.source
                ),
                payload,
                "}",
            ),
            PayloadFormat::Thin => {
                format!(r#"{{"type":"{kind}","timestamp":"{happened_at}","data":{{"id":"{id}"}}}}"#).into()
            }
            PayloadFormat::Organization => around(
                &format!(r#"{{"event":"{kind}","timestamp":"{happened_at}","data":"#),
                payload,
                "}",
            ),
            PayloadFormat::Apps => around(
                &format!(r#"{{"id":"{}","type":"{kind}","data":"#, id.0.uuid()),
                payload,
                &format!(r#","createdAt":"{}"}}"#, id.0.made_at().iso_millis()),
            ),
            PayloadFormat::Subscriptions => around(
                &format!(
                    r#"{{"id":"{}","event":"{kind}","timestamp":"{happened_at}","subscription_id":{},"message":"#,
                    id.0.uuid(),
                    self.number
                ),
                payload,
                "}",
            ),
        }
    }

    /// The headers that belong to the body: a CloudEvent's attributes, where they are not inside.
    pub(crate) fn headers(&self, event: &ClaimedEvent) -> Vec<(HeaderName, String)> {
        match self.format {
            PayloadFormat::CloudEventsBinary => vec![
                (CE_SPECVERSION, SPECVERSION.to_owned()),
                (CE_ID, event.id.to_string()),
                (CE_SOURCE, self.source.clone()),
                (CE_TYPE, event.event_type.to_string()),
                (CE_TIME, event.happened_at().iso_millis()),
            ],
            _ => Vec::new(),
        }
    }
}

fn around(before: &str, payload: &[u8], after: &str) -> Bytes {
    [before.as_bytes(), payload, after.as_bytes()].concat().into()
}
