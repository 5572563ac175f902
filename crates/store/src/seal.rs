//! Sealing: what must not be read from the disk is encrypted before it first touches it.
//!
//! XChaCha20-Poly1305 with a random nonce. A sealed value is `key id (8) | nonce (24) | ciphertext`; the row's identity is
//! the associated data, so that a sealed value cannot be moved to another row. Several master keys may be known, so that
//! they can be rotated while the server runs (see `master_keys`): all open, and the database says which one seals.

use crate::error::{Result, StoreError};
use crate::master_keys;
use crate::tx::Tx;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use stentor_domain::Chance;
use zeroize::Zeroizing;

const KEY_ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;

/// Names a master key without telling it: the first bytes of its hash. Shown as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MasterKeyId(i64);

impl MasterKeyId {
    /// As a number in the database.
    pub(crate) fn number(self) -> i64 {
        self.0
    }

    /// Of its number in the database.
    pub(crate) fn of_number(number: i64) -> Self {
        Self(number)
    }

    /// Of the key that a value was sealed with.
    pub(crate) fn of_sealed(sealed: &[u8]) -> Option<Self> {
        let (id, _) = sealed.split_first_chunk::<KEY_ID_BYTES>()?;
        Some(Self(i64::from_be_bytes(*id)))
    }
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One master key: 32 random bytes.
#[derive(Clone)]
pub struct MasterKey {
    bytes: Zeroizing<[u8; 32]>,
    id: MasterKeyId,
}

impl MasterKey {
    /// Takes the bytes of a key.
    pub fn new(bytes: [u8; 32]) -> Self {
        let bytes = Zeroizing::new(bytes);
        let mut id = [0; KEY_ID_BYTES];
        id.iter_mut()
            .zip(Sha256::digest(bytes.as_slice()))
            .for_each(|(to, from)| *to = from);
        Self {
            bytes,
            id: MasterKeyId(i64::from_be_bytes(id)),
        }
    }

    /// Its name.
    pub fn id(&self) -> MasterKeyId {
        self.id
    }

    /// Its bytes, from which others are derived.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.bytes).into())
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(***)")
    }
}

/// The master keys that a server knows. All open; the first is the one that shall seal. Every clone is the same keys, so
/// that what a rotation adds or takes away is known everywhere at once.
#[derive(Clone)]
pub struct MasterKeys(Arc<RwLock<Vec<MasterKey>>>);

impl MasterKeys {
    /// `current` shall seal; `earlier` ones open what they once sealed.
    pub fn new(current: MasterKey, earlier: Vec<MasterKey>) -> Self {
        let mut keys = vec![current];
        keys.extend(earlier);
        Self(Arc::new(RwLock::new(keys)))
    }

    /// The keys' names, the one that shall seal first.
    pub fn ids(&self) -> Vec<MasterKeyId> {
        self.0.read().iter().map(MasterKey::id).collect()
    }

    /// The keys, the one that shall seal first.
    pub(crate) fn all(&self) -> Vec<MasterKey> {
        self.0.read().clone()
    }

    /// Knows `others`, too, behind those that are known already.
    pub(crate) fn learn(&self, others: &Self) {
        let others = others.all();
        let mut keys = self.0.write();
        for other in others {
            if keys.iter().all(|key| key.id != other.id) {
                keys.push(other);
            }
        }
    }

    /// Knows `others` from now on, and no others.
    pub(crate) fn become_like(&self, others: &Self) {
        let others = others.all();
        *self.0.write() = others;
    }

    fn known(&self, id: MasterKeyId) -> Option<MasterKey> {
        self.0.read().iter().find(|key| key.id == id).cloned()
    }

    /// Seals `plain` with the key `with`, for the row that `row` identifies.
    pub(crate) fn seal(
        &self,
        with: MasterKeyId,
        row: &str,
        plain: &[u8],
        chance: &dyn Chance,
    ) -> Result<Vec<u8>> {
        let key = self.known(with).ok_or_else(|| {
            StoreError::Unavailable(format!(
                "master key {with} seals, and this process does not know it"
            ))
        })?;
        let mut nonce = [0; NONCE_BYTES];
        chance.fill(&mut nonce);
        let sealed = key
            .cipher()
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: plain,
                    aad: row.as_bytes(),
                },
            )
            .map_err(|_| StoreError::Unreadable("the value is too large to seal".into()))?;
        Ok([&key.id.0.to_be_bytes()[..], &nonce[..], &sealed[..]].concat())
    }

    /// Opens what was sealed for the row that `row` identifies.
    pub(crate) fn open(&self, row: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let unreadable = |why: &str| StoreError::Unreadable(format!("{row}: {why}"));
        let id = MasterKeyId::of_sealed(sealed).ok_or_else(|| unreadable("too short"))?;
        let (nonce, text) = sealed
            .get(KEY_ID_BYTES..)
            .and_then(|rest| rest.split_first_chunk::<NONCE_BYTES>())
            .ok_or_else(|| unreadable("too short"))?;
        let key = self
            .known(id)
            .ok_or_else(|| unreadable(&format!("sealed with master key {id}, which is not known")))?;
        let plain = key.cipher().decrypt(
            &XNonce::from(*nonce),
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

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKeys(***)")
    }
}

/// A sealed value, and the key that it was sealed with.
pub(crate) struct Sealed {
    pub(crate) master_key: MasterKeyId,
    pub(crate) bytes: Vec<u8>,
}

/// What seals new values inside a change, where the store itself cannot be reached: a change that held the store could
/// be the last to let it go, on the very thread that the store waits for when it closes.
pub(crate) struct Sealer {
    pub(crate) master: MasterKeys,
    pub(crate) chance: Arc<dyn Chance>,
}

impl Sealer {
    /// Seals `plain` for the row that `row` identifies, with the key that seals as of this transaction. That is a change
    /// which has raised the configuration's clock: a rotation waits until it is committed, or it sees the rotation.
    pub(crate) async fn seal(&self, tx: &mut Tx<'_>, row: &str, plain: &[u8]) -> Result<Sealed> {
        let with = master_keys::sealing(tx).await?;
        Ok(Sealed {
            master_key: with,
            bytes: self.master.seal(with, row, plain, &*self.chance)?,
        })
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
        let sealed = before.seal(old.id(), "secret:1", b"whsec_x", &chance).unwrap();
        assert_eq!(MasterKeyId::of_sealed(&sealed), Some(old.id()));
        assert!(before.seal(new.id(), "secret:1", b"whsec_x", &chance).is_err());
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

    #[test]
    fn every_clone_knows_what_one_of_them_learns_and_forgets() {
        let (old, new) = (MasterKey::new([1; 32]), MasterKey::new([2; 32]));
        let keys = MasterKeys::new(old.clone(), vec![]);
        let everywhere = keys.clone();
        let both = MasterKeys::new(new.clone(), vec![old.clone()]);
        keys.learn(&both);
        assert_eq!(everywhere.ids(), [old.id(), new.id()]);
        keys.become_like(&both);
        assert_eq!(everywhere.ids(), [new.id(), old.id()]);
        keys.become_like(&MasterKeys::new(new.clone(), vec![]));
        assert_eq!(everywhere.ids(), [new.id()]);
        assert_eq!(format!("{keys:?} {new:?}"), "MasterKeys(***) MasterKey(***)");
    }
}
