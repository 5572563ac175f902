//! Making an endpoint.

use super::secrets::{self, NewSecret};
use super::{EndpointError, EndpointWithHealth, check_uid_is_free, conclude, header_sets, rows};
use crate::Store;
use crate::change::{By, tick};
use crate::config::{EndpointConfig, Made};
use crate::error::Result;
use crate::once::{self, Done, Once};
use crate::ordering;
use crate::seal::Sealer;
use crate::tx::{Tx, values};
use stentor_domain::contract::Contract;
use stentor_domain::endpoint::{Endpoint, EndpointSettings, Status};
use stentor_domain::health::Health;
use stentor_domain::id::{EndpointId, ProjectId, TenantId};
use stentor_domain::limits::SHARDS;
use stentor_domain::secret::Secret;

/// An endpoint to be made.
#[derive(Clone, Debug)]
pub struct NewEndpoint {
    /// The contract that it is made through.
    pub through: Contract,
    /// Whose it will be.
    pub tenant: TenantId,
    /// What its owner sets.
    pub settings: EndpointSettings,
    /// Its first secret.
    pub secret: Secret,
    /// The most endpoints that the tenant may have, this one included.
    pub endpoints_max: u32,
}

/// The same, with all that the store has to draw beforehand.
pub(super) struct Prepared {
    new: NewEndpoint,
    id: EndpointId,
    header_set: i64,
    secret: NewSecret,
    sealer: Sealer,
}

pub(super) fn prepare(store: &Store, new: NewEndpoint) -> Prepared {
    let secret = NewSecret::new(store, new.secret.clone());
    Prepared {
        new,
        id: EndpointId(store.next_id()),
        header_set: store.next_id().n,
        secret,
        sealer: store.sealer(),
    }
}

pub(super) async fn create(
    tx: &mut Tx<'_>,
    by: By,
    prepared: Prepared,
    once: Option<Once<EndpointWithHealth>>,
) -> Result<Done<EndpointWithHealth>, EndpointError> {
    let Prepared {
        new,
        id,
        header_set,
        secret,
        sealer,
    } = prepared;
    let version = tick(tx).await?;
    if let Some(done) = once::before(tx, once.as_ref(), by.at).await? {
        return Ok(done);
    }
    check_room(tx, new.tenant, new.endpoints_max).await?;
    let drawn = draw_number(tx, new.tenant).await?;
    let Drawn {
        project,
        operational,
        number,
    } = drawn.ok_or(EndpointError::NoTenant)?;
    let endpoint = Endpoint {
        id,
        tenant: new.tenant,
        number,
        settings: new.settings,
        public_key: secret.public_key(),
        status: Status::Active,
        created_at: by.at,
        updated_at: by.at,
    };
    endpoint.check_signing(true)?;
    check_uid_is_free(tx, &endpoint).await?;
    let headers = &endpoint.settings.custom_headers;
    let config = EndpointConfig {
        header_set: header_sets::put(tx, header_set, id.n(), headers, &sealer).await?,
        endpoint,
        project,
        operational,
        shard: shard_of(id.n()),
        secrets: Vec::new(),
        version,
        made: Made::default(),
    };
    rows::insert(tx, &config, new.through).await?;
    secrets::insert(tx, id.n(), &secret, &sealer, by.at).await?;
    if config.endpoint.settings.ordered {
        ordering::begin(tx, id.n()).await?;
    }
    conclude(tx, &by, "endpoint.created", &config, None).await?;
    let made = EndpointWithHealth {
        endpoint: config.endpoint,
        health: Health::default(),
    };
    once::keep(tx, once, &made).await?;
    Ok(Done::Now(made))
}

/// Counts in the transaction that adds one, so that no crowd of requests gets past the bound.
async fn check_room(tx: &mut Tx<'_>, tenant: TenantId, endpoints_max: u32) -> Result<(), EndpointError> {
    let endpoints = tx
        .row(
            "SELECT count(*) FROM endpoints WHERE tenant = ?1 AND deleted_at IS NULL",
            values![tenant.n()],
            |row| row.int(0),
        )
        .await?;
    if endpoints.unwrap_or(0) >= i64::from(endpoints_max) {
        return Err(EndpointError::LimitReached(endpoints_max));
    }
    Ok(())
}

/// What a new endpoint gets of its tenant.
struct Drawn {
    project: ProjectId,
    operational: bool,
    /// Nobody gets it again.
    number: i64,
}

async fn draw_number(tx: &mut Tx<'_>, tenant: TenantId) -> Result<Option<Drawn>> {
    tx.row(
        "UPDATE tenants SET next_number = next_number + 1 WHERE n = ?1 AND tag = ?2 AND deleted_at IS NULL
         RETURNING project, (SELECT tag FROM projects WHERE n = tenants.project), next_number - 1,
                   kind = 'operational'",
        values![tenant.n(), tenant.0.tag],
        |row| {
            Ok(Drawn {
                project: ProjectId(row.id(0)?),
                number: row.int(2)?,
                operational: row.flag(3)?,
            })
        },
    )
    .await
}

/// The shard of the endpoint with this key, for good: the key's bits are mixed by Fibonacci hashing (Knuth, The Art of
/// Computer Programming, 6.4), since keys that were drawn one after the other differ little.
fn shard_of(n: i64) -> u16 {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = n.cast_unsigned().wrapping_mul(GOLDEN_RATIO) >> 32;
    u16::try_from(mixed % u64::from(SHARDS)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn shards_are_stable_and_keys_drawn_in_a_row_spread_over_them() {
        assert_eq!([shard_of(1), shard_of(1 << 50)], [shard_of(1), shard_of(1 << 50)]);
        let first = 1_704_067_200_000_i64 << 21;
        let in_a_row: HashSet<u16> = (0..2_560).map(|step| shard_of(first + (step << 8))).collect();
        assert!(in_a_row.len() > 240, "{}", in_a_row.len());
        assert!(in_a_row.iter().all(|shard| *shard < SHARDS));
    }
}
