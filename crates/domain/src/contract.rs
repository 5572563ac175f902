//! The contracts through which endpoints are made, and what each documents for those made through it. From then on these
//! are properties of the endpoint like any other, shown and changed through v1.

use crate::Chance;
use crate::header_styles::{HeaderStyle, HeaderStyles};
use crate::limits::{HOURLY_RETRIES, TIMEOUT_SECONDS, TIMEOUT_SECONDS_LONG};
use crate::schedule::{Anchor, Schedule};
use crate::secret::Secret;

/// A published contract that manages endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contract {
    /// The native one.
    V1,
    /// `/webhooks`.
    Organization,
    /// `/apps/{appId}/webhooks`.
    Apps,
    /// `/api/v1/webhooks`.
    Subscriptions,
}

/// What an endpoint starts with where its maker says nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The deadline of one exchange.
    pub timeout_seconds: u16,
    /// The waits between attempts.
    pub schedule: Schedule,
    /// Where the waits start.
    pub anchor: Anchor,
    /// How its deliveries are signed.
    pub header_styles: HeaderStyles,
}

impl Contract {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::V1, Self::Organization, Self::Apps, Self::Subscriptions];

    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Organization => "organization",
            Self::Apps => "apps",
            Self::Subscriptions => "subscriptions",
        }
    }

    /// What endpoints made through it start with (the contracts' own documents).
    pub fn defaults(self) -> Defaults {
        let (schedule, anchor) = match self {
            Self::V1 | Self::Organization | Self::Apps => (Schedule::default(), Anchor::Previous),
            Self::Subscriptions => (Schedule::hourly(HOURLY_RETRIES), Anchor::First),
        };
        Defaults {
            timeout_seconds: match self {
                Self::V1 | Self::Organization => TIMEOUT_SECONDS,
                Self::Apps | Self::Subscriptions => TIMEOUT_SECONDS_LONG,
            },
            schedule,
            anchor,
            header_styles: match self {
                Self::V1 => HeaderStyles::with(HeaderStyle::V1),
                Self::Organization => HeaderStyles::with(HeaderStyle::Organization),
                Self::Apps => HeaderStyles::with(HeaderStyle::Apps),
                Self::Subscriptions => HeaderStyles::default(),
            },
        }
    }

    /// Draws the secret that follows one at a rotation. The native contract leaves the format open, so that receivers who
    /// verify with a public key go on doing so; the others document what they draw.
    pub fn draw_successor(self, of_key_pair: bool, chance: &dyn Chance) -> Secret {
        if self == Self::V1 && of_key_pair {
            Secret::draw_whsk(chance)
        } else {
            self.draw_secret(chance)
        }
    }

    /// Draws a secret in the format that its receivers know. A secret keeps its format, whoever looks at the endpoint.
    pub fn draw_secret(self, chance: &dyn Chance) -> Secret {
        match self {
            Self::V1 | Self::Apps | Self::Subscriptions => Secret::draw(chance),
            Self::Organization => Secret::draw_whs(chance),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretKey;

    struct Counting;
    impl Chance for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            (0..).zip(bytes).for_each(|(number, byte)| *byte = number);
        }
    }

    #[test]
    fn each_starts_with_what_its_document_says() {
        let hourly = Contract::Subscriptions.defaults();
        assert_eq!(hourly.schedule.waits(), [3_600; 48]);
        assert_eq!((hourly.anchor, hourly.timeout_seconds), (Anchor::First, 20));
        assert_eq!(hourly.header_styles.words(), ["standard"]);

        let organization = Contract::Organization.defaults();
        assert_eq!(organization.header_styles.words(), ["standard", "organization"]);
        assert_eq!(
            (organization.schedule, organization.timeout_seconds),
            (Schedule::default(), 10)
        );

        let apps = Contract::Apps.defaults();
        assert_eq!(apps.header_styles.words(), ["standard", "apps"]);
        assert_eq!(apps.timeout_seconds, 20);

        let native = Contract::V1.defaults();
        assert_eq!(native.header_styles.words(), ["standard", "v1"]);
        assert_eq!((native.anchor, native.timeout_seconds), (Anchor::Previous, 10));
    }

    #[test]
    fn a_secret_has_the_format_of_the_contract_that_draws_it_and_keys_as_it_says() {
        let short = Contract::Organization.draw_secret(&Counting);
        assert_eq!(short.expose(), "whs_000102030405060708090a0b0c0d0e0f1011121314");
        assert!(matches!(short.key(), SecretKey::Hmac(key) if key == short.expose().as_bytes()));
        for contract in [Contract::V1, Contract::Apps, Contract::Subscriptions] {
            let secret = contract.draw_secret(&Counting);
            assert!(secret.expose().starts_with("whsec_"));
            assert!(matches!(secret.key(), SecretKey::Hmac(key) if key.len() == 32));
        }
    }

    #[test]
    fn a_key_pair_is_followed_by_a_key_pair_unless_the_contract_documents_another_format() {
        for (contract, after_pair, after_hmac) in [
            (Contract::V1, "whsk_", "whsec_"),
            (Contract::Organization, "whs_", "whs_"),
            (Contract::Apps, "whsec_", "whsec_"),
            (Contract::Subscriptions, "whsec_", "whsec_"),
        ] {
            for (of_key_pair, prefix) in [(true, after_pair), (false, after_hmac)] {
                let drawn = contract.draw_successor(of_key_pair, &Counting);
                assert!(drawn.expose().starts_with(prefix), "{contract:?} {of_key_pair}");
                assert_eq!(Secret::parse(drawn.expose()), Ok(drawn.clone()));
            }
        }
    }
}
