//! The request of an attempt: what is the same for every attempt of an endpoint is made once.

use crate::format::Formatter;
use crate::sign::Signer;
use crate::styles::Styled;
use crate::transport::{Outgoing, Permission};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt::Write as _;
use std::time::Duration;
use stentor_domain::Timestamp;
use stentor_domain::attempt::Trigger;
use stentor_domain::endpoint_url::EndpointUrl;
use stentor_domain::limits::{ANSWER_BYTES_FAILED_MAX, ANSWER_BYTES_SUCCEEDED_MAX};
use stentor_store::config::{EndpointConfig, ProjectConfig};
use stentor_store::hot::Claimed;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("Stentor/", env!("CARGO_PKG_VERSION")));

/// What every request to one version of an endpoint, in one version of its project, has in common.
pub(crate) struct Prepared {
    endpoint_version: i64,
    project_version: i64,
    url: EndpointUrl,
    timeout: Duration,
    formatter: Formatter,
    signer: Signer,
    styled: Option<Styled>,
    /// Content type, agent and custom headers.
    headers: HeaderMap,
    /// The lines of `headers` that may be kept with an attempt: all but the custom ones.
    lines: String,
    header_set: Option<i64>,
}

/// A request, and what is kept of its headers.
pub(crate) struct Built {
    pub(crate) outgoing: Outgoing,
    pub(crate) sent_headers: String,
    pub(crate) header_set: Option<i64>,
}

impl Prepared {
    pub(crate) fn new(configured: &EndpointConfig, project: &ProjectConfig) -> Self {
        let settings = &configured.endpoint.settings;
        let mut headers = HeaderMap::new();
        let mut lines = String::new();
        let formatter = Formatter::new(&configured.endpoint);
        for (name, value) in [(CONTENT_TYPE, formatter.content_type()), (USER_AGENT, AGENT)] {
            note(&mut lines, &name, value.to_str().unwrap_or_default());
            headers.insert(name, value);
        }
        for (name, value) in settings.custom_headers.pairs() {
            // They were checked when they were saved.
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
                headers.insert(name, value);
            }
        }
        Self {
            endpoint_version: configured.version,
            project_version: project.version,
            url: settings.url.clone(),
            timeout: settings.timeout(),
            formatter,
            signer: Signer::new(&configured.secrets),
            styled: (settings.header_styles.beside())
                .map(|style| Styled::new(style, &configured.secrets, &project.signature_prefix)),
            headers,
            lines,
            header_set: configured.header_set,
        }
    }

    /// Was it made for these versions?
    pub(crate) fn is_for(&self, configured: &EndpointConfig, project: &ProjectConfig) -> bool {
        self.endpoint_version == configured.version && self.project_version == project.version
    }

    /// The request of an attempt that starts at `now`: the timestamp and the signatures are of this attempt, the id is that
    /// of the event, the same in every attempt.
    pub(crate) fn build(&self, claimed: &Claimed, now: Timestamp, permission: Permission) -> Built {
        let id = claimed.event.id.to_string();
        let body = self.formatter.body(&claimed.event);
        let timestamp = now.seconds().to_string();
        let signature = self.signer.sign(&id, now, &body);
        let mut headers = self.headers.clone();
        let mut sent_headers = String::with_capacity(self.lines.len() + 160 + signature.len());
        sent_headers.push_str(&self.lines);
        let standard = [
            (WEBHOOK_ID, id),
            (WEBHOOK_TIMESTAMP, timestamp),
            (WEBHOOK_SIGNATURE, signature),
        ];
        let beside = self
            .styled
            .as_ref()
            .map(|styled| styled.headers(claimed, &body, now));
        let attributes = self.formatter.headers(&claimed.event);
        // Last, so that no custom header can stand in the place of one.
        for (name, value) in standard
            .into_iter()
            .chain(beside.into_iter().flatten())
            .chain(attributes)
        {
            note(&mut sent_headers, &name, &value);
            // Ids, names of event types, numbers, base64 and hex are always valid values.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        let keep = if claimed.trigger == Trigger::Test {
            ANSWER_BYTES_FAILED_MAX
        } else {
            ANSWER_BYTES_SUCCEEDED_MAX
        };
        let outgoing = Outgoing {
            url: self.url.clone(),
            headers,
            body,
            timeout: self.timeout,
            keep,
            permission,
        };
        Built {
            outgoing,
            sent_headers,
            header_set: self.header_set,
        }
    }
}

fn note(lines: &mut String, name: &HeaderName, value: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(lines, "{name}: {value}");
}
