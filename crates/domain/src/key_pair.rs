//! ed25519 key pairs, written as Standard Webhooks does: `whsk_` and base64 of what signs, `whpk_` and base64 of the public
//! key.

use crate::Chance;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::ed25519::signature::MultipartSigner as _;
use ed25519_dalek::{PUBLIC_KEY_LENGTH, SECRET_KEY_LENGTH, SIGNATURE_LENGTH, SigningKey};
use std::fmt;

const PREFIX: &str = "whsk_";
const PUBLIC_PREFIX: &str = "whpk_";

/// Why what follows `whsk_` is no key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyPairError {
    /// It is neither a pair nor a seed.
    #[error(
        "whsk_ must be followed by base64 of 64 bytes, an ed25519 seed and its public key, or of the seed's 32 bytes alone"
    )]
    Bytes,
    /// Receivers that were given this public key would refuse every signature.
    #[error("the last 32 bytes after whsk_ must be the public key of the ed25519 seed before them")]
    Mismatch,
}

/// A key that signs, and the public one that its signatures are verified with. Its `Debug` shows nothing secret.
pub struct KeyPair(SigningKey);

impl KeyPair {
    /// Reads the text of a secret; `None` where it does not begin with `whsk_`.
    pub fn parse(text: &str) -> Option<Result<Self, KeyPairError>> {
        let encoded = text.strip_prefix(PREFIX)?;
        Some(Self::decode(encoded))
    }

    fn decode(encoded: &str) -> Result<Self, KeyPairError> {
        let bytes = STANDARD.decode(encoded).map_err(|_| KeyPairError::Bytes)?;
        let (seed, public) = bytes
            .split_first_chunk::<SECRET_KEY_LENGTH>()
            .ok_or(KeyPairError::Bytes)?;
        let pair = SigningKey::from_bytes(seed);
        match public.len() {
            0 => Ok(Self(pair)),
            PUBLIC_KEY_LENGTH if public == pair.verifying_key().as_bytes() => Ok(Self(pair)),
            PUBLIC_KEY_LENGTH => Err(KeyPairError::Mismatch),
            _ => Err(KeyPairError::Bytes),
        }
    }

    /// Draws a new one.
    pub fn draw(chance: &dyn Chance) -> Self {
        let mut seed = [0; SECRET_KEY_LENGTH];
        chance.fill(&mut seed);
        Self(SigningKey::from_bytes(&seed))
    }

    /// The text that [`KeyPair::parse`] reads: the seed and the public key.
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(self.0.to_keypair_bytes()))
    }

    /// The public key, as receivers are given it.
    pub fn public_key(&self) -> String {
        format!(
            "{PUBLIC_PREFIX}{}",
            STANDARD.encode(self.0.verifying_key().as_bytes())
        )
    }

    /// Signs a message, whose parts are read where they lie.
    pub fn sign(&self, message: &[&[u8]]) -> [u8; SIGNATURE_LENGTH] {
        // Signing with a key in memory cannot fail.
        (self.0.try_multipart_sign(message)).map_or([0; SIGNATURE_LENGTH], |signature| signature.to_bytes())
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public_key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seed and the public key of the specification's example.
    const SEED: &str = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=";
    const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    const PAIR: &str =
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";

    fn parsed(text: &str) -> Result<KeyPair, KeyPairError> {
        KeyPair::parse(text).expect("it begins with whsk_")
    }

    #[test]
    fn a_pair_and_its_seed_alone_are_the_same_key() {
        let [pair, seed] = [PAIR.to_owned(), format!("whsk_{SEED}")].map(|text| parsed(&text).unwrap());
        assert_eq!(pair.expose(), PAIR);
        assert_eq!(seed.expose(), PAIR);
        assert_eq!([pair.public_key(), seed.public_key()], [PUBLIC; 2]);
        assert_eq!(pair.sign(&[b"a", b"", b"bc"]), seed.sign(&[b"abc"]));
        assert!(KeyPair::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_none());
    }

    #[test]
    fn a_public_key_of_another_seed_is_refused() {
        let mut bytes = STANDARD.decode(&PAIR[PREFIX.len()..]).unwrap();
        for at in [0, 31, 32, 63] {
            bytes[at] ^= 1;
            let altered = format!("{PREFIX}{}", STANDARD.encode(&bytes));
            assert_eq!(parsed(&altered).unwrap_err(), KeyPairError::Mismatch, "byte {at}");
            bytes[at] ^= 1;
        }
    }

    #[test]
    fn other_lengths_and_what_is_no_base64_are_refused() {
        for length in [0, 24, 31, 33, 63, 65, 96] {
            let text = format!("{PREFIX}{}", STANDARD.encode(vec![7; length]));
            assert_eq!(parsed(&text).unwrap_err(), KeyPairError::Bytes, "{length} bytes");
        }
        for text in [
            "whsk_your_signing_secret",
            &PAIR[..PAIR.len() - 2],
            &PAIR.replace('/', "_"),
        ] {
            assert_eq!(parsed(text).unwrap_err(), KeyPairError::Bytes, "{text}");
        }
    }

    #[test]
    fn what_is_shown_of_it_is_public() {
        let pair = parsed(PAIR).unwrap();
        assert_eq!(format!("{pair:?}"), format!("KeyPair({PUBLIC})"));
    }
}
