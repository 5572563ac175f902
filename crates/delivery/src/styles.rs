//! The headers of a contract's receivers, beside those of Standard Webhooks. Each is one HMAC-SHA256 in lower-case hex, keyed
//! with the whole text of the newest secret that is valid: these headers have room for one signature only.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderName;
use sha2::Sha256;
use std::fmt::Write as _;
use stentor_domain::Timestamp;
use stentor_domain::header_styles::HeaderStyle;
use stentor_domain::secret::SigningSecret;
use stentor_domain::signature_prefix::SignaturePrefix;
use stentor_store::hot::Claimed;

const SIGNATURE: HeaderName = HeaderName::from_static("x-webhook-signature");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-webhook-timestamp");
const EVENT: HeaderName = HeaderName::from_static("x-webhook-event");
const DELIVERY: HeaderName = HeaderName::from_static("x-webhook-delivery");
const ATTEMPT: HeaderName = HeaderName::from_static("x-webhook-attempt");

/// Signs for one endpoint in the style of a contract.
pub(crate) struct Styled {
    style: HeaderStyle,
    /// The names of style `apps`, which begin with the project's prefix: of the signature and of the timestamp.
    prefixed: (HeaderName, HeaderName),
    /// The newest first.
    keys: Vec<Key>,
}

struct Key {
    state: Hmac<Sha256>,
    expires_at: Option<Timestamp>,
}

impl Styled {
    /// Prepares the secrets of an endpoint, newest first, in a project whose own headers begin with `prefix`.
    pub(crate) fn new(style: HeaderStyle, secrets: &[SigningSecret], prefix: &SignaturePrefix) -> Self {
        let keys = secrets.iter().filter_map(|signing| {
            // An HMAC takes keys of every length: no secret is lost here.
            let state = Hmac::new_from_slice(signing.secret.expose().as_bytes()).ok()?;
            Some(Key {
                state,
                expires_at: signing.expires_at,
            })
        });
        // A prefix is always part of a valid name.
        let prefixed = (
            HeaderName::try_from(prefix.signature_header()).unwrap_or(SIGNATURE),
            HeaderName::try_from(prefix.timestamp_header()).unwrap_or(TIMESTAMP),
        );
        Self {
            style,
            prefixed,
            keys: keys.collect(),
        }
    }

    /// The headers of the attempt with this body that `claimed` is for, made at `now`; none where no secret is valid.
    pub(crate) fn headers(
        &self,
        claimed: &Claimed,
        body: &[u8],
        now: Timestamp,
    ) -> Vec<(HeaderName, String)> {
        let valid = |key: &&Key| key.expires_at.is_none_or(|end| now < end);
        let Some(key) = self.keys.iter().find(valid) else {
            return Vec::new();
        };
        let event = &claimed.event;
        match self.style {
            HeaderStyle::Standard => Vec::new(),
            HeaderStyle::Organization => vec![
                (SIGNATURE, key.hex(&[body])),
                (EVENT, event.event_type.as_str().to_owned()),
                (TIMESTAMP, event.happened_at().iso_millis()),
            ],
            HeaderStyle::Apps => {
                let (signature, timestamp) = self.prefixed.clone();
                vec![
                    (signature, key.hex(&[body])),
                    (timestamp, now.millis().to_string()),
                ]
            }
            HeaderStyle::V1 => {
                let seconds = now.seconds().to_string();
                let signature = key.hex(&[seconds.as_bytes(), b".", body]);
                vec![
                    (SIGNATURE, format!("v1={signature}")),
                    (TIMESTAMP, seconds),
                    (EVENT, event.event_type.as_str().to_owned()),
                    (DELIVERY, claimed.delivery.0.uuid()),
                    (ATTEMPT, claimed.attempt.to_string()),
                ]
            }
        }
    }
}

impl Key {
    fn hex(&self, parts: &[&[u8]]) -> String {
        let mut state = self.state.clone();
        parts.iter().for_each(|part| state.update(part));
        state
            .finalize()
            .into_bytes()
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                // Writing to a string cannot fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }
}
