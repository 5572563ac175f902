//! What people see in a story: deliveries with their attempts, as the API would show them.

use super::World;
use stentor_domain::Timestamp;
use stentor_domain::attempt::{Attempt, Outcome};
use stentor_domain::delivery::Delivery;
use stentor_domain::id::{EndpointId, EventId};
use stentor_domain::stats::{Counts, Hour};
use stentor_store::deliveries::DeliveryFilter;
use stentor_store::endpoints::EndpointWithHealth;
use stentor_store::hot::Accept;
use stentor_store::stats::StatsOf;

/// More deliveries than a story's event has.
const DELIVERIES_MAX: u32 = 10_000;
/// Looks into the database after which something that is about to be written should be there.
const LOOKS_MAX: usize = 1_000;

impl World {
    /// The deliveries of an event, newest first.
    pub async fn deliveries(&self, event: EventId) -> Vec<Delivery> {
        let filter = DeliveryFilter {
            event: Some(event),
            ..DeliveryFilter::default()
        };
        let page = self
            .engine
            .list_deliveries(&self.root, filter, None, DELIVERIES_MAX)
            .await;
        page.expect("deliveries are listed").items
    }

    /// The only delivery of an event.
    pub async fn delivery(&self, event: EventId) -> Delivery {
        let [delivery] = self.deliveries(event).await.try_into().expect("one delivery");
        delivery
    }

    /// What an event's payload is, as text; or why there is none any more.
    pub async fn payload(&self, event: EventId) -> Result<String, &'static str> {
        let found = self.engine.get_event(&self.root, &event.to_string()).await;
        let (event, payload) = found.expect("the event is read");
        match (event.payload_gone, payload) {
            (None, Some(payload)) => Ok(String::from_utf8_lossy(&payload).into_owned()),
            (Some(gone), None) => Err(gone.as_str()),
            other => panic!("a payload is there or gone: {other:?}"),
        }
    }

    /// What was counted so far of the deliveries of an endpoint.
    pub async fn stats(&self, endpoint: EndpointId) -> Counts {
        self.stats_of(StatsOf::Endpoint(endpoint)).await
    }

    /// What was counted so far of an endpoint or a tenant.
    pub async fn stats_of(&self, of: StatsOf) -> Counts {
        let hours = self.store.stats(of, Hour(0)..Hour(u32::MAX)).await;
        let mut all = Counts::default();
        for counts in hours.expect("statistics are read").values() {
            all.add(counts);
        }
        all
    }

    /// The attempts of the only delivery of an event.
    pub async fn attempts(&self, event: EventId) -> Vec<Attempt> {
        let id = self.delivery(event).await.id.to_string();
        let (_, attempts) = self
            .engine
            .get_delivery(&self.root, &id)
            .await
            .expect("the delivery is read");
        attempts.into_iter().map(|kept| kept.attempt).collect()
    }

    /// The story of an event's only delivery, a line for each attempt (number, why it was made, what came of it), and one
    /// for where it is now.
    pub async fn timeline(&self, event: EventId) -> Vec<String> {
        let mut lines: Vec<String> = self.attempts(event).await.iter().map(line).collect();
        let delivery = self.delivery(event).await;
        let state = delivery.state.as_str();
        lines.push(match delivery.reason {
            Some(reason) => format!("{state}: {}", reason.as_str()),
            None => state.into(),
        });
        lines
    }

    /// An endpoint as its owner sees it.
    pub async fn found(&self, endpoint: EndpointId) -> EndpointWithHealth {
        let found = self.engine.get_endpoint(&self.root, endpoint).await;
        found.expect("the endpoint is there")
    }

    /// Deliveries that wait or are in flight, in the table itself.
    pub fn unfinished(&self) -> i64 {
        self.number("SELECT count(*) FROM work")
    }

    /// Waits for the delivery that somebody else is about to write, until it is handed over too.
    pub async fn until_something_is_unfinished(&self) {
        let mut looks = 0;
        while self.unfinished() == 0 {
            looks += 1;
            assert!(looks < LOOKS_MAX, "nothing is written");
            self.accept_nothing().await;
        }
        // The row is there for everybody a moment before it is handed over, which is done before the next is answered.
        self.accept_nothing().await;
    }

    async fn accept_nothing(&self) {
        let nothing = Accept {
            events: vec![],
            once: None,
            known: vec![],
        };
        let accepted = self.store.accept_events(nothing).await;
        accepted.expect("the store answers");
    }

    /// Answers a question about the database in one number.
    pub fn number(&self, question: &str) -> i64 {
        self.database().number(question)
    }

    /// When each attempt of an event's only delivery started.
    pub async fn attempted_at(&self, event: EventId) -> Vec<Timestamp> {
        let attempts = self.attempts(event).await;
        attempts.iter().map(|attempt| attempt.started_at).collect()
    }
}

fn line(attempt: &Attempt) -> String {
    let outcome = match attempt.outcome {
        Outcome::Answered(status) => status.to_string(),
        Outcome::Failed(class) => class.as_str().to_owned(),
        Outcome::Simulated => "simulated".to_owned(),
    };
    format!("{} {} {outcome}", attempt.no, attempt.trigger.as_str())
}
