//! Signing secrets.

use crate::key_pair::{KeyPair, KeyPairError};
use crate::limits::{SECRET_CHARACTERS_MAX, SECRET_CHARACTERS_MIN, WHSEC_BYTES_MAX, WHSEC_BYTES_MIN};
use crate::{Chance, Timestamp, hex};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

const WHSEC_PREFIX: &str = "whsec_";
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
    /// It begins as an ed25519 secret does.
    #[error(transparent)]
    KeyPair(#[from] KeyPairError),
}

/// What a secret signs with.
#[derive(Debug)]
pub enum SecretKey {
    /// HMAC-SHA256, keyed with these bytes.
    Hmac(Vec<u8>),
    /// ed25519.
    Ed25519(KeyPair),
}

/// A signing key as text: `whsec_` and base64, `whsk_` and base64, or any 16 to 255 printable characters (contract v1). Its
/// `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text that a caller chose.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let length = SECRET_CHARACTERS_MIN..=SECRET_CHARACTERS_MAX;
        if !length.contains(&text.len()) || !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Err(SecretError::Characters);
        }
        if let Some(pair) = KeyPair::parse(text) {
            pair?;
            return Ok(Self(text.to_owned()));
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

    /// Draws a new `whsk_` secret.
    pub fn draw_whsk(chance: &dyn Chance) -> Self {
        Self(KeyPair::draw(chance).expose())
    }

    /// Draws a new `whs_` secret: 21 random bytes in hexadecimal. It keys with its whole text (contract organization).
    pub fn draw_whs(chance: &dyn Chance) -> Self {
        let mut key = [0; WHS_DRAWN_BYTES];
        chance.fill(&mut key);
        let mut text = WHS_PREFIX.to_owned();
        hex::push(&mut text, &key);
        Self(text)
    }

    /// What it signs with: the key pair of `whsk_`; what follows `whsec_` decoded, where it is base64 of a fitting length;
    /// the bytes of the whole text otherwise (contract v1).
    pub fn key(&self) -> SecretKey {
        if let Some(Ok(pair)) = KeyPair::parse(&self.0) {
            return SecretKey::Ed25519(pair);
        }
        let key = decoded(&self.0)
            .filter(|key| (WHSEC_BYTES_MIN..=WHSEC_BYTES_MAX).contains(&key.len()))
            .unwrap_or_else(|| self.0.as_bytes().to_vec());
        SecretKey::Hmac(key)
    }

    /// The public key of an ed25519 secret, which its receivers verify with.
    pub fn public_key(&self) -> Option<String> {
        match self.key() {
            SecretKey::Ed25519(pair) => Some(pair.public_key()),
            SecretKey::Hmac(_) => None,
        }
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

    fn hmac_key(secret: &Secret) -> Vec<u8> {
        match secret.key() {
            SecretKey::Hmac(key) => key,
            SecretKey::Ed25519(pair) => panic!("{pair:?}"),
        }
    }

    #[test]
    fn a_whsec_secret_keys_with_its_bytes() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(hmac_key(&secret).len(), 24);
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
            assert_eq!(hmac_key(&Secret::parse(text).unwrap()), text.as_bytes());
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
    }

    #[test]
    fn a_whsk_secret_is_a_key_pair_or_refused_and_never_the_text_of_an_hmac() {
        let seed = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=";
        let secret = Secret::parse(seed).unwrap();
        assert!(matches!(secret.key(), SecretKey::Ed25519(_)));
        assert_eq!(secret.expose(), seed, "as its owner wrote it");
        let public = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
        assert_eq!(secret.public_key().as_deref(), Some(public));
        assert_eq!(
            Secret::parse("whsk_your_signing_secret"),
            Err(SecretError::KeyPair(KeyPairError::Bytes))
        );
    }

    #[test]
    fn a_secret_never_shows_itself() {
        let secret = Secret::parse("whsec_your_signing_secret").unwrap();
        assert!(!format!("{secret:?}").contains("your"));
    }
}
