//! The request of an attempt: what is the same for every attempt of an endpoint is made once.

use crate::echo::Secrets;
use crate::format::Formatter;
use crate::sign::Signer;
use crate::styles::{Sending, Styled};
use crate::transport::{Destination, Outgoing, Permission};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;
use stentor_domain::Timestamp;
use stentor_domain::attempt::{Answer, Trigger};
use stentor_domain::header_styles::{HeaderStyle, HeaderStyles};
use stentor_domain::limits::{ANSWER_BYTES_FAILED_MAX, ANSWER_BYTES_SUCCEEDED_MAX};
use stentor_store::config::{EndpointConfig, ProjectConfig};
use stentor_store::hot::Claimed;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const WEBHOOK_LOOP: HeaderName = HeaderName::from_static("webhook-loop");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const SVIX_ID: HeaderName = HeaderName::from_static("svix-id");
const SVIX_TIMESTAMP: HeaderName = HeaderName::from_static("svix-timestamp");
const SVIX_SIGNATURE: HeaderName = HeaderName::from_static("svix-signature");
/// About as many bytes as the lines of the three headers have, beside the signature.
const LINES_BYTES: usize = 160;
/// Headers beside the custom ones and those of [`Names`] that requests commonly have: content type and length, host, agent, loop,
/// five of style `v1`, two of tracing.
const OTHERS: usize = 12;
const AGENT: HeaderValue = HeaderValue::from_static(concat!("Stentor/", env!("CARGO_PKG_VERSION")));

/// What every request to one version of an endpoint, in one version of its project, has in common.
pub(crate) struct Prepared {
    endpoint_version: i64,
    project_version: i64,
    destination: Destination,
    timeout: Duration,
    formatter: Formatter,
    signer: Signer,
    names: Names,
    styled: Option<Styled>,
    /// Content type, agent and custom headers, and empty places for those that every attempt has.
    headers: HeaderMap,
    /// The lines of `headers` that may be kept with an attempt: all but the custom ones.
    lines: String,
    header_set: Option<i64>,
    secrets: Secrets,
}

/// The names under which the id, the timestamp and the signature of Standard Webhooks are sent: its own, and those of styles
/// that sign the same.
struct Names {
    ids: Vec<HeaderName>,
    timestamps: Vec<HeaderName>,
    signatures: Vec<HeaderName>,
}

impl Names {
    fn of(styles: &HeaderStyles) -> Self {
        let mut names = Self {
            ids: vec![WEBHOOK_ID],
            timestamps: vec![WEBHOOK_TIMESTAMP],
            signatures: vec![WEBHOOK_SIGNATURE],
        };
        for style in styles.beside() {
            match style {
                HeaderStyle::Svix => names.push([SVIX_ID, SVIX_TIMESTAMP, SVIX_SIGNATURE]),
                HeaderStyle::Prefixed(prefix) => {
                    let own = prefix.names().map(HeaderName::try_from);
                    // A prefix is always part of a valid name.
                    if let [Ok(id), Ok(timestamp), Ok(signature)] = own {
                        names.push([id, timestamp, signature]);
                    }
                }
                // Those of `Styled`.
                _ => {}
            }
        }
        names
    }

    fn all(&self) -> impl Iterator<Item = &HeaderName> {
        // In the order in which they are written.
        [&self.ids, &self.timestamps, &self.signatures]
            .into_iter()
            .flatten()
    }

    fn push(&mut self, [id, timestamp, signature]: [HeaderName; 3]) {
        self.ids.push(id);
        self.timestamps.push(timestamp);
        self.signatures.push(signature);
    }
}

/// The headers of a request, and their lines as far as they may be kept with the attempt.
struct Written {
    headers: HeaderMap,
    lines: String,
}

impl Written {
    fn put(&mut self, name: &HeaderName, value: String) {
        self.put_under(std::slice::from_ref(name), value);
    }

