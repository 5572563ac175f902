//! Signing secrets, sealed. An endpoint has several during a rotation; what has ended is not kept.

use crate::Store;
use crate::error::{Result, StoreError};
use crate::seal::{MasterKeys, Sealer};
use crate::tx::{Tx, values};
use std::collections::HashMap;
use stentor_domain::Timestamp;
use stentor_domain::limits::SECRETS_VALID_MAX;
use stentor_domain::secret::{Secret, SigningSecret};

/// A new secret, with the key of its row.
pub(super) struct NewSecret {
    n: i64,
    secret: Secret,
}

impl NewSecret {
    pub(super) fn new(store: &Store, secret: Secret) -> Self {
        Self {
            n: store.next_id().n,
            secret,
        }
    }

    pub(super) fn public_key(&self) -> Option<String> {
        self.secret.public_key()
    }
}

pub(super) async fn insert(
    tx: &mut Tx<'_>,
    endpoint: i64,
    new: &NewSecret,
    sealer: &Sealer,
    at: Timestamp,
) -> Result<()> {
    let plain = new.secret.expose().as_bytes();
    let sealed = sealer.seal(tx, &identity(new.n), plain).await?;
    tx.execute_one(
        "INSERT INTO secrets (n, endpoint, public_key, master_key, sealed, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        values![
            new.n,
            endpoint,
            new.public_key().as_deref(),
            sealed.master_key.number(),
            &sealed.bytes[..],
            at
        ],
    )
    .await
}

/// Ends all secrets of an endpoint.
pub(super) async fn end_all(tx: &mut Tx<'_>, endpoint: i64) -> Result<()> {
    tx.execute("DELETE FROM secrets WHERE endpoint = ?1", values![endpoint])
        .await?;
    Ok(())
}

/// Lets the secrets of an endpoint end at `ends_at`, but for those that end before it anyway, and makes room for one
/// more: those that ended by `now` go, and the oldest beyond the bound.
pub(super) async fn end_later(
    tx: &mut Tx<'_>,
    endpoint: i64,
    now: Timestamp,
    ends_at: Timestamp,
) -> Result<()> {
    tx.execute(
        "UPDATE secrets SET expires_at = ?2 WHERE endpoint = ?1 AND (expires_at IS NULL OR expires_at > ?2)",
        values![endpoint, ends_at],
    )
    .await?;
    let kept_most = i64::try_from(SECRETS_VALID_MAX - 1).unwrap_or(i64::MAX);
    tx.execute(
        "DELETE FROM secrets WHERE endpoint = ?1 AND (expires_at <= ?2 OR n NOT IN
             (SELECT n FROM secrets WHERE endpoint = ?1 AND expires_at > ?2 ORDER BY created_at DESC, n DESC LIMIT ?3))",
        values![endpoint, now, kept_most],
    )
    .await?;
    Ok(())
}

/// The secrets, newest first, of endpoints that changed since the configuration was at `since`.
pub(super) async fn changed(
    tx: &mut Tx<'_>,
    since: i64,
    master: &MasterKeys,
) -> Result<HashMap<i64, Vec<SigningSecret>>> {
    // The one that does not end is the newest, whatever the clock said when it was drawn.
    let rows = tx
        .rows(
            "SELECT s.endpoint, s.n, s.sealed, s.created_at, s.expires_at
             FROM endpoints e JOIN secrets s ON s.endpoint = e.n
             WHERE e.config_version > ?1 AND e.deleted_at IS NULL
             ORDER BY s.endpoint, CASE WHEN s.expires_at IS NULL THEN 0 ELSE 1 END, s.created_at DESC, s.n DESC",
            values![since],
            |row| {
                let secret = SigningSecret {
                    secret: open(row.int(1)?, &row.bytes(2)?, master)?,
                    created_at: row.time(3)?,
                    expires_at: row.time_or_null(4)?,
                };
                Ok((row.int(0)?, secret))
            },
        )
        .await?;
    let mut by_endpoint: HashMap<i64, Vec<SigningSecret>> = HashMap::new();
    for (endpoint, secret) in rows {
        by_endpoint.entry(endpoint).or_default().push(secret);
    }
    Ok(by_endpoint)
}

fn open(n: i64, sealed: &[u8], master: &MasterKeys) -> Result<Secret> {
    let unreadable = || StoreError::Unreadable(format!("{} is not a secret", identity(n)));
    let plain = master.open(&identity(n), sealed)?;
    let text = std::str::from_utf8(&plain).map_err(|_| unreadable())?;
    Secret::parse(text).map_err(|_| unreadable())
}

/// What binds a sealed secret to its row.
pub(crate) fn identity(n: i64) -> String {
    format!("secret:{n}")
}
