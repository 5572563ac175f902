//! Sealing: what must not be read from the disk is encrypted before it first touches it.
//!
//! XChaCha20-Poly1305 with a random nonce. A sealed value is `key id (8) | nonce (24) | ciphertext`; the row's identity is
//! the associated data, so that a sealed value cannot be moved to another row. Several master keys may be known, so that
//! they can be rotated while the server runs; the first seals.

use crate::error::{Result, StoreError};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use stentor_domain::Chance;
use zeroize::Zeroizing;

const KEY_ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;

/// One master key: 32 random bytes.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// Takes the bytes of a key.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its bytes, from which others are derived.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Names the key without telling it: the first bytes of its hash.
    fn id(&self) -> [u8; KEY_ID_BYTES] {
        let mut id = [0; KEY_ID_BYTES];
        id.iter_mut()
            .zip(Sha256::digest(self.0.as_slice()))
            .for_each(|(to, from)| *to = from);
        id
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.0).into())
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(***)")
    }
}

/// The master keys that a server knows. The first seals, all open.
#[derive(Clone, Debug)]
pub struct MasterKeys {
    pub(crate) current: MasterKey,
    pub(crate) earlier: Vec<MasterKey>,
}

impl MasterKeys {
    /// `current` seals; `earlier` ones open what they once sealed.
    pub fn new(current: MasterKey, earlier: Vec<MasterKey>) -> Self {
        Self { current, earlier }
    }

    /// The number that names the sealing key in the database.
    pub(crate) fn current_id(&self) -> i64 {
        i64::from_be_bytes(self.current.id())
    }

    /// Seals `plain` for the row that `row` identifies.
    pub(crate) fn seal(&self, row: &str, plain: &[u8], chance: &dyn Chance) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        chance.fill(&mut nonce);
        let sealed = self
            .current
            .cipher()
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: plain,
                    aad: row.as_bytes(),
                },
            )
            .map_err(|_| StoreError::Unreadable("the value is too large to seal".into()))?;
        Ok([&self.current.id()[..], &nonce[..], &sealed[..]].concat())
    }

    /// Opens what was sealed for the row that `row` identifies.
    pub(crate) fn open(&self, row: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let unreadable = |why: &str| StoreError::Unreadable(format!("{row}: {why}"));
        let (id, rest) = sealed
            .split_at_checked(KEY_ID_BYTES)
            .ok_or_else(|| unreadable("too short"))?;
        let (nonce, text) = rest
            .split_at_checked(NONCE_BYTES)
            .ok_or_else(|| unreadable("too short"))?;
        let nonce = <[u8; NONCE_BYTES]>::try_from(nonce).map_err(|_| unreadable("too short"))?;
        let mut known = std::iter::once(&self.current).chain(&self.earlier);
        let key = known
            .find(|key| key.id() == id)
            .ok_or_else(|| unreadable("sealed with an unknown master key"))?;
        let plain = key.cipher().decrypt(
            &XNonce::from(nonce),
            Payload {
                msg: text,
                aad: row.as_bytes(),
            },
        );
        plain
            .map(Zeroizing::new)
            .map_err(|_| unreadable("altered, or sealed for another row"))
    }
}

/// What seals new values inside a change, where the store itself cannot be reached: a change that held the store could
/// be the last to let it go, on the very thread that the store waits for when it closes.
pub(crate) struct Sealer {
    pub(crate) master: MasterKeys,
    pub(crate) chance: Arc<dyn Chance>,
}

impl Sealer {
    /// Seals `plain` for the row that `row` identifies.
    pub(crate) fn seal(&self, row: &str, plain: &[u8]) -> Result<Vec<u8>> {
        self.master.seal(row, plain, &*self.chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(std::sync::atomic::AtomicU8);
    impl Chance for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        }
    }

    #[test]
    fn a_sealed_value_opens_only_with_its_key_and_for_its_row() {
        let chance = Counting(0.into());
        let (old, new) = (MasterKey::new([1; 32]), MasterKey::new([2; 32]));
        let before = MasterKeys::new(old.clone(), vec![]);
        let sealed = before.seal("secret:1", b"whsec_x", &chance).unwrap();
        assert!(!sealed.windows(5).any(|part| part == b"whsec"));
        assert_eq!(&**before.open("secret:1", &sealed).unwrap(), b"whsec_x");
        assert!(before.open("secret:2", &sealed).is_err());
        assert!(
            MasterKeys::new(new.clone(), vec![])
                .open("secret:1", &sealed)
                .is_err()
        );
        assert!(MasterKeys::new(new, vec![old]).open("secret:1", &sealed).is_ok());
        for cut in 0..sealed.len() {
            assert!(before.open("secret:1", &sealed[..cut]).is_err());
        }
    }
}
