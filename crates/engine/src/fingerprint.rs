//! Short hashes that tell requests and keys of producers apart.

use sha2::{Digest, Sha256};

/// Bytes of a fingerprint: enough that two different texts never meet by accident.
const BYTES: usize = 16;

/// The first bytes of the SHA-256 of the parts, one after the other.
pub fn of(parts: &[&[u8]]) -> [u8; BYTES] {
    let mut digest = Sha256::new();
    parts.iter().for_each(|part| digest.update(part));
    let mut short = [0; BYTES];
    short
        .iter_mut()
        .zip(digest.finalize())
        .for_each(|(to, from)| *to = from);
    short
}
