//! The headers that an endpoint's owner adds to every request.

use crate::limits::{CUSTOM_HEADER_BYTES_MAX, CUSTOM_HEADERS_BYTES_MAX, CUSTOM_HEADERS_MAX};
use std::cmp::Reverse;
use std::fmt;

/// Shown in the place of a value that is not for reading; sent back, it keeps what is stored (contract v1).
pub const MASK: &str = "***";

/// What is shorter is too likely to stand in a text by chance.
const SECRET_BYTES_MIN: usize = 8;

/// Names that the sender or the protocol owns (security rules, "Custom headers"), in lower case.
const RESERVED: [&str; 18] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "webhook-loop",
];
/// Families that are reserved whole: hop-by-hop, proxies, and every signature style.
const RESERVED_PREFIXES: [&str; 6] = ["proxy-", "x-forwarded-", "webhook-", "x-webhook-", "svix-", ":"];
/// Signature headers of the styles that receivers know from elsewhere.
const SIGNATURES: [&str; 4] = [
    "stripe-signature",
    "x-hub-signature",
    "x-hub-signature-256",
    "x-shopify-hmac-sha256",
];

/// Custom headers, in the order given; names are unique whatever their case. Their `Debug` shows no values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CustomHeaders(Vec<(String, String)>);

impl CustomHeaders {
    /// Takes the pairs where every one keeps the rules. The error is the bad header's name, empty where the fault lies
    /// with all of them, and the broken rule.
    pub fn new(pairs: Vec<(String, String)>) -> Result<Self, (String, String)> {
        if pairs.len() > CUSTOM_HEADERS_MAX {
            return Err((
                String::new(),
                format!("must have at most {CUSTOM_HEADERS_MAX} headers"),
            ));
        }
        let mut seen = Vec::with_capacity(pairs.len());
        for (name, value) in &pairs {
            let lower = name.to_ascii_lowercase();
            check(&lower, value).map_err(|rule| (name.clone(), rule))?;
            if seen.contains(&lower) {
                return Err((name.clone(), "is given twice".into()));
            }
            seen.push(lower);
        }
        if pairs
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>()
            > CUSTOM_HEADERS_BYTES_MAX
        {
            return Err((
                String::new(),
                format!("must be at most {CUSTOM_HEADERS_BYTES_MAX} bytes together"),
            ));
        }
        Ok(Self(pairs))
    }

    /// Takes pairs that were checked when they were saved.
    pub fn stored(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// Puts back what a caller was shown masked: a value of `***` becomes the stored value of the same name.
    #[must_use]
    pub fn unmasked(mut self, stored: &Self) -> Self {
        for (name, value) in &mut self.0 {
            let before = stored
                .0
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            if let (MASK, Some((_, kept))) = (value.as_str(), before) {
                value.clone_from(kept);
            }
        }
        self
    }

    /// Names and values, as sent.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The values that are not shown, and the credentials in them that follow a scheme (`Bearer`), which receivers may repeat
    /// in their answers. The longest come first; what is too short to be told from other text is left out.
    pub fn secrets(&self) -> Vec<&str> {
        let hidden = self.0.iter().filter(|(name, _)| sensitive(name));
        let mut secrets: Vec<&str> = hidden
            .flat_map(|(_, value)| [Some(value.as_str()), value.split_once(' ').map(|(_, rest)| rest)])
            .flatten()
            .filter(|secret| secret.len() >= SECRET_BYTES_MIN)
            .collect();
        secrets.sort_by_key(|secret| Reverse(secret.len()));
        secrets
    }

    /// Names and values as they may be shown: those of `authorization` and of names that contain key, token, secret or
    /// password are `***` (contract v1).
    pub fn shown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), if sensitive(name) { MASK } else { value.as_str() }))
    }
}

impl fmt::Debug for CustomHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

fn sensitive(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower == "authorization"
        || ["key", "token", "secret", "password"]
            .iter()
            .any(|word| lower.contains(word))
}

/// Does Stentor or the protocol set the header of this name, given in lower case?
pub(crate) fn is_reserved(lower: &str) -> bool {
    RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix))
        || RESERVED.contains(&lower)
        || SIGNATURES.contains(&lower)
}

fn check(lower: &str, value: &str) -> Result<(), String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if is_reserved(lower) {
        return Err("is reserved: Stentor or the protocol sets it".into());
    }
    if lower.is_empty() || !lower.bytes().all(token) {
        return Err("is not a valid header name".into());
    }
    let visible = |byte: u8| (0x21..0x7f).contains(&byte) || byte == b' ' || byte == b'\t';
    if value.trim() != value || !value.bytes().all(visible) {
        return Err("must have a value of visible ASCII characters, without spaces at its ends".into());
    }
    if lower.len() + value.len() > CUSTOM_HEADER_BYTES_MAX {
        return Err(format!(
            "must be at most {CUSTOM_HEADER_BYTES_MAX} bytes, name and value"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Result<CustomHeaders, (String, String)> {
        CustomHeaders::new(vec![(name.into(), value.into())])
    }

    #[test]
    fn reserved_names_are_refused_in_any_case() {
        let reserved = [
            "Host",
            "CONTENT-LENGTH",
            "Transfer-Encoding",
            "connection",
            "TE",
            "Proxy-Authorization",
            "X-Forwarded-For",
            "Cookie",
            "webhook-id",
            "Webhook-Loop",
            "X-Webhook-Signature",
            "svix-id",
            "Stripe-Signature",
            ":path",
        ];
        for name in reserved {
            assert!(one(name, "x").is_err(), "{name}");
        }
    }

    #[test]
    fn names_and_values_cannot_break_out_of_their_line() {
        for (name, value) in [
            ("x y", "v"),
            ("", "v"),
            ("x\r\ny", "v"),
            ("ü", "v"),
            ("x", "a\r\nb: c"),
            ("x", "\0"),
            ("x", "ü"),
        ] {
            assert!(one(name, value).is_err(), "{name:?} {value:?}");
        }
        assert!(one("X-Team", "blue one").is_ok());
    }

    #[test]
    fn numbers_and_sizes_are_bounded() {
        let many = (0..21).map(|i| (format!("x-{i}"), "v".into())).collect();
        assert!(CustomHeaders::new(many).is_err());
        assert!(one("x", &"v".repeat(4_096)).is_err());
        let three = (0..3).map(|i| (format!("x-{i}"), "v".repeat(3_000))).collect();
        assert!(CustomHeaders::new(three).is_err());
        assert!(CustomHeaders::new(vec![("A".into(), "1".into()), ("a".into(), "2".into())]).is_err());
    }

    #[test]
    fn a_masked_value_sent_back_keeps_the_stored_one() {
        let stored = CustomHeaders::stored(vec![
            ("X-Api-Key".into(), "s3cret".into()),
            ("X-Team".into(), "blue".into()),
        ]);
        assert_eq!(
            stored.shown().collect::<Vec<_>>(),
            [("X-Api-Key", "***"), ("X-Team", "blue")]
        );
        let back = CustomHeaders::new(vec![("x-api-key".into(), MASK.into())])
            .unwrap()
            .unmasked(&stored);
        assert_eq!(back.pairs(), [("x-api-key".to_owned(), "s3cret".to_owned())]);
        assert!(!format!("{stored:?}").contains("s3cret"));
    }
}
