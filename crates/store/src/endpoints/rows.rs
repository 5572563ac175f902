//! Rows of `endpoints`, read and written.

use super::header_sets;
use crate::channels::{channels_text, read_channels};
use crate::config::{EndpointConfig, Made};
use crate::error::{Result, StoreError};
use crate::health;
use crate::seal::MasterKeys;
use crate::tx::{Row, Tx, values};
use std::fmt::Display;
use stentor_domain::contract::Contract;
use stentor_domain::custom_headers::CustomHeaders;
use stentor_domain::endpoint::{DisabledReason, Endpoint, EndpointSettings, Status};
use stentor_domain::endpoint_url::EndpointUrl;
use stentor_domain::header_styles::HeaderStyles;
use stentor_domain::health::Health;
use stentor_domain::id::{EndpointId, Id, ProjectId, TenantId};
use stentor_domain::payload_format::PayloadFormat;
use stentor_domain::schedule::{Anchor, Schedule};
use stentor_domain::subscription::{Subscription, Types};

/// An endpoint as it is stored, but for its secrets.
pub(super) struct Stored {
    /// The endpoint with what sending needs; its list of secrets is empty.
    pub(super) config: EndpointConfig,
    /// Was it deleted?
    pub(super) deleted: bool,
    pub(super) health: Health,
}

/// Where the columns of its health begin.
const HEALTH: usize = 35;

/// A question about endpoints `e` of tenants `t`, whose rows [`read`] reads. Of an endpoint's secrets the newest alone has no
/// end.
macro_rules! endpoints {
    ($rest:literal) => {
        concat!(
            "SELECT e.n, e.tag, e.tenant, t.tag, e.project, p.tag, e.number, e.created_at, e.updated_at,
                    e.shard, e.header_set, e.config_version, e.deleted_at, s.public_key,
                    e.status, e.paused_at, e.disabled_reason, e.uid, e.name, e.description, e.url, e.events,
                    h.sealed, e.timeout_seconds, e.retry_schedule, e.retry_anchor, e.max_in_flight, e.metadata,
                    e.header_styles, e.payload_format, e.channels, e.filter, e.rate_limit, e.ordered,
                    t.kind = 'operational', ",
            health::columns!(),
            "
             FROM endpoints e
             JOIN tenants t ON t.n = e.tenant
             JOIN projects p ON p.n = e.project
             LEFT JOIN secrets s ON s.endpoint = e.n AND s.expires_at IS NULL
             LEFT JOIN header_sets h ON h.n = e.header_set
             LEFT JOIN endpoint_health o ON o.endpoint = e.n
             WHERE t.deleted_at IS NULL AND ",
            $rest
        )
    };
}

pub(super) async fn find(tx: &mut Tx<'_>, id: EndpointId, master: &MasterKeys) -> Result<Option<Stored>> {
    tx.row(
        endpoints!("e.n = ?1 AND e.tag = ?2 AND e.deleted_at IS NULL"),
        values![id.n(), id.0.tag],
        |row| read(row, master),
    )
    .await
}

pub(super) async fn of_tenant(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    before: Option<i64>,
    limit: u32,
    master: &MasterKeys,
) -> Result<Vec<Stored>> {
    tx.rows(
        endpoints!("e.tenant = ?1 AND e.n < ?2 AND e.deleted_at IS NULL ORDER BY e.n DESC LIMIT ?3"),
        values![tenant.n(), before.unwrap_or(i64::MAX), limit],
        |row| read(row, master),
    )
    .await
}

/// What changed since `since`, oldest first. Who knows nothing yet need not hear of the deleted.
pub(super) async fn changed(tx: &mut Tx<'_>, since: i64, master: &MasterKeys) -> Result<Vec<Stored>> {
    tx.rows(
        endpoints!("e.config_version > ?1 AND (?1 > 0 OR e.deleted_at IS NULL) ORDER BY e.n"),
        values![since],
        |row| read(row, master),
    )
    .await
}

/// Makes the row with what never changes; the rest is written as it is after every change, so that there is one list of
/// it.
pub(super) async fn insert(tx: &mut Tx<'_>, config: &EndpointConfig, through: Contract) -> Result<()> {
    let endpoint = &config.endpoint;
    tx.execute_one(
        "INSERT INTO endpoints (n, tag, tenant, project, number, shard, created_at, updated_at, config_version,
                                contract, name, url, events, timeout_seconds, retry_schedule)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9, '', '', '', 0, '')",
        values![
            endpoint.id.n(),
            endpoint.id.0.tag,
            endpoint.tenant.n(),
            config.project.n(),
            endpoint.number,
            i64::from(config.shard),
            endpoint.created_at,
            config.version,
            through.as_str(),
        ],
    )
    .await?;
    write(tx, config).await
}

