//! Changing an endpoint, its secrets, and deleting it.

use super::secrets::{self, NewSecret};
use super::{EndpointError, EndpointWithHealth, check_uid_is_free, conclude, header_sets, rows};
use crate::Store;
use crate::change::{By, tick};
use crate::error::Result;
use crate::health;
use crate::once::{self, Done, Once};
use crate::ordering;
use crate::seal::{MasterKeys, Sealer};
use crate::tx::{Tx, values};
use stentor_domain::Timestamp;
use stentor_domain::endpoint::{Endpoint, EndpointSettings, Status};
use stentor_domain::id::EndpointId;
use stentor_domain::name::Invalid;
use stentor_domain::secret::Secret;

/// What the store has to draw before a change.
pub(super) struct Prepared {
    id: EndpointId,
    header_set: i64,
    secret: Option<NewSecret>,
    sealer: Sealer,
}

/// What became of a change.
pub(super) struct Updated {
    pub(super) endpoint: EndpointWithHealth,
    pub(super) shard: u16,
    /// May something be sent to it now that might not before?
    pub(super) resumed: bool,
    /// Does what is known of its health say nothing any more?
    pub(super) forgiven: bool,
}

pub(super) fn prepare(store: &Store, id: EndpointId, secret: Option<Secret>) -> Prepared {
    Prepared {
        id,
        header_set: store.next_id().n,
        secret: secret.map(|secret| NewSecret::new(store, secret)),
        sealer: store.sealer(),
    }
}

pub(super) async fn update(
    tx: &mut Tx<'_>,
    by: By,
    prepared: Prepared,
    change: impl FnOnce(&mut EndpointSettings, &mut Status) -> Result<(), Invalid> + Send,
) -> Result<Updated, EndpointError> {
    let version = tick(tx).await?;
    let (id, sealer) = (prepared.id, &prepared.sealer);
    let stored = rows::find(tx, id, &sealer.master).await?;
    let mut stored = stored.ok_or(EndpointError::NotFound)?;
    let before = stored.config.endpoint.clone();
    let endpoint = &mut stored.config.endpoint;
    change(&mut endpoint.settings, &mut endpoint.status)?;
    if let Some(secret) = &prepared.secret {
        endpoint.public_key = secret.public_key();
    }
    endpoint.check_signing(prepared.secret.is_some())?;
    endpoint.updated_at = by.at;
    check_uid_is_free(tx, endpoint).await?;
    let headers = &endpoint.settings.custom_headers;
    if *headers != before.settings.custom_headers {
        let set = header_sets::put(tx, prepared.header_set, id.n(), headers, sealer).await?;
        stored.config.header_set = set;
    }
    stored.config.version = version;
    rows::write(tx, &stored.config).await?;
    if let Some(secret) = &prepared.secret {
        secrets::end_all(tx, id.n()).await?;
        secrets::insert(tx, id.n(), secret, sealer, by.at).await?;
    }
    let changed = changed_fields(&before, &stored.config.endpoint, prepared.secret.is_some());
    let ordered = stored.config.endpoint.settings.ordered;
    // Who publishes holds the order first, then the tenant.
    if before.settings.ordered && !ordered {
        ordering::end(tx, id.n()).await?;
    }
    conclude(tx, &by, "endpoint.updated", &stored.config, Some(&changed)).await?;
    // From here on nobody publishes to the tenant until this is committed: the backlog is all there is.
    if ordered && !before.settings.ordered {
        ordering::begin(tx, id.n()).await?;
        ordering::place_backlog(tx, stored.config.shard, id.n()).await??;
    }
    let after = &stored.config.endpoint;
    let switched_on = after.status.sends() && !before.status.sends();
    let forgiven = switched_on || after.settings.url != before.settings.url;
    if forgiven {
        health::forgive(tx, id.n()).await?;
        stored.health = stored.health.forgiven();
    }
    Ok(Updated {
        shard: stored.config.shard,
        resumed: switched_on || (before.settings.ordered && !ordered),
        forgiven,
        endpoint: stored.into(),
    })
}

pub(super) async fn rotate(
    tx: &mut Tx<'_>,
    by: By,
    (id, sealer): (EndpointId, &Sealer),
    (secret, ends_at): (NewSecret, Timestamp),
    once: Option<Once<()>>,
) -> Result<Done<()>, EndpointError> {
    let version = tick(tx).await?;
    if let Some(done) = once::before(tx, once.as_ref(), by.at).await? {
        return Ok(done);
    }
    let stored = rows::find(tx, id, &sealer.master).await?;
    let mut config = stored.ok_or(EndpointError::NotFound)?.config;
    config.endpoint.public_key = secret.public_key();
    config.endpoint.check_signing(true)?;
    secrets::end_later(tx, id.n(), by.at, ends_at).await?;
    secrets::insert(tx, id.n(), &secret, sealer, by.at).await?;
    config.version = version;
    config.endpoint.updated_at = by.at;
    rows::write(tx, &config).await?;
    conclude(tx, &by, "endpoint.secret_rotated", &config, None).await?;
    once::keep(tx, once, &()).await?;
    Ok(Done::Now(()))
}

/// Leaves a tombstone, for deliveries and attempts of before still name the endpoint; its secrets have no more use.
pub(super) async fn delete(
    tx: &mut Tx<'_>,
    by: By,
    id: EndpointId,
    master: &MasterKeys,
) -> Result<(), EndpointError> {
    let version = tick(tx).await?;
    let stored = rows::find(tx, id, master).await?;
    let mut config = stored.ok_or(EndpointError::NotFound)?.config;
    config.version = version;
    tx.execute_one(
        "UPDATE endpoints SET deleted_at = ?2, config_version = ?3 WHERE n = ?1",
        values![id.n(), by.at, version],
    )
    .await?;
    secrets::end_all(tx, id.n()).await?;
    Ok(conclude(tx, &by, "endpoint.deleted", &config, None).await?)
}

/// The names of what a change changed, never the values.
fn changed_fields(before: &Endpoint, after: &Endpoint, secret: bool) -> String {
    let (old, new) = (&before.settings, &after.settings);
    let fields = [
        ("name", old.name != new.name),
        ("url", old.url != new.url),
        ("secret", secret),
        ("headers_json", old.custom_headers != new.custom_headers),
        ("timeout_seconds", old.timeout_seconds != new.timeout_seconds),
        ("status", before.status != after.status),
        ("uid", old.uid != new.uid),
        ("description", old.description != new.description),
        ("events", old.subscription.types != new.subscription.types),
        ("channels", old.subscription.channels != new.subscription.channels),
        ("filter", old.filter != new.filter),
        ("metadata", old.metadata != new.metadata),
        ("retry_schedule", old.schedule != new.schedule),
        ("retry_anchor", old.anchor != new.anchor),
        ("header_styles", old.header_styles != new.header_styles),
        ("payload_format", old.payload_format != new.payload_format),
        ("max_in_flight", old.max_in_flight != new.max_in_flight),
        ("rate_limit", old.rate_limit != new.rate_limit),
        ("ordered", old.ordered != new.ordered),
    ];
    let changed: Vec<&str> = fields
        .iter()
        .filter(|(_, changed)| *changed)
        .map(|(name, _)| *name)
        .collect();
    changed.join(" ")
}
