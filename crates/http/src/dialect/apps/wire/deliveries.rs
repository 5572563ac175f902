//! The list of an endpoint's deliveries: its query, and what it shows.

use crate::input;
use crate::openapi::schemas::uuid;
use crate::paging::{Cursors, PageItems};
use crate::problem::Problem;
use serde::{Deserialize, Serialize};
use stentor_domain::delivery::{Delivery, State};
use stentor_domain::limits::{APPS_PAGE_ITEMS, APPS_PAGE_ITEMS_MAX};
use stentor_engine::Page;
use stentor_store::deliveries::DeliveryFilter;
use utoipa::{IntoParams, ToSchema};

const ITEMS: PageItems = PageItems {
    by_default: APPS_PAGE_ITEMS,
    max: APPS_PAGE_ITEMS_MAX,
};

/// Where a delivery is, in this contract's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::dialect::apps) enum Status {
    /// It waits for an attempt, or is in flight, or waits for its endpoint to be active.
    Pending,
    /// A receiver answered 2xx.
    Delivered,
    /// No further attempt will be made: the schedule came to its end, or the delivery was cancelled.
    Failed,
}

impl Status {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "PENDING" => Some(Self::Pending),
            "DELIVERED" => Some(Self::Delivered),
            "FAILED" => Some(Self::Failed),
            _ => None,
        }
    }
}

impl From<State> for Status {
    fn from(state: State) -> Self {
        match state {
            State::Pending | State::Held => Self::Pending,
            State::Delivered => Self::Delivered,
            State::Exhausted | State::Cancelled => Self::Failed,
        }
    }
}

/// The query of the list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::dialect::apps) struct DeliveriesQuery {
    /// Only those that are so when the page is read.
    #[param(inline, value_type = Option<Status>)]
    status: Option<String>,
    /// Where the page begins: `nextCursor` of the page before.
    cursor: Option<String>,
    /// How many items, 1 to 100.
    // Read as text, so that what is no number is told the rule, too.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 20)]
    limit: Option<String>,
}

/// What a query asks for.
pub(in crate::dialect::apps) struct Asked {
    pub(in crate::dialect::apps) filter: DeliveryFilter,
    /// The key that the page begins after.
    pub(in crate::dialect::apps) before: Option<i64>,
    pub(in crate::dialect::apps) limit: u32,
}

impl DeliveriesQuery {
    /// Reads the query of a list with these cursors. Tests are no part of an endpoint's history.
    pub(in crate::dialect::apps) fn read(
        query: Option<&str>,
        cursors: &Cursors<'_>,
    ) -> Result<Asked, Problem> {
        let Self {
            status,
            cursor,
            limit,
        } = input::query(query)?;
        let states = status.as_deref().map_or(Ok(vec![]), states);
        let (states, limit) = match (states, ITEMS.read(limit.as_deref())) {
            (Ok(states), Ok(limit)) => (states, limit),
            (Err(fault), Err(other)) => return Err(fault.and(other)),
            (Err(fault), _) | (_, Err(fault)) => return Err(fault),
        };
        Ok(Asked {
            filter: DeliveryFilter {
                states,
                without_tests: true,
                ..DeliveryFilter::default()
            },
            limit,
            before: cursor.map(|cursor| cursors.read(&cursor)).transpose()?,
        })
    }
}

/// The states that a word of the filter stands for.
fn states(word: &str) -> Result<Vec<State>, Problem> {
    let wanted = Status::parse(word)
        .ok_or_else(|| Problem::invalid().with_error("status", "must be PENDING, DELIVERED or FAILED"))?;
    Ok(Vec::from_iter(
        State::ALL
            .into_iter()
            .filter(|state| Status::from(*state) == wanted),
    ))
}

/// A page of deliveries, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::dialect::apps) struct DeliveriesOut {
    items: Vec<DeliveryOut>,
    /// The `cursor` of the next page; null on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

impl DeliveriesOut {
    /// Shows a page of the list with these cursors.
    pub(in crate::dialect::apps) fn of(page: Page<Delivery>, cursors: &Cursors<'_>) -> Self {
        Self {
            next_cursor: page.next.map(|last| cursors.after(last)),
            items: page.items.iter().map(DeliveryOut::from).collect(),
        }
    }
}

/// A delivery.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeliveryOut {
    #[schema(schema_with = uuid)]
    id: String,
    /// The type of its event.
    event: String,
    #[schema(inline)]
    status: Status,
    /// The status that its latest attempt was answered with; null where no answer came, and before the first attempt.
    #[schema(required, minimum = 100, maximum = 999)]
    response_status: Option<u16>,
    /// How many attempts were made.
    attempts: u32,
    /// When its event was accepted.
    #[schema(format = DateTime)]
    created_at: String,
    /// When a receiver took it; null where none has.
    #[schema(required, format = DateTime)]
    delivered_at: Option<String>,
    /// When it will be tried again; null where it has not been tried yet, while it is held, and once it has ended.
    #[schema(required, format = DateTime)]
    next_retry_at: Option<String>,
}

impl From<&Delivery> for DeliveryOut {
    fn from(delivery: &Delivery) -> Self {
        let status = Status::from(delivery.state);
        let delivered_at = delivery.finished_at.filter(|_| status == Status::Delivered);
        let next_retry_at = delivery.next_attempt_at.filter(|_| delivery.attempts > 0);
        Self {
            id: delivery.id.0.uuid(),
            event: delivery.event_type.to_string(),
            status,
            response_status: delivery.last_status,
            attempts: delivery.attempts,
            created_at: delivery.created_at.iso_millis(),
            delivered_at: delivered_at.map(|at| at.iso_millis()),
            next_retry_at: next_retry_at.map(|at| at.iso_millis()),
        }
    }
}
