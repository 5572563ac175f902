//! The headers that receivers know from elsewhere and that are an HMAC-SHA256 keyed with the whole text of a secret. All but
//! Stripe's have room for one signature only, which is by the newest secret that is valid.

use crate::sign::authenticate;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _};
use http::HeaderName;
use sha2::Sha256;
use stentor_domain::Timestamp;
use stentor_domain::header_styles::{HeaderStyle, HeaderStyles};
use stentor_domain::hex;
use stentor_domain::limits::SECRETS_VALID_MAX;
use stentor_domain::secret::{SecretKey, SigningSecret};
use stentor_domain::signature_prefix::SignaturePrefix;
use stentor_store::hot::Claimed;

const SIGNATURE: HeaderName = HeaderName::from_static("x-webhook-signature");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-webhook-timestamp");
const EVENT: HeaderName = HeaderName::from_static("x-webhook-event");
const DELIVERY: HeaderName = HeaderName::from_static("x-webhook-delivery");
const ATTEMPT: HeaderName = HeaderName::from_static("x-webhook-attempt");
const STRIPE: HeaderName = HeaderName::from_static("stripe-signature");
const GITHUB: HeaderName = HeaderName::from_static("x-hub-signature-256");
const SHOPIFY: HeaderName = HeaderName::from_static("x-shopify-hmac-sha256");
/// Characters of an HMAC-SHA256 in hexadecimal.
const HEX_CHARACTERS: usize = 64;

/// Signs for one endpoint in the styles that need an HMAC.
pub(crate) struct Styled {
    styles: Vec<HeaderStyle>,
    /// The names of style `apps`, which begin with the project's prefix: of the signature and of the timestamp.
    prefixed: (HeaderName, HeaderName),
    /// The newest first.
    keys: Vec<Key>,
}

struct Key {
    keyed: Hmac<Sha256>,
    expires_at: Option<Timestamp>,
}

/// The attempt whose headers are made: its delivery, and when it is made.
pub(crate) struct Sending<'a> {
    pub(crate) claimed: &'a Claimed,
    pub(crate) body: &'a [u8],
    pub(crate) now: Timestamp,
    /// The seconds of `now`.
    pub(crate) timestamp: &'a str,
}

impl Styled {
    /// Prepares the secrets of an endpoint, newest first, in a project whose own headers begin with `prefix`; `None` where no
    /// style needs them.
    ///
    /// Where the endpoint has a style under that very prefix, its headers stand and those of style `apps` are left out: the
    /// project's prefix was changed after the endpoint's was chosen.
    pub(crate) fn new(
        styles: &HeaderStyles,
        secrets: &[SigningSecret],
        prefix: &SignaturePrefix,
    ) -> Option<Self> {
        let overlaid = |style: &HeaderStyle| *style == HeaderStyle::Apps && styles.prefixed_with(prefix);
        let needed = styles.beside().iter();
        let needed: Vec<HeaderStyle> = needed
            .filter(|style| style.needs_hmac() && !overlaid(style))
            .cloned()
            .collect();
        if needed.is_empty() {
            return None;
        }
        // A prefix is always part of a valid name.
        let prefixed = (
            HeaderName::try_from(prefix.signature_header()).unwrap_or(SIGNATURE),
            HeaderName::try_from(prefix.timestamp_header()).unwrap_or(TIMESTAMP),
        );
        let keys = secrets.iter().take(SECRETS_VALID_MAX).filter_map(Key::of);
        Some(Self {
            styles: needed,
            prefixed,
            keys: keys.collect(),
        })
    }