/// Writes all that can change of an endpoint.
pub(super) async fn write(tx: &mut Tx<'_>, config: &EndpointConfig) -> Result<()> {
    let endpoint = &config.endpoint;
    let settings = &endpoint.settings;
    let (status, paused_at, disabled_reason) = match endpoint.status {
        Status::Active => ("active", None, None),
        Status::Paused { at } => ("paused", Some(at), None),
        Status::Disabled(reason) => ("disabled", None, Some(reason.as_str())),
    };
    let events = settings.subscription.types.texts().join("\n");
    tx.execute_one(
        "UPDATE endpoints SET uid = ?2, name = ?3, description = ?4, url = ?5, events = ?6, metadata = ?7,
                header_set = ?8, timeout_seconds = ?9, retry_schedule = ?10, retry_anchor = ?11, max_in_flight = ?12,
                status = ?13, paused_at = ?14, disabled_reason = ?15, updated_at = ?16, config_version = ?17,
                header_styles = ?18, payload_format = ?19, channels = ?20, filter = ?21, rate_limit = ?22, ordered = ?23
         WHERE n = ?1",
        values![
            endpoint.id.n(),
            settings.uid.as_deref(),
            settings.name.as_str(),
            settings.description.as_deref(),
            settings.url.text(),
            events.as_str(),
            settings.metadata.as_deref(),
            config.header_set,
            i64::from(settings.timeout_seconds),
            waits_text(&settings.schedule).as_str(),
            settings.anchor.as_str(),
            settings.max_in_flight.map(i64::from),
            status,
            paused_at,
            disabled_reason,
            endpoint.updated_at,
            config.version,
            settings.header_styles.words().join(",").as_str(),
            settings.payload_format.as_str(),
            channels_text(&settings.subscription.channels).as_deref(),
            settings.filter.as_deref(),
            settings.rate_limit.map(i64::from),
            settings.ordered,
        ],
    )
    .await
}

fn read(row: &Row<'_>, master: &MasterKeys) -> Result<Stored> {
    let id = |at: usize| -> Result<Id> {
        Ok(Id {
            n: row.int(at)?,
            tag: row.int(at + 1)?,
        })
    };
    let header_set = row.int_or_null(10)?;
    let custom_headers = match (header_set, row.bytes_or_null(22)?) {
        (None, _) => CustomHeaders::default(),
        (Some(n), Some(sealed)) => header_sets::open(n, &sealed, master)?,
        (Some(n), None) => return Err(unreadable(format!("header set {n} is missing"))),
    };
    let endpoint = Endpoint {
        id: EndpointId(id(0)?),
        tenant: TenantId(id(2)?),
        number: row.int(6)?,
        settings: read_settings(row, custom_headers)?,
        public_key: row.text_or_null(13)?,
        status: read_status(row)?,
        created_at: row.time(7)?,
        updated_at: row.time(8)?,
    };
    Ok(Stored {
        config: EndpointConfig {
            endpoint,
            project: ProjectId(id(4)?),
            operational: row.flag(34)?,
            shard: small(row.int(9)?)?,
            secrets: Vec::new(),
            header_set,
            version: row.int(11)?,
            made: Made::default(),
        },
        deleted: row.int_or_null(12)?.is_some(),
        health: health::read(row, HEALTH)?,
    })
}

fn read_status(row: &Row<'_>) -> Result<Status> {
    let word = row.text(14)?;
    match (word.as_str(), row.time_or_null(15)?) {
        ("active", _) => Ok(Status::Active),
        ("paused", Some(at)) => Ok(Status::Paused { at }),
        ("disabled", _) => Ok(Status::Disabled(row.word(16, DisabledReason::parse)?)),
        _ => Err(unreadable(format!("{word:?} is not a status"))),
    }
}

fn read_settings(row: &Row<'_>, custom_headers: CustomHeaders) -> Result<EndpointSettings> {
    let events = row.text(21)?;
    let events: Vec<&str> = events.lines().collect();
    let styles = row.text(28)?;
    let styles: Vec<&str> = styles.split(',').collect();
    let subscription = Subscription {
        types: Types::parse(&events).map_err(|(_, rule)| unreadable(rule))?,
        channels: read_channels(row.text_or_null(30)?.as_deref())?,
    };
    Ok(EndpointSettings {
        uid: row.text_or_null(17)?,
        name: row.text(18)?,
        description: row.text_or_null(19)?,
        url: EndpointUrl::stored(&row.text(20)?).map_err(unreadable)?,
        subscription,
        filter: row.text_or_null(31)?,
        custom_headers,
        timeout_seconds: small(row.int(23)?)?,
        schedule: read_schedule(&row.text(24)?)?,
        anchor: row.word(25, Anchor::parse)?,
        header_styles: HeaderStyles::parse(&styles).map_err(|(_, rule)| unreadable(rule))?,
        payload_format: row.word(29, |word| PayloadFormat::parse(word).ok())?,
        max_in_flight: row.int_or_null(26)?.map(small).transpose()?,
        rate_limit: row.int_or_null(32)?.map(small).transpose()?,
        ordered: row.flag(33)?,
        metadata: row.text_or_null(27)?,
    })
}

/// The waits in seconds, separated by commas; no text is no wait.
fn waits_text(schedule: &Schedule) -> String {
    let waits: Vec<String> = schedule.waits().iter().map(u32::to_string).collect();
    waits.join(",")
}

fn read_schedule(text: &str) -> Result<Schedule> {
    let waits = text.split(',').filter(|wait| !wait.is_empty());
    let waits = waits
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    Schedule::new(waits).map_err(|(_, rule)| unreadable(rule))
}

fn small(number: i64) -> Result<u16> {
    u16::try_from(number).map_err(unreadable)
}

fn unreadable(why: impl Display) -> StoreError {
    StoreError::Unreadable(format!("an endpoint: {why}"))
}
