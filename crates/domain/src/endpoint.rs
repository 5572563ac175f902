//! The endpoint: a URL with its secrets, subscription, schedule and limits.

use crate::Timestamp;
use crate::custom_headers::CustomHeaders;
use crate::endpoint_url::EndpointUrl;
use crate::header_styles::HeaderStyles;
use crate::id::{EndpointId, TenantId};
use crate::name::Invalid;
use crate::payload_format::PayloadFormat;
use crate::schedule::{Anchor, Schedule};
use crate::subscription::Subscription;
use std::time::Duration;

/// An endpoint as its owner knows it. Its secrets are kept apart, since almost nobody may see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its number within the tenant, from 1, never reused.
    pub number: i64,
    /// What its owner set.
    pub settings: EndpointSettings,
    /// The public key that its receivers verify with, where its newest secret is an ed25519 one.
    pub public_key: Option<String>,
    /// Is it sent to?
    pub status: Status,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its owner, or Stentor's policy, last changed it.
    pub updated_at: Timestamp,
}

/// What the owner of an endpoint sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSettings {
    /// The owner's own id for it, unique among the tenant's endpoints.
    pub uid: Option<String>,
    /// Its display name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Where it is.
    pub url: EndpointUrl,
    /// Which events it wants.
    pub subscription: Subscription,
    /// What it asks of payloads: a JSON object as text, which the engine reads.
    pub filter: Option<String>,
    /// What is added to every request.
    pub custom_headers: CustomHeaders,
    /// The deadline of one whole exchange, body included: 1 to 60 s.
    pub timeout_seconds: u16,
    /// The waits between attempts.
    pub schedule: Schedule,
    /// Where the waits start.
    pub anchor: Anchor,
    /// How its deliveries are signed.
    pub header_styles: HeaderStyles,
    /// What its deliveries' bodies look like.
    pub payload_format: PayloadFormat,
    /// The most requests at once; `None` is the server's default.
    pub max_in_flight: Option<u16>,
    /// The most requests that start in any second; `None` is no limit.
    pub rate_limit: Option<u16>,
    /// Are its deliveries sent strictly in the order in which their events were accepted, one after the other?
    pub ordered: bool,
    /// The owner's own notes about it: a JSON object as text, not looked into.
    pub metadata: Option<String>,
}

impl Endpoint {
    /// Do its newest secret and its header styles go together? The fault lies with the secret where that is what changed.
    pub fn check_signing(&self, secret_changed: bool) -> Result<(), Invalid> {
        let field = if secret_changed { "secret" } else { "header_styles" };
        match self.public_key {
            None => Ok(()),
            Some(_) => {
                (self.settings.header_styles.check_with_key_pair()).map_err(|rule| Invalid::new(field, rule))
            }
        }
    }
}

impl EndpointSettings {
    /// Does no custom header stand where a style under the endpoint's own prefix signs? (All other signature headers are
    /// reserved for every endpoint.)
    pub fn check_headers(&self) -> Result<(), Invalid> {
        let mut names = self.custom_headers.pairs().iter().map(|(name, _)| name);
        let taken = names.find_map(|name| Some((name, self.header_styles.setter_of(name)?)));
        match taken {
            None => Ok(()),
            Some((name, style)) => {
                let rule = format!("is what header style {style} sets; leave out one of them");
                Err(Invalid::new(name, rule).within("headers_json"))
            }
        }
    }

    /// May a delivery be sent as soon as it is accepted, by whoever accepted it? One that has to wait for those before it, or
    /// for its turn at a rate, is sent by who sends them all.
    pub const fn takes_at_once(&self) -> bool {
        !self.ordered && self.rate_limit.is_none()
    }

    /// The deadline of one exchange.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.timeout_seconds))
    }
}

/// Is an endpoint sent to?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Yes.
    Active,
    /// Its owner paused it: new events match and are held.
    Paused {
        /// Since when.
        at: Timestamp,
    },
    /// New events do not match; what is unfinished is held.
    Disabled(DisabledReason),
}

impl Status {
    /// Do new events match? (A paused endpoint's are held.)
    pub const fn matches_events(self) -> bool {
        !matches!(self, Self::Disabled(_))
    }

    /// What its owner's pausing it at `at` makes of any status: one that is paused already stays so since its own time.
    #[must_use]
    pub const fn pause(self, at: Timestamp) -> Self {
        match self {
            Self::Paused { .. } => self,
            Self::Active | Self::Disabled(_) => Self::Paused { at },
        }
    }

    /// What its owner's setting a switch makes of any status: on resumes from every state; off disables, unless the switch
    /// shows off already, so that whoever sends back a whole object does not turn paused into disabled.
    #[must_use]
    pub const fn switched(self, switch: Switch) -> Self {
        let (on, shown) = match switch {
            Switch::Active(on) => (on, self.sends()),
            Switch::Enabled(on) => (on, self.enabled()),
        };
        match (on, shown) {
            (true, _) => Self::Active,
            (false, true) => Self::Disabled(DisabledReason::Owner),
            (false, false) => self,
        }
    }

    /// Has its owner left it switched on? (What the server disabled is still on in the owner's eyes: contract
    /// subscriptions.)
    pub const fn enabled(self) -> bool {
        !matches!(self, Self::Paused { .. } | Self::Disabled(DisabledReason::Owner))
    }

    /// Are requests sent?
    pub const fn sends(self) -> bool {
        matches!(self, Self::Active)
    }
}

/// A contract's one switch for an endpoint: the two ways to show it, and what its owner sets it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// `active`: is it sent to?
    Active(bool),
    /// `enabled`: has its owner left it on?
    Enabled(bool),
}

/// Who disabled an endpoint, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisabledReason {
    /// The receiver answered 410 Gone.
    Gone,
    /// It failed for days without one success.
    Failing,
    /// Its owner did, through a contract that has such a switch.
    Owner,
}

impl DisabledReason {
    /// The word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
            Self::Owner => "owner",
        }
    }

    /// The reason that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Gone, Self::Failing, Self::Owner]
            .into_iter()
            .find(|reason| reason.as_str() == word)
    }

    /// A sentence for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Gone => "The receiver answered 410 Gone. Set the status to ACTIVE when it is back.",
            Self::Failing => {
                "It failed for days without one success. Set the status to ACTIVE when the receiver works again."
            }
            Self::Owner => "The endpoint's owner disabled it.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSED: Status = Status::Paused {
        at: Timestamp::from_seconds(1_700_000_000),
    };
    const BY_OWNER: Status = Status::Disabled(DisabledReason::Owner);
    const GONE: Status = Status::Disabled(DisabledReason::Gone);

    #[test]
    fn switching_on_resumes_from_every_state() {
        for status in [Status::Active, PAUSED, BY_OWNER, GONE] {
            assert_eq!(status.switched(Switch::Active(true)), Status::Active);
            assert_eq!(status.switched(Switch::Enabled(true)), Status::Active);
        }
    }

    #[test]
    fn switching_off_what_shows_off_changes_nothing() {
        assert_eq!(Status::Active.switched(Switch::Active(false)), BY_OWNER);
        assert_eq!(Status::Active.switched(Switch::Enabled(false)), BY_OWNER);
        for status in [PAUSED, BY_OWNER, GONE] {
            assert_eq!(status.switched(Switch::Active(false)), status);
        }
        for status in [PAUSED, BY_OWNER] {
            assert_eq!(status.switched(Switch::Enabled(false)), status);
        }
        // It shows on there: the owner never switched it off.
        assert_eq!(GONE.switched(Switch::Enabled(false)), BY_OWNER);
    }
}
