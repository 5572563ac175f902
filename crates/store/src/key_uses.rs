//! When keys were last used: noted in memory by every request, written now and then for all keys together, so that no
//! request pays for a write. A crash loses what was not written yet, and nothing but `last_used_at` depends on it.

use crate::Store;
use crate::error::Result;
use crate::tx::{Tx, values};
use parking_lot::Mutex;
use std::collections::HashMap;
use stentor_domain::Timestamp;
use stentor_domain::id::KeyId;

/// Keys written in one transaction, which publishes wait for.
const KEYS_PER_CHANGE_MAX: usize = 500;
const MINUTE_SECONDS: i64 = 60;

/// Uses that are not written yet, by key. There are at most as many as there are keys.
#[derive(Debug, Default)]
pub(crate) struct KeyUses(Mutex<HashMap<i64, Timestamp>>);

impl KeyUses {
    fn note(&self, key: i64, minute: Timestamp) {
        let mut noted = self.0.lock();
        let last = noted.entry(key).or_insert(minute);
        *last = minute.max(*last);
    }

    /// Takes some of them, at most [`KEYS_PER_CHANGE_MAX`].
    fn take(&self) -> Vec<(i64, Timestamp)> {
        let mut noted = self.0.lock();
        let keys: Vec<i64> = noted.keys().take(KEYS_PER_CHANGE_MAX).copied().collect();
        keys.into_iter()
            .filter_map(|key| noted.remove_entry(&key))
            .collect()
    }
}

impl Store {
    /// Notes that a key was used, to the minute. Writes nothing: see [`Store::write_key_uses`].
    pub fn note_key_use(&self, key: KeyId, at: Timestamp) {
        let minute = at.seconds().div_euclid(MINUTE_SECONDS) * MINUTE_SECONDS;
        self.0
            .common
            .key_uses
            .note(key.n(), Timestamp::from_seconds(minute));
    }

    /// Writes some of the uses noted so far, in one small transaction, and tells how many keys they were of; zero is
    /// the end of the round. A background loop calls this about once a minute, and a stop before the store is closed.
    pub async fn write_key_uses(&self) -> Result<usize> {
        let uses = self.0.common.key_uses.take();
        if uses.is_empty() {
            return Ok(0);
        }
        let count = uses.len();
        let kept = uses.clone();
        let written = self.change(move |tx| Box::pin(write(tx, uses))).await;
        if written.is_err() {
            // The next round tries again.
            kept.into_iter()
                .for_each(|(key, minute)| self.0.common.key_uses.note(key, minute));
        }
        written.map(|()| count)
    }
}

/// Leaves the configuration's clock alone, as no other change does: nothing that matching or sending reads changes.
async fn write(tx: &mut Tx<'_>, uses: Vec<(i64, Timestamp)>) -> Result<()> {
    for (key, minute) in uses {
        tx.execute(
            "UPDATE api_keys SET last_used_at = ?1 WHERE n = ?2 AND (last_used_at IS NULL OR last_used_at < ?1)",
            values![minute, key],
        )
        .await?;
    }
    Ok(())
}
