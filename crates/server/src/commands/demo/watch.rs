//! Watches the deliveries through the server's own API, as a dashboard would, and tells each attempt once.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::{Api, text};
use crate::failure::Failure;

/// The newest that are looked at each time: the longest page.
const LIST: &str = "/v1/deliveries?limit=250";
/// What an attempt is called that brought neither status nor error.
const UNKNOWN: &str = "unknown";

/// A delivery as the API shows it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Delivery {
    pub(super) id: String,
    /// The event's id, which the receiver sees.
    pub(super) event: String,
    pub(super) event_type: String,
    pub(super) endpoint: String,
    pub(super) status: String,
    pub(super) reason: Option<String>,
    pub(super) next_attempt_at: Option<String>,
    /// Not in lists.
    #[serde(default)]
    pub(super) attempts: Vec<Attempt>,
}

/// An attempt as the API shows it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Attempt {
    pub(super) number: usize,
    pub(super) started_at: String,
    pub(super) status_code: Option<u16>,
    pub(super) error: Option<String>,
    timing: Timing,
}

#[derive(Clone, Debug, Deserialize)]
struct Timing {
    total_ms: f64,
}

impl Delivery {
    /// Has it come to its end?
    pub(super) fn finished(&self) -> bool {
        ["delivered", "exhausted", "cancelled"].contains(&self.status.as_str())
    }
}

impl Attempt {
    /// Its status, or the word for its failure where no answer came.
    pub(super) fn result(&self) -> String {
        match (self.status_code, &self.error) {
            (Some(status), _) => status.to_string(),
            (None, Some(error)) => error.clone(),
            (None, None) => UNKNOWN.to_owned(),
        }
    }

    pub(super) fn succeeded(&self) -> bool {
        self.error.is_none() && self.status_code.is_some()
    }

    pub(super) fn millis(&self) -> f64 {
        self.timing.total_ms
    }
}

/// An attempt that was not told before.
pub(super) struct News {
    pub(super) delivery: Delivery,
    pub(super) attempt: Attempt,
    /// Of the endpoint.
    pub(super) name: String,
    /// Is it the latest of its delivery, so that the delivery's state is what followed from it?
    pub(super) latest: bool,
}

/// What has been seen so far.
pub(super) struct Watch {
    api: Api,
    /// By the endpoints' ids.
    names: HashMap<String, String>,
    /// By their ids, so that they are in order of age.
    known: BTreeMap<String, Delivery>,
}

impl Watch {
    pub(super) fn new(api: Api) -> Self {
        Self {
            api,
            names: HashMap::new(),
            known: BTreeMap::new(),
        }
    }

    /// Everything seen, the oldest first.
    pub(super) fn deliveries(&self) -> impl Iterator<Item = &Delivery> {
        self.known.values()
    }

    /// What the endpoint is called; its id where that is not known.
    pub(super) fn name<'a>(&'a self, endpoint: &'a str) -> &'a str {
        self.names.get(endpoint).map_or(endpoint, String::as_str)
    }

    /// Asks the server once and answers the attempts that have ended since.
    pub(super) async fn look(&mut self) -> Result<Vec<News>, Failure> {
        #[derive(Deserialize)]
        struct List {
            data: Vec<Delivery>,
        }
        let list: List = read(self.api.get(LIST).await?)?;
        let mut news = Vec::new();
        for listed in list.data.into_iter().rev() {
            if self.known.get(&listed.id).is_some_and(Delivery::finished) && listed.finished() {
                continue;
            }
            self.learn_name(&listed.endpoint).await;
            let delivery: Delivery = read(self.api.get(&format!("/v1/deliveries/{}", listed.id)).await?)?;
            let told = self
                .known
                .get(&delivery.id)
                .map_or(0, |known| known.attempts.len());
            let count = delivery.attempts.len();
            for (at, attempt) in delivery.attempts.iter().enumerate().skip(told) {
                news.push(News {
                    attempt: attempt.clone(),
                    name: self.name(&delivery.endpoint).to_owned(),
                    latest: at + 1 == count,
                    delivery: delivery.clone(),
                });
            }
            self.known.insert(delivery.id.clone(), delivery);
        }
        news.sort_by(|a, b| a.attempt.started_at.cmp(&b.attempt.started_at));
        Ok(news)
    }

    /// An endpoint may be gone by now: then its id stands for its name.
    async fn learn_name(&mut self, endpoint: &str) {
        if self.names.contains_key(endpoint) {
            return;
        }
        let found = self.api.get(&format!("/v1/endpoints/{endpoint}")).await;
        let name = found
            .as_ref()
            .ok()
            .and_then(|found| text(found, "name").ok())
            .unwrap_or(endpoint);
        self.names.insert(endpoint.to_owned(), name.to_owned());
    }
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    serde_json::from_value(answer)
        .map_err(|error| Failure::Failed(format!("an answer of the server was not understood: {error}")))
}
