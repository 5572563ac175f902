//! Signatures of Standard Webhooks 1.0.0 over `id.timestamp.body`: HMAC-SHA256 and ed25519.
//!
//! A [`Signer`] is made once for a version of an endpoint and keeps the keys ready, so that a signature by HMAC costs one small
//! copy of a state and the hashing itself. The body is hashed where it lies.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::cmp::Reverse;
use std::fmt;
use stentor_domain::Timestamp;
use stentor_domain::key_pair::KeyPair;
use stentor_domain::limits::SECRETS_VALID_MAX;
use stentor_domain::secret::{SecretKey, SigningSecret};

/// What stands before a signature: the version of its scheme.
const VERSION_HMAC: &str = "v1,";
const VERSION_ED25519: &str = "v1a,";
/// Characters of one signature: the version and the base64 of 32 or 64 bytes.
const HMAC_CHARACTERS: usize = VERSION_HMAC.len() + 44;
const ED25519_CHARACTERS: usize = VERSION_ED25519.len() + 88;

/// Signs for one endpoint with every secret that is valid. Its `Debug` shows no key.
pub struct Signer {
    /// The newest first.
    keys: Vec<Key>,
    /// Characters of the signatures of all of them.
    characters: usize,
}

struct Key {
    scheme: Scheme,
    expires_at: Option<Timestamp>,
}

enum Scheme {
    Hmac(Hmac<Sha256>),
    Ed25519(KeyPair),
}

impl Signer {
    /// Prepares the secrets of an endpoint; of more than [`SECRETS_VALID_MAX`] the oldest are left out.
    pub fn new(secrets: &[SigningSecret]) -> Self {
        let mut newest_first: Vec<&SigningSecret> = secrets.iter().collect();
        newest_first.sort_by_key(|secret| Reverse(secret.created_at));
        let keys: Vec<Key> = newest_first
            .into_iter()
            .take(SECRETS_VALID_MAX)
            .filter_map(Key::of)
            .collect();
        let with_space = keys.iter().map(|key| key.characters() + 1).sum::<usize>();
        Self {
            keys,
            characters: with_space.saturating_sub(1),
        }
    }

    /// The value of the signature's header for a body sent at `now`: one signature per secret valid then, the newest first,
    /// separated by spaces. Empty where no secret is valid.
    ///
    /// `id` and `timestamp`, which is the seconds of `now`, are the values of the other two headers.
    pub fn sign(&self, id: &str, timestamp: &str, body: &[u8], now: Timestamp) -> String {
        let content: [&[u8]; 5] = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        let mut signatures = String::with_capacity(self.characters);
        for key in self.keys.iter().filter(|key| key.valid(now)) {
            if !signatures.is_empty() {
                signatures.push(' ');
            }
            key.sign(&content, &mut signatures);
        }
        signatures
    }
}

impl Key {
    fn of(signing: &SigningSecret) -> Option<Self> {
        let scheme = match signing.secret.key() {
            // An HMAC takes keys of every length: no secret is lost here.
            SecretKey::Hmac(key) => Scheme::Hmac(Hmac::new_from_slice(&key).ok()?),
            SecretKey::Ed25519(pair) => Scheme::Ed25519(pair),
        };
        Some(Self {
            scheme,
            expires_at: signing.expires_at,
        })
    }

    fn valid(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    fn characters(&self) -> usize {
        match self.scheme {
            Scheme::Hmac(_) => HMAC_CHARACTERS,
            Scheme::Ed25519(_) => ED25519_CHARACTERS,
        }
    }

    fn sign(&self, content: &[&[u8]], signatures: &mut String) {
        match &self.scheme {
            Scheme::Hmac(keyed) => {
                signatures.push_str(VERSION_HMAC);
                STANDARD.encode_string(authenticate(keyed, content), signatures);
            }
            Scheme::Ed25519(pair) => {
                signatures.push_str(VERSION_ED25519);
                STANDARD.encode_string(pair.sign(content), signatures);
            }
        }
    }
}

/// The HMAC of a content that is given in parts.
pub(crate) fn authenticate(keyed: &Hmac<Sha256>, content: &[&[u8]]) -> [u8; 32] {
    let mut state = keyed.clone();
    content.iter().for_each(|part| state.update(part));
    state.finalize().into_bytes().into()
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} keys)", self.keys.len())
    }
}
