//! Signatures of Standard Webhooks 1.0.0: HMAC-SHA256 over `id.timestamp.body`.
//!
//! A [`Signer`] is made once for a version of an endpoint and keeps the HMAC states already keyed, so that a signature
//! costs one small copy of a state and the hashing itself. The body is hashed where it lies.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::cmp::Reverse;
use std::fmt;
use std::fmt::Write as _;
use stentor_domain::Timestamp;
use stentor_domain::limits::SECRETS_VALID_MAX;
use stentor_domain::secret::SigningSecret;

/// What stands before each signature: the version of the scheme.
const VERSION: &str = "v1,";
/// Characters of one signature: the version and the base64 of 32 bytes.
const SIGNATURE_CHARACTERS: usize = VERSION.len() + 44;

/// Signs for one endpoint with every secret that is valid. Its `Debug` shows no key.
pub struct Signer {
    /// The newest first.
    keys: Vec<Key>,
}

struct Key {
    state: Hmac<Sha256>,
    expires_at: Option<Timestamp>,
}

impl Signer {
    /// Prepares the secrets of an endpoint; of more than [`SECRETS_VALID_MAX`] the oldest are left out.
    pub fn new(secrets: &[SigningSecret]) -> Self {
        let mut newest_first: Vec<&SigningSecret> = secrets.iter().collect();
        newest_first.sort_by_key(|secret| Reverse(secret.created_at));
        let keys = newest_first
            .into_iter()
            .take(SECRETS_VALID_MAX)
            // An HMAC takes keys of every length: no secret is lost here.
            .filter_map(|signing| {
                let state = Hmac::new_from_slice(&signing.secret.hmac_key()).ok()?;
                Some(Key {
                    state,
                    expires_at: signing.expires_at,
                })
            })
            .collect();
        Self { keys }
    }

    /// The value of `webhook-signature` for a body sent at `now`: one signature per secret valid then, the newest first,
    /// separated by spaces. Empty where no secret is valid.
    ///
    /// `id` is the value of `webhook-id`, and `webhook-timestamp` must be the seconds of `now`.
    pub fn sign(&self, id: &str, now: Timestamp, body: &[u8]) -> String {
        let mut signatures = String::with_capacity((SIGNATURE_CHARACTERS + 1) * self.keys.len());
        for key in self.keys.iter().filter(|key| key.valid(now)) {
            if !signatures.is_empty() {
                signatures.push(' ');
            }
            signatures.push_str(VERSION);
            STANDARD.encode_string(key.authenticate(id, now, body), &mut signatures);
        }
        signatures
    }
}

impl Key {
    fn valid(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    fn authenticate(&self, id: &str, now: Timestamp, body: &[u8]) -> impl AsRef<[u8]> {
        let mut hashed = Hashed(self.state.clone());
        // Hashing cannot fail, so that neither can writing into it.
        let _ = write!(hashed, "{id}.{}.", now.seconds());
        hashed.0.update(body);
        hashed.0.finalize().into_bytes()
    }
}

/// Hashes the text that is written into it, so that numbers need no string of their own.
struct Hashed(Hmac<Sha256>);

impl fmt::Write for Hashed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} keys)", self.keys.len())
    }
}