    /// Puts one value under several names. What stood under one of them, a custom header, is gone.
    fn put_under(&mut self, names: &[HeaderName], value: String) {
        for name in names {
            note(&mut self.lines, name, &value);
        }
        // Ids, names of event types, numbers, base64 and hex are always valid values.
        let (Some((first, others)), Ok(value)) = (names.split_first(), HeaderValue::try_from(value)) else {
            return;
        };
        for name in others {
            self.headers.insert(name, value.clone());
        }
        self.headers.insert(first, value);
    }
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
        let custom = settings.custom_headers.pairs();
        let names = Names::of(&settings.header_styles);
        // A copy has as many places, so that it need not grow.
        let mut headers = HeaderMap::with_capacity(custom.len() + 3 * names.ids.len() + OTHERS);
        let mut lines = String::new();
        let formatter = Formatter::new(&configured.endpoint);
        for (name, value) in [(CONTENT_TYPE, formatter.content_type()), (USER_AGENT, AGENT)] {
            note(&mut lines, &name, value.to_str().unwrap_or_default());
            headers.insert(name, value);
        }
        for (name, value) in custom {
            // They were checked when they were saved.
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
                headers.insert(name, value);
            }
        }
        for name in names.all().chain([&WEBHOOK_LOOP]) {
            headers.insert(name, HeaderValue::from_static(""));
        }
        Self {
            endpoint_version: configured.version,
            project_version: project.version,
            destination: Destination::new(settings.url.clone()),
            timeout: settings.timeout(),
            formatter,
            signer: Signer::new(&configured.secrets),
            names,
            styled: Styled::new(
                &settings.header_styles,
                &configured.secrets,
                &project.signature_prefix,
            ),
            headers,
            lines,
            header_set: configured.header_set,
            secrets: Secrets::of(&settings.custom_headers),
        }
    }

    /// Hides in an answer what was sent and nobody is shown.
    pub(crate) fn hide_secrets(&self, answer: &mut Answer) {
        self.secrets.hide(answer);
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
        let signature = self.signer.sign(&id, &timestamp, &body, now);
        let room = (LINES_BYTES + signature.len()) * self.names.ids.len();
        let mut written = Written {
            headers: self.headers.clone(),
            lines: String::with_capacity(self.lines.len() + room),
        };
        written.lines.push_str(&self.lines);
        written.put_under(&self.names.ids, id);
        written.put_under(&self.names.timestamps, timestamp.clone());
        written.put_under(&self.names.signatures, signature);
        written.put(&WEBHOOK_LOOP, claimed.event.loops.saturating_add(1).to_string());
        if let Some(trace) = &claimed.event.trace {
            written.put(&TRACEPARENT, trace.parent().to_owned());
            // That of the publish belongs to its parent, and no other one does.
            written.headers.remove(&TRACESTATE);
            if let Some(state) = trace.state() {
                written.put(&TRACESTATE, state.to_owned());
            }
        }
        if let Some(styled) = &self.styled {
            let sending = Sending {
                claimed,
                body: &body,
                now,
                timestamp: &timestamp,
            };
            styled.headers(&sending, &mut |name, value| written.put(name, value));
        }
        for (name, value) in self.formatter.headers(&claimed.event) {
            written.put(&name, value);
        }
        let keep = if claimed.trigger == Trigger::Test {
            ANSWER_BYTES_FAILED_MAX
        } else {
            ANSWER_BYTES_SUCCEEDED_MAX
        };
        let outgoing = Outgoing {
            destination: self.destination.clone(),
            headers: written.headers,
            body,
            timeout: self.timeout,
            keep,
            permission,
        };
        Built {
            outgoing,
            sent_headers: written.lines,
            header_set: self.header_set,
        }
    }
}

fn note(lines: &mut String, name: &HeaderName, value: &str) {
    for part in [name.as_str(), ": ", value, "\n"] {
        lines.push_str(part);
    }
}
