//! Knowing again what this server has given out: a tag that nobody can make who has no master key.
//!
//! HMAC-SHA256 under a key that is derived from the master key for one purpose, so that what was made for one says nothing
//! about another, nor about what is sealed. The tag is the same on every node and after every start. As with what is
//! sealed, the first master key makes tags, and those of the others are known as long as these keys are.

use crate::seal::{MasterKey, MasterKeys};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of a tag: half of the HMAC, which is more than anybody can guess.
pub const TAG_BYTES: usize = 16;
/// Bytes of a block of SHA-256, to which HMAC fills a shorter key up with zeros.
const BLOCK_BYTES: usize = 64;

/// Makes and checks the tags of one purpose. Its `Debug` shows no key.
pub struct Authenticator {
    master: MasterKeys,
    purpose: String,
}

/// A derived key, filled up to a block.
type Key = Zeroizing<[u8; BLOCK_BYTES]>;

impl Authenticator {
    pub(crate) fn new(master: &MasterKeys, purpose: &str) -> Self {
        Self {
            master: master.clone(),
            purpose: purpose.to_owned(),
        }
    }

    /// The tag of `bytes`.
    pub fn tag(&self, bytes: &[u8]) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        if let Some(key) = self.keys().first() {
            let whole = hmac(key, bytes).finalize().into_bytes();
            tag.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
        }
        tag
    }

    /// Was `tag` made here for `bytes`? Takes the same time for every wrong tag of that length.
    pub fn knows(&self, bytes: &[u8], tag: &[u8]) -> bool {
        let made_with = |key: &Key| hmac(key, bytes).verify_truncated_left(tag).is_ok();
        tag.len() == TAG_BYTES && self.keys().iter().any(made_with)
    }

    /// Derived each time: the master keys may have changed.
    fn keys(&self) -> Vec<Key> {
        let master = self.master.all();
        master.iter().map(|key| derived(key, &self.purpose)).collect()
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator(***)")
    }
}

fn hmac(key: &[u8; BLOCK_BYTES], bytes: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new(key.into()).chain_update(bytes)
}

fn derived(master: &MasterKey, purpose: &str) -> Key {
    let mut block = Zeroizing::new([0; BLOCK_BYTES]);
    block
        .iter_mut()
        .zip(master.bytes())
        .for_each(|(to, from)| *to = *from);
    let derived = Zeroizing::new(<[u8; 32]>::from(
        hmac(&block, purpose.as_bytes()).finalize().into_bytes(),
    ));
    block
        .iter_mut()
        .zip(derived.iter())
        .for_each(|(to, from)| *to = *from);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> MasterKey {
        MasterKey::new([byte; 32])
    }

    fn authenticator(current: u8, earlier: &[u8], purpose: &str) -> Authenticator {
        let earlier = earlier.iter().map(|byte| key(*byte)).collect();
        Authenticator::new(&MasterKeys::new(key(current), earlier), purpose)
    }

    #[test]
    fn a_tag_is_known_for_its_bytes_and_purpose_alone() {
        let cursors = authenticator(1, &[], "cursors");
        let tag = cursors.tag(b"seven");
        assert!(cursors.knows(b"seven", &tag));
        assert!(authenticator(1, &[], "cursors").knows(b"seven", &tag));
        assert!(!cursors.knows(b"eight", &tag));
        assert!(!authenticator(1, &[], "tickets").knows(b"seven", &tag));
        for short in 0..TAG_BYTES {
            assert!(!cursors.knows(b"seven", &tag[..short]), "{short} bytes");
        }
    }

    #[test]
    fn a_rotation_forgets_nothing_and_another_master_key_knows_nothing() {
        let tag = authenticator(1, &[], "cursors").tag(b"seven");
        assert!(authenticator(2, &[3, 1], "cursors").knows(b"seven", &tag));
        assert!(!authenticator(2, &[3], "cursors").knows(b"seven", &tag));
    }

    #[test]
    fn the_key_is_derived_as_it_was_on_every_node_before() {
        // HMAC-SHA256 of "seven" with HMAC-SHA256 of "cursors" with 32 bytes of 1, by Python's hmac.
        let tag = authenticator(1, &[], "cursors").tag(b"seven");
        assert_eq!(
            u128::from_be_bytes(tag),
            0x787f_fe97_0f2e_a456_093d_71c5_dfb6_51bd
        );
    }
}
