//! Telling those who run Stentor: notices become events of the operational tenant of their project, and from there on deliveries
//! like any other. What a notice goes through, and what becomes of it if the process dies, is in `stentor_store::notices`.

use crate::Engine;
use crate::error::Result;
use crate::publish::{Checked, MATCH_ROUNDS_MAX, event_key};
use bytes::Bytes;
use serde::Serialize;
use stentor_domain::Timestamp;
use stentor_domain::attempt::ErrorClass;
use stentor_domain::channels::Channels;
use stentor_domain::endpoint::DisabledReason;
use stentor_domain::health;
use stentor_domain::limits::NOTICES_AT_ONCE;
use stentor_domain::notice::NoticeKind;
use stentor_store::StoreError;
use stentor_store::hot::{Accept, Accepted, NewEvent};
use stentor_store::notices::Notice;

impl Engine {
    /// Publishes the notices that wait longest. Tells how many rows that was.
    pub(super) async fn tell(&self) -> Result<usize> {
        let notices = self.store.next_notices(NOTICES_AT_ONCE).await?;
        if notices.is_empty() {
            return Ok(0);
        }
        self.publish_notices(&notices).await?;
        Ok(self.store.forget_notices(notices).await?)
    }

    async fn publish_notices(&self, notices: &[Notice]) -> Result<()> {
        for _ in 0..MATCH_ROUNDS_MAX {
            let mut events = Vec::with_capacity(notices.len());
            for notice in notices {
                events.extend(self.event_of(notice)?);
            }
            if events.is_empty() {
                return Ok(());
            }
            let accept = Accept {
                events,
                once: None,
                known: vec![],
            };
            // The rest is a configuration that has moved on: one event is never told in two ways.
            if let Accepted::Written { .. } = self.store.accept_events(accept).await? {
                return Ok(());
            }
        }
        Err(
            StoreError::Unavailable("the operational endpoints change too fast to match against".into())
                .into(),
        )
    }

    /// The event that tells of a notice; `None` where nobody would hear of it any more.
    fn event_of(&self, notice: &Notice) -> Result<Option<NewEvent>> {
        let config = self.store.config();
        let tenant = config.operational_tenant(notice.project);
        let Some(tenant) = tenant.filter(|_| config.wants_to_hear(notice.project, notice.kind)) else {
            return Ok(None);
        };
        // The notice's own key, and no payload: it may be spelled otherwise the second time, since an endpoint was renamed.
        let own = format!("{}.{}.{}", notice.delivery, notice.attempt, notice.kind.as_str());
        let event_id = event_key(tenant.id, &own, &[]);
        let told = serde_json::to_vec(&NoticeOut::from(notice));
        let payload = told.map_err(|error| StoreError::Unreadable(error.to_string()))?;
        Ok(Some(self.matched(&Checked {
            tenant,
            event_type: notice.kind.event_type(),
            channels: Channels::default(),
            payload: Bytes::from(payload),
            event_id: Some(event_id),
            occurred_at: Some(notice.at),
            // What failed is a webhook of this event: whoever publishes because of what is told goes on counting there.
            loops: notice.loops,
            trace: None,
        })))
    }
}

/// What a receiver is told. Documented in docs/operations.md; nothing of a URL, a payload or a secret is in it.
#[derive(Serialize)]
struct NoticeOut<'a> {
    r#type: &'static str,
    occurred_at: String,
    /// Why, in a word.
    reason: &'a str,
    /// Why, and what follows, in words.
    message: String,
    project: String,
    tenant: TenantOut<'a>,
    endpoint: EndpointOut<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<HealthOut>,
    attempt: AttemptOut,
    delivery: DeliveryOut<'a>,
}

#[derive(Serialize)]
struct TenantOut<'a> {
    id: String,
    uid: Option<&'a str>,
}

#[derive(Serialize)]
struct EndpointOut<'a> {
    id: String,
    uid: Option<&'a str>,
    name: &'a str,
}

/// The endpoint's health after the attempt.
#[derive(Serialize)]
struct HealthOut {
    consecutive_failures: u32,
    failing_since: Option<String>,
    next_probe_at: Option<String>,
}

/// The attempt that was the cause.
#[derive(Serialize)]
struct AttemptOut {
    number: u32,
    status_code: Option<u16>,
    error: Option<&'static str>,
}

/// Its delivery. An event that is not kept any more has neither id nor type.
#[derive(Serialize)]
struct DeliveryOut<'a> {
    id: String,
    event: Option<String>,
    event_type: Option<&'a str>,
}

impl<'a> From<&'a Notice> for NoticeOut<'a> {
    fn from(notice: &'a Notice) -> Self {
        let (reason, message) = why(notice);
        let event = notice.event.as_ref();
        Self {
            r#type: notice.kind.as_str(),
            occurred_at: notice.at.iso_millis(),
            reason,
            message,
            project: notice.project.to_string(),
            tenant: TenantOut {
                id: notice.tenant.to_string(),
                uid: notice.tenant_uid.as_deref(),
            },
            endpoint: EndpointOut {
                id: notice.endpoint.to_string(),
                uid: notice.endpoint_uid.as_deref(),
                name: &notice.endpoint_name,
            },
            health: notice.failures.map(|failures| HealthOut {
                consecutive_failures: failures,
                failing_since: notice.failing_since.map(Timestamp::iso_millis),
                next_probe_at: notice.next_probe_at.map(Timestamp::iso_millis),
            }),
            attempt: AttemptOut {
                number: notice.attempt,
                status_code: notice.outcome.status(),
                error: notice.outcome.error_class().map(ErrorClass::as_str),
            },
            delivery: DeliveryOut {
                id: notice.delivery.to_string(),
                event: event.map(|(id, _)| id.to_string()),
                event_type: event.map(|(_, name)| name.as_str()),
            },
        }
    }
}

/// Why, in a word and in words.
fn why(notice: &Notice) -> (&str, String) {
    let stored = notice.reason.as_deref().unwrap_or_default();
    match notice.kind {
        NoticeKind::Failing => {
            let failures = notice.failures.unwrap_or_default();
            (
                "failures_in_a_row",
                health::failing_in_words(failures, notice.outcome),
            )
        }
        NoticeKind::Recovered => {
            let words = "The receiver answers again. Deliveries are sent as before.";
            ("answers_again", words.to_owned())
        }
        NoticeKind::Disabled => {
            let reason = DisabledReason::parse(stored);
            (stored, reason.map_or("", DisabledReason::sentence).to_owned())
        }
        NoticeKind::Exhausted => {
            let (attempts, outcome) = (notice.attempt, notice.outcome.words());
            let words = format!(
                "Its schedule has come to its end: attempt {attempts}, the last, ended with {outcome}. It is not tried again \
                 unless somebody asks for that."
            );
            (stored, words)
        }
    }
}
