//! Who plays in the demonstration: one tenant's endpoints, the events published for it, and where each must arrive.

use http::StatusCode;

/// The tenant's uid, which may stand for its id wherever it is named.
pub(super) const TENANT: &str = "acme";

/// What the receiver at an endpoint's URL does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// Answers 200.
    Takes,
    /// Answers 503 to the first requests of each delivery, so many, and 200 to the next.
    FailsFirst(usize),
    /// Never answers.
    Hangs,
}

impl Behaviour {
    /// The answer to a delivery's request after `earlier` ones; `None` is no answer at all.
    pub(super) fn answer(self, earlier: usize) -> Option<StatusCode> {
        match self {
            Self::Takes => Some(StatusCode::OK),
            Self::FailsFirst(failures) if earlier < failures => Some(StatusCode::SERVICE_UNAVAILABLE),
            Self::FailsFirst(_) => Some(StatusCode::OK),
            Self::Hangs => None,
        }
    }

    /// How many attempts each delivery must have had in the end.
    pub(super) fn attempts(self) -> usize {
        match self {
            Self::Takes | Self::Hangs => 1,
            Self::FailsFirst(failures) => failures + 1,
        }
    }

    /// What must have become of each delivery in the end.
    pub(super) fn end(self) -> &'static str {
        match self {
            Self::Takes | Self::FailsFirst(_) => "delivered",
            Self::Hangs => "exhausted",
        }
    }
}

/// An endpoint; its receiver is at `/name`.
#[derive(Debug)]
pub(super) struct PlannedEndpoint {
    pub(super) name: &'static str,
    pub(super) events: &'static [&'static str],
    pub(super) behaviour: Behaviour,
    /// Waits in seconds; `None` is the default.
    pub(super) retry_schedule: Option<&'static [u32]>,
    pub(super) timeout_seconds: u32,
}

/// The endpoints: three that work, one that fails at first, one that hangs.
pub(super) const ENDPOINTS: [PlannedEndpoint; 5] = [
    PlannedEndpoint {
        name: "orders",
        events: &["order.created", "order.completed", "order.returned"],
        behaviour: Behaviour::Takes,
        retry_schedule: None,
        timeout_seconds: 10,
    },
    PlannedEndpoint {
        name: "invoices",
        events: &["invoice.created", "invoice.paid"],
        behaviour: Behaviour::Takes,
        retry_schedule: None,
        timeout_seconds: 10,
    },
    PlannedEndpoint {
        name: "users",
        events: &["user.created", "user.updated", "user.deleted"],
        behaviour: Behaviour::Takes,
        retry_schedule: None,
        timeout_seconds: 10,
    },
    PlannedEndpoint {
        name: "flaky",
        events: &["order.completed", "invoice.paid"],
        behaviour: Behaviour::FailsFirst(2),
        retry_schedule: Some(&[1, 2, 2]),
        timeout_seconds: 10,
    },
    PlannedEndpoint {
        name: "slow",
        events: &["user.deleted"],
        behaviour: Behaviour::Hangs,
        retry_schedule: Some(&[]),
        timeout_seconds: 2,
    },
];

/// The endpoint whose receiver is at this path of the receiver's address.
pub(super) fn endpoint_at(path: &str) -> Option<&'static PlannedEndpoint> {
    let name = path.strip_prefix('/')?;
    ENDPOINTS.iter().find(|endpoint| endpoint.name == name)
}

/// An event, and the names of the endpoints that must get it: written out, not matched, so that the matching is seen to
/// be right.
#[derive(Debug)]
pub(super) struct PlannedEvent {
    pub(super) event_type: &'static str,
    /// What the event type means.
    pub(super) meaning: &'static str,
    /// JSON.
    pub(super) payload: &'static str,
    pub(super) to: &'static [&'static str],
}

/// The events, in the order of their publishing.
pub(super) const EVENTS: [PlannedEvent; 8] = [
    PlannedEvent {
        event_type: "user.created",
        meaning: "Somebody signed up.",
        payload: r#"{"user":"usr_81","email":"ada@example.com","plan":"team"}"#,
        to: &["users"],
    },
    PlannedEvent {
        event_type: "order.created",
        meaning: "An order was placed.",
        payload: r#"{"order":"ord_1041","customer":"usr_81","items":3,"total":"129.90","currency":"EUR"}"#,
        to: &["orders"],
    },
    PlannedEvent {
        event_type: "invoice.created",
        meaning: "An invoice was written.",
        payload: r#"{"invoice":"inv_2207","order":"ord_1041","total":"129.90","due":"2030-02-28"}"#,
        to: &["invoices"],
    },
    PlannedEvent {
        event_type: "user.deleted",
        meaning: "An account was closed.",
        payload: r#"{"user":"usr_17","reason":"asked for it"}"#,
        to: &["users", "slow"],
    },
    PlannedEvent {
        event_type: "invoice.paid",
        meaning: "An invoice was paid.",
        payload: r#"{"invoice":"inv_2207","method":"card","total":"129.90"}"#,
        to: &["invoices", "flaky"],
    },
    PlannedEvent {
        event_type: "order.completed",
        meaning: "An order was shipped whole.",
        payload: r#"{"order":"ord_1041","parcels":[{"carrier":"post","items":3}]}"#,
        to: &["orders", "flaky"],
    },
    PlannedEvent {
        event_type: "user.updated",
        meaning: "An account was changed.",
        payload: r#"{"user":"usr_81","changed":["plan"],"plan":"business"}"#,
        to: &["users"],
    },
    PlannedEvent {
        event_type: "order.returned",
        meaning: "A part of an order came back.",
        payload: r#"{"order":"ord_1038","items":1,"refund":"29.90"}"#,
        to: &["orders"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receiver_that_fails_first_takes_each_delivery_in_the_end() {
        let answers = [0, 1, 2, 3].map(|earlier| Behaviour::FailsFirst(2).answer(earlier));
        let (failure, success) = (Some(StatusCode::SERVICE_UNAVAILABLE), Some(StatusCode::OK));
        assert_eq!(answers, [failure, failure, success, success]);
    }

    #[test]
    fn every_event_names_endpoints_that_there_are() {
        for event in EVENTS {
            assert!(
                event
                    .to
                    .iter()
                    .all(|name| endpoint_at(&format!("/{name}")).is_some())
            );
            serde_json::from_str::<serde_json::Value>(event.payload).unwrap();
        }
    }
}
