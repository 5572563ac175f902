//! What the owner of an endpoint sets, drawn at random, and which events that wants: told here once more, apart from the
//! engine's own matching.

use super::known::{Event, Run};
use stentor_testkit::EndpointFields;

pub(super) const TYPES: [&str; 3] = ["order.paid", "order.refund.made", "user.made"];
pub(super) const CHANNELS: [&str; 2] = ["north", "south"];
/// Numbers in payloads are below this.
pub(super) const NUMBERS: usize = 10;
const FORMATS: [&str; 8] = [
    "raw",
    "raw",
    "raw",
    "standard",
    "cloudevents",
    "cloudevents_binary",
    "thin",
    "subscriptions",
];

/// All settings of an endpoint that matter to a run.
#[derive(Clone, Debug)]
pub(super) struct Wishes {
    types: &'static [&'static str],
    channel: Option<&'static str>,
    /// The least number in a payload that its filter lets through.
    least: Option<usize>,
    pub(super) ordered: bool,
    pub(super) rate: Option<usize>,
    in_flight: Option<usize>,
    pub(super) format: &'static str,
    schedule: &'static [i64],
    anchor: &'static str,
    styles: &'static [&'static str],
}

/// In flight to an endpoint without a setting of its own.
const IN_FLIGHT: usize = 16;

impl Wishes {
    pub(super) fn draw(run: &Run) -> Self {
        Self {
            types: run.pick(&[&["*"][..], &["*"], &["order.*"], &["user.made", "order.paid"]]),
            channel: run.once_in(4).then(|| run.pick(&CHANNELS)),
            least: run.once_in(4).then(|| run.below(NUMBERS)),
            ordered: run.once_in(3),
            rate: run.once_in(4).then(|| run.pick(&[1, 3, 10])),
            in_flight: run.once_in(2).then(|| run.pick(&[1, 2, 5])),
            format: run.pick(&FORMATS),
            schedule: run.pick(&[
                &[][..],
                &[1],
                &[5, 300, 1_800, 7_200],
                &[60; 12],
                &[3_600, 86_400, 172_800],
            ]),
            anchor: run.pick(&["previous", "first"]),
            styles: run.pick(&[
                &["standard"][..],
                &["standard", "svix"],
                &["standard", "prefix:x-own"],
            ]),
        }
    }

    pub(super) fn fields(&self) -> EndpointFields {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let filter = |least| format!(r#"{{"n":{{"$gte":{least}}}}}"#);
        EndpointFields {
            events: Some(texts(self.types)),
            channels: Some(self.channel.map(|channel| texts(&[channel]))),
            filter: Some(self.least.map(filter)),
            ordered: Some(self.ordered),
            rate_limit: Some(self.rate.map(|rate| i64::try_from(rate).unwrap())),
            max_in_flight: Some(self.in_flight.map(|most| i64::try_from(most).unwrap())),
            payload_format: Some(self.format.into()),
            retry_schedule: Some(self.schedule.to_vec()),
            retry_anchor: Some(self.anchor.into()),
            header_styles: Some(texts(self.styles)),
            ..EndpointFields::default()
        }
    }

    /// The most requests at once.
    pub(super) fn at_once(&self) -> usize {
        match self.in_flight {
            _ if self.ordered => 1,
            own => own.unwrap_or(IN_FLIGHT),
        }
    }

    /// Does an endpoint with these wishes want such an event?
    pub(super) fn want(&self, event_type: &str, channels: &[String], number: usize) -> bool {
        let fits = |wanted: &&str| match wanted.strip_suffix(".*") {
            Some(prefix) => event_type.starts_with(&format!("{prefix}.")),
            None => *wanted == "*" || *wanted == event_type,
        };
        self.types.iter().any(fits)
            && self
                .channel
                .is_none_or(|channel| channels.iter().any(|one| one == channel))
            && self.least.is_none_or(|least| number >= least)
    }

    /// Is this a body of the event in the format that is wished for?
    pub(super) fn is_body_of(&self, body: &str, event: &Event) -> bool {
        match self.format {
            "raw" | "cloudevents_binary" => body == event.payload,
            "thin" => body.contains(&event.id.to_string()) && !body.contains(&event.mark),
            _ => body.contains(&event.mark),
        }
    }
}
