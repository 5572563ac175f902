//! The end of a demonstration: what was counted, and whether everything was as it should be.

use super::cast::{ENDPOINTS, EVENTS, PlannedEndpoint};
use super::receiver::{Receiver, Signature};
use super::watch::{Delivery, Watch};

/// An event that was published, in the order of the plan.
pub(super) struct Accepted {
    pub(super) id: String,
    /// How many endpoints the server said that it goes to.
    pub(super) deliveries: u64,
}

/// What there is to say in the end.
pub(super) struct Verdict {
    pub(super) summary: Vec<String>,
    /// Empty when everything was as it should be.
    pub(super) faults: Vec<String>,
}

/// Compares what happened with the plan.
pub(super) fn judge(accepted: &[Accepted], watch: &Watch, receiver: &Receiver) -> Verdict {
    let deliveries: Vec<&Delivery> = watch
        .deliveries()
        .filter(|delivery| accepted.iter().any(|event| event.id == delivery.event))
        .collect();
    let mut faults = Vec::new();
    for (event, planned) in accepted.iter().zip(&EVENTS) {
        let of_event: Vec<&&Delivery> = deliveries
            .iter()
            .filter(|delivery| delivery.event == event.id)
            .collect();
        let expected = planned.to.len();
        if of_event.len() != expected || event.deliveries != expected as u64 {
            let found = of_event.len();
            faults.push(format!(
                "{} has {found} deliveries, not {expected}",
                planned.event_type
            ));
        }
        for endpoint in ENDPOINTS
            .iter()
            .filter(|endpoint| planned.to.contains(&endpoint.name))
        {
            let to = of_event
                .iter()
                .find(|delivery| watch.name(&delivery.endpoint) == endpoint.name);
            let fault = match to {
                Some(delivery) => fault(delivery, endpoint, receiver),
                None => Some("is missing".to_owned()),
            };
            faults.extend(fault.map(|fault| format!("{} for {} {fault}", planned.event_type, endpoint.name)));
        }
    }
    if accepted.len() != EVENTS.len() {
        faults.push(format!(
            "{} events were accepted, not {}",
            accepted.len(),
            EVENTS.len()
        ));
    }
    let verified = if faults.is_empty() {
        ", every signature verified"
    } else {
        ""
    };
    let attempts: usize = deliveries.iter().map(|delivery| delivery.attempts.len()).sum();
    let mut summary = vec![format!(
        "{} events accepted, {} deliveries, {attempts} attempts{verified}:",
        accepted.len(),
        deliveries.len()
    )];
    summary.extend(ends(&deliveries));
    summary.extend(exhausted(&deliveries, watch));
    Verdict { summary, faults }
}

fn fault(delivery: &Delivery, endpoint: &PlannedEndpoint, receiver: &Receiver) -> Option<String> {
    let (end, attempts) = (endpoint.behaviour.end(), endpoint.behaviour.attempts());
    if delivery.status != end {
        return Some(format!("is {}, not {end}", delivery.status));
    }
    if delivery.attempts.len() != attempts {
        return Some(format!(
            "took {} attempts, not {attempts}",
            delivery.attempts.len()
        ));
    }
    let unverified = (1..=attempts)
        .find(|number| receiver.signature(endpoint.name, &delivery.event, *number) != Signature::Verified)?;
    Some(format!("was not verified in attempt {unverified}"))
}

/// How many deliveries came to which end.
fn ends(deliveries: &[&Delivery]) -> Vec<String> {
    let with = |status: &'static str| {
        deliveries
            .iter()
            .filter(move |delivery| delivery.status == status)
    };
    let retried = with("delivered")
        .filter(|delivery| delivery.attempts.len() > 1)
        .count();
    let mut lines = Vec::new();
    for status in ["delivered", "exhausted", "cancelled", "pending", "held"] {
        let count = with(status).count();
        if count > 0 {
            let more = if status == "delivered" && retried > 0 {
                format!(", {retried} of them after failures")
            } else {
                String::new()
            };
            lines.push(format!("{count:>4} {status}{more}"));
        }
    }
    lines
}

/// Why what was given up was given up.
fn exhausted(deliveries: &[&Delivery], watch: &Watch) -> Vec<String> {
    let exhausted = deliveries
        .iter()
        .filter(|delivery| delivery.status == "exhausted");
    let lines = exhausted.map(|delivery| {
        let last = delivery.attempts.last();
        format!(
            "     {} for {}: {}, {}",
            delivery.event_type,
            watch.name(&delivery.endpoint),
            last.map_or_else(String::new, super::watch::Attempt::result),
            delivery.reason.as_deref().unwrap_or("no reason")
        )
    });
    lines.collect()
}
