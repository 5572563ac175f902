//! Prefixes of signature headers that somebody chose: the project's, which style `apps` signs under, and an endpoint's own,
//! under which it gets the headers of Standard Webhooks once more.

use crate::custom_headers::is_reserved;
use crate::limits::SIGNATURE_PREFIX_CHARACTERS_MAX;
use std::fmt;
use std::sync::Arc;

/// The prefix of projects that have none of their own (contract apps).
const DEFAULT: &str = "x-webhook";
/// Prefixes of styles that receivers know already, and of headers that mean something else: none of these, nor what goes on
/// from one with a hyphen, can be a project's own.
const TAKEN: [&str; 10] = [
    "webhook",
    "x-webhook",
    "svix",
    "stripe",
    "x-hub",
    "x-shopify",
    "x-stentor",
    "ce",
    "proxy",
    "x-forwarded",
];

/// A prefix in lower case, whose headers no other style has and nothing else sets.
#[derive(Clone, PartialEq, Eq)]
pub struct SignaturePrefix(Arc<str>);

impl SignaturePrefix {
    /// Takes the prefix of a project in any case where it keeps the rules, or says which rule it breaks.
    pub fn of_project(text: &str) -> Result<Self, String> {
        Self::well_formed(text).and_then(|prefix| {
            if prefix.is_default() {
                Ok(prefix)
            } else {
                prefix.own()
            }
        })
    }

    /// Takes the prefix of an endpoint, which cannot be the one that projects have by default.
    pub fn of_endpoint(text: &str) -> Result<Self, String> {
        Self::well_formed(text).and_then(Self::own)
    }

    fn well_formed(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > SIGNATURE_PREFIX_CHARACTERS_MAX {
            return Err(format!(
                "must be 1 to {SIGNATURE_PREFIX_CHARACTERS_MAX} characters"
            ));
        }
        let lower = text.to_ascii_lowercase();
        let of_a_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let begins = lower.starts_with(|first: char| first.is_ascii_lowercase());
        if !begins || lower.ends_with('-') || !lower.bytes().all(of_a_name) {
            return Err(
                "must be letters, digits and hyphens, begin with a letter and not end with a hyphen".into(),
            );
        }
        Ok(Self(lower.into()))
    }

    fn own(self) -> Result<Self, String> {
        if !self.collides() {
            Ok(self)
        } else {
            Err(
                "makes headers that another signature style or the protocol has; choose a name of your own"
                    .into(),
            )
        }
    }

    /// Is it that of projects that have none of their own?
    pub fn is_default(&self) -> bool {
        &*self.0 == DEFAULT
    }

    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the header that holds the event's id.
    pub fn id_header(&self) -> String {
        format!("{self}-id")
    }

    /// The name of the header that holds the signature.
    pub fn signature_header(&self) -> String {
        format!("{self}-signature")
    }

    /// The name of the header that tells when the attempt was made.
    pub fn timestamp_header(&self) -> String {
        format!("{self}-timestamp")
    }

    /// All these names.
    pub fn names(&self) -> [String; 3] {
        [self.id_header(), self.timestamp_header(), self.signature_header()]
    }

    fn collides(&self) -> bool {
        let is_of = |taken: &str| {
            let rest = self.0.strip_prefix(taken);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        TAKEN.into_iter().any(is_of) || self.names().iter().any(|name| is_reserved(name))
    }
}

impl Default for SignaturePrefix {
    fn default() -> Self {
        Self(DEFAULT.into())
    }
}

impl fmt::Display for SignaturePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SignaturePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custom_headers::CustomHeaders;
    use proptest::prelude::*;

    #[test]
    fn a_name_of_ones_own_is_taken_in_any_case() {
        for (text, prefix) in [
            ("x-acme", "x-acme"),
            ("X-Acme", "x-acme"),
            ("acme2", "acme2"),
            ("x-webhooks", "x-webhooks"),
            ("x", "x"),
            ("X-Webhook", "x-webhook"),
        ] {
            assert_eq!(SignaturePrefix::of_project(text).unwrap().as_str(), prefix);
        }
        assert!(SignaturePrefix::of_project("x-webhook").unwrap() == SignaturePrefix::default());
        assert_eq!(
            SignaturePrefix::default().signature_header(),
            "x-webhook-signature"
        );
    }

    #[test]
    fn what_is_no_part_of_a_headers_name_is_refused() {
        let long = "a".repeat(SIGNATURE_PREFIX_CHARACTERS_MAX + 1);
        for text in [
            "", "-x", "x-", "1x", "x y", "x_y", "x:", "x\r\ny", "ü", "x.y", &long,
        ] {
            assert!(SignaturePrefix::of_project(text).is_err(), "{text:?}");
        }
        assert!(SignaturePrefix::of_project(&long[1..]).is_ok());
    }

    #[test]
    fn a_prefix_of_a_style_or_of_the_protocol_is_refused_in_any_case() {
        for text in [
            "webhook",
            "Webhook",
            "webhook-acme",
            "x-webhook-acme",
            "svix",
            "stripe",
            "x-hub",
            "X-Shopify",
            "x-shopify-hmac",
            "x-stentor",
            "x-stentor-v2",
            "ce",
            "proxy",
            "x-forwarded",
        ] {
            for refused in [
                SignaturePrefix::of_project(text),
                SignaturePrefix::of_endpoint(text),
            ] {
                let refused = refused.unwrap_err();
                assert!(refused.contains("choose a name of your own"), "{text}: {refused}");
            }
        }
        assert!(
            SignaturePrefix::of_endpoint("X-Webhook").is_err(),
            "style apps has it"
        );
    }

    proptest! {
        /// What a customer could set as a custom header is what nothing else sets.
        #[test]
        fn its_headers_are_names_that_nothing_else_sets(text in "[A-Za-z0-9_: -]{0,8}|(x-|webhook|svix|-|proxy|hub|stripe|a){1,5}|.{0,70}") {
            if let Ok(prefix) = SignaturePrefix::of_project(&text) {
                prop_assert_eq!(prefix.as_str(), text.to_ascii_lowercase());
                prop_assert_eq!(&SignaturePrefix::of_project(prefix.as_str()).unwrap(), &prefix);
                prop_assert_eq!(SignaturePrefix::of_endpoint(&text).is_ok(), !prefix.is_default());
                for name in prefix.names() {
                    let custom = CustomHeaders::new(vec![(name.clone(), "x".into())]);
                    prop_assert!(custom.is_ok() != prefix.is_default(), "{}", name);
                }
            }
        }
    }
}
