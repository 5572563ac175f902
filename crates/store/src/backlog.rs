//! How far sending is behind, for the operator: asked of the database when somebody wants to know, by index steps.

use crate::Store;
use crate::error::Result;
use crate::tx::values;
use std::time::Duration;
use stentor_domain::Timestamp;
use stentor_domain::id::Id;

/// Endpoints with something waiting that are looked at.
const ENDPOINTS_MAX: usize = 10_000;

/// How far sending is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// For how long the oldest delivery has been due that waits in the store for an endpoint that is asked as its limits say;
    /// zero where none is.
    pub oldest_due: Duration,
    /// The age of the oldest delivery that has not ended, whatever it waits for; zero where none is.
    pub oldest_unfinished: Duration,
    /// Endpoints that are not asked for a while, since they failed or asked for a pause.
    pub parked: usize,
}

impl Store {
    /// How far sending is behind at `now`.
    pub async fn backlog(&self, now: Timestamp) -> Result<Backlog> {
        let oldest = self.ask(|tx| {
            Box::pin(async move {
                let least = "SELECT n FROM work ORDER BY n LIMIT 1";
                tx.row(least, values![], |row| row.int(0)).await
            })
        });
        let oldest = oldest.await?.map(|n| now.since(Id { n, tag: 0 }.made_at()));
        let waiting = self.waiting_endpoints((0, i64::MIN), ENDPOINTS_MAX).await?;
        let sent_to = |endpoint: i64| {
            let configured = self.config().endpoint(endpoint);
            configured.is_some_and(|known| known.endpoint.status.sends())
                && self.known(endpoint).health.next_probe_at().is_none()
        };
        let due = waiting.iter().filter(|one| sent_to(one.endpoint));
        Ok(Backlog {
            oldest_due: due.map(|one| now.since(one.due_at)).max().unwrap_or_default(),
            oldest_unfinished: oldest.unwrap_or_default(),
            parked: self.0.common.healths.parked(),
        })
    }
}
