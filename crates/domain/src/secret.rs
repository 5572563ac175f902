//! Signing secrets.

use crate::limits::{SECRET_CHARACTERS_MAX, SECRET_CHARACTERS_MIN, WHSEC_BYTES_MAX, WHSEC_BYTES_MIN};
use crate::{Chance, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::{self, Write as _};

const WHSEC_PREFIX: &str = "whsec_";
const WHSK_PREFIX: &str = "whsk_";
const WHSEC_DRAWN_BYTES: usize = 32;
const WHS_PREFIX: &str = "whs_";
/// 42 hexadecimal characters (contract organization).
const WHS_DRAWN_BYTES: usize = 21;

/// Why a text cannot be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Its length or characters are out of bounds.
    #[error("must be 16 to 255 printable ASCII characters")]
    Characters,
    /// Standard Webhooks fixes the length of the key.
    #[error("whsec_ must be followed by base64 of 24 to 64 bytes")]
    KeyLength,
    /// Signing with ed25519 is not offered yet.
    #[error("ed25519 secrets (whsk_) are not supported yet; use whsec_")]
    Ed25519,
}

/// A signing key as text: `whsec_` and base64, or any 16 to 255 printable characters (contract v1). Its `Debug` shows
/// nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text that a caller chose.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let length = SECRET_CHARACTERS_MIN..=SECRET_CHARACTERS_MAX;
        if !length.contains(&text.len()) || !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Err(SecretError::Characters);
        }
        if text.starts_with(WHSK_PREFIX) {
            return Err(SecretError::Ed25519);
        }
        match decoded(text) {
            Some(key) if !(WHSEC_BYTES_MIN..=WHSEC_BYTES_MAX).contains(&key.len()) => {
                Err(SecretError::KeyLength)
            }
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// Draws a new `whsec_` secret of 32 random bytes.
    pub fn draw(chance: &dyn Chance) -> Self {
        let mut key = [0; WHSEC_DRAWN_BYTES];
        chance.fill(&mut key);
        Self(format!("{WHSEC_PREFIX}{}", STANDARD.encode(key)))
    }

    /// Draws a new `whs_` secret: 21 random bytes in hexadecimal. It keys with its whole text (contract organization).
    pub fn draw_whs(chance: &dyn Chance) -> Self {
        let mut key = [0; WHS_DRAWN_BYTES];
        chance.fill(&mut key);
        let hex = key.iter().fold(WHS_PREFIX.to_owned(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        Self(hex)
    }

    /// The bytes that key the HMAC: what follows `whsec_` decoded, where it is base64 of a fitting length; the bytes of
    /// the whole text otherwise (contract v1).
    pub fn hmac_key(&self) -> Vec<u8> {
        decoded(&self.0)
            .filter(|key| (WHSEC_BYTES_MIN..=WHSEC_BYTES_MAX).contains(&key.len()))
            .unwrap_or_else(|| self.0.as_bytes().to_vec())
    }

    /// The text, to be sealed, or shown once.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.strip_prefix(WHSEC_PREFIX)?).ok()
}

/// A secret of an endpoint and how long it signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningSecret {
    /// The key.
    pub secret: Secret,
    /// When it was given or drawn; the newest comes first in every list of secrets.
    pub created_at: Timestamp,
    /// When it stops signing; `None` until a rotation sets it.
    pub expires_at: Option<Timestamp>,
}

impl SigningSecret {
    /// Does it sign at `now`?
    pub fn valid(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whsec_secret_keys_with_its_bytes() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(secret.hmac_key().len(), 24);
        assert_eq!(
            Secret::parse("whsec_c2hvcnQgc2hvcnQ="),
            Err(SecretError::KeyLength)
        );
    }

    #[test]
    fn any_other_text_keys_with_itself() {
        for text in [
            "whsec_your_signing_secret",
            "sixteen letters.",
            "whs_0123456789abcdef",
        ] {
            assert_eq!(Secret::parse(text).unwrap().hmac_key(), text.as_bytes());
        }
    }

    #[test]
    fn lengths_and_characters_are_bounded() {
        for text in [
            "short",
            "with a\nline break in it",
            &"x".repeat(256),
            "sixteen lettärs!",
        ] {
            assert_eq!(Secret::parse(text), Err(SecretError::Characters), "{text}");
        }
        assert_eq!(
            Secret::parse("whsk_6Xb/dCcHpPea21PS1N9V"),
            Err(SecretError::Ed25519)
        );
    }

    #[test]
    fn a_secret_never_shows_itself() {
        let secret = Secret::parse("whsec_your_signing_secret").unwrap();
        assert!(!format!("{secret:?}").contains("your"));
    }
}