    /// Puts the headers of an attempt, each once; none where no secret is valid.
    pub(crate) fn headers(&self, sending: &Sending<'_>, put: &mut impl FnMut(&HeaderName, String)) {
        let valid = |key: &&Key| key.expires_at.is_none_or(|end| sending.now < end);
        let Some(newest) = self.keys.iter().find(valid) else {
            return;
        };
        let mut newest = Macs::by(newest, sending);
        for style in &self.styles {
            match style {
                // These sign with secrets of every kind, as Standard Webhooks does.
                HeaderStyle::Standard | HeaderStyle::Svix | HeaderStyle::Prefixed(_) => {}
                HeaderStyle::Organization => organization(&mut newest, put),
                HeaderStyle::Apps => {
                    let (signature, timestamp) = &self.prefixed;
                    put(signature, spelled("", newest.of_body()));
                    put(timestamp, sending.now.millis().to_string());
                }
                HeaderStyle::V1 => v1(&mut newest, put),
                HeaderStyle::Stripe => {
                    let mut value = format!("t={}", sending.timestamp);
                    for key in self.keys.iter().filter(valid) {
                        push_hex(&mut value, ",v1=", Macs::by(key, sending).of_timestamp_and_body());
                    }
                    put(&STRIPE, value);
                }
                HeaderStyle::Github => put(&GITHUB, spelled("sha256=", newest.of_body())),
                HeaderStyle::Shopify => put(&SHOPIFY, STANDARD.encode(newest.of_body())),
            }
        }
    }
}

fn organization(newest: &mut Macs<'_>, put: &mut impl FnMut(&HeaderName, String)) {
    let event = &newest.sending.claimed.event;
    put(&SIGNATURE, spelled("", newest.of_body()));
    put(&EVENT, event.event_type.as_str().to_owned());
    put(&TIMESTAMP, event.happened_at().iso_millis());
}

fn v1(newest: &mut Macs<'_>, put: &mut impl FnMut(&HeaderName, String)) {
    let Sending {
        claimed, timestamp, ..
    } = *newest.sending;
    put(&SIGNATURE, spelled("v1=", newest.of_timestamp_and_body()));
    put(&TIMESTAMP, timestamp.to_owned());
    put(&EVENT, claimed.event.event_type.as_str().to_owned());
    put(&DELIVERY, claimed.delivery.0.uuid());
    put(&ATTEMPT, claimed.attempt.to_string());
}

impl Key {
    /// `None` for an ed25519 secret, which is still valid after a rotation to one with a text.
    fn of(signing: &SigningSecret) -> Option<Self> {
        let SecretKey::Hmac(_) = signing.secret.key() else {
            return None;
        };
        Some(Self {
            // An HMAC takes keys of every length: no secret is lost here.
            keyed: Hmac::new_from_slice(signing.secret.expose().as_bytes()).ok()?,
            expires_at: signing.expires_at,
        })
    }
}

/// What one secret makes of an attempt. Several styles sign the same content, which is hashed once.
struct Macs<'a> {
    key: &'a Key,
    sending: &'a Sending<'a>,
    of_body: Option<[u8; 32]>,
    of_timestamp_and_body: Option<[u8; 32]>,
}

impl<'a> Macs<'a> {
    fn by(key: &'a Key, sending: &'a Sending<'a>) -> Self {
        Self {
            key,
            sending,
            of_body: None,
            of_timestamp_and_body: None,
        }
    }

    fn of_body(&mut self) -> [u8; 32] {
        *(self.of_body).get_or_insert_with(|| authenticate(&self.key.keyed, &[self.sending.body]))
    }

    fn of_timestamp_and_body(&mut self) -> [u8; 32] {
        let content: [&[u8]; 3] = [self.sending.timestamp.as_bytes(), b".", self.sending.body];
        *(self.of_timestamp_and_body).get_or_insert_with(|| authenticate(&self.key.keyed, &content))
    }
}

fn spelled(prefix: &str, mac: [u8; 32]) -> String {
    let mut text = String::with_capacity(prefix.len() + HEX_CHARACTERS);
    push_hex(&mut text, prefix, mac);
    text
}

fn push_hex(text: &mut String, prefix: &str, mac: [u8; 32]) {
    text.push_str(prefix);
    hex::push(text, &mac);
}
