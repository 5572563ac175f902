//! How deliveries are signed: Standard Webhooks always, and beside it the headers that receivers of a contract know.

use std::fmt;

/// A way to sign a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderStyle {
    /// Standard Webhooks 1.0.0: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    Standard,
    /// The organization contract's: `X-Webhook-Signature` over the body, `X-Webhook-Event`, `X-Webhook-Timestamp`.
    Organization,
    /// The apps contract's: a signature over the body and a timestamp, under the project's
    /// [`SignaturePrefix`](crate::signature_prefix::SignaturePrefix).
    Apps,
    /// The native contract's: `X-Webhook-Signature: v1=` over timestamp and body, with event, delivery and attempt.
    V1,
}

impl HeaderStyle {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Standard, Self::Organization, Self::Apps, Self::V1];

    /// The word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Organization => "organization",
            Self::Apps => "apps",
            Self::V1 => "v1",
        }
    }

    /// The style that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|style| style.as_str() == word)
    }
}

impl fmt::Display for HeaderStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The styles of an endpoint: the standard one, and at most one of those that sign under `X-Webhook-Signature`, where apps
/// does too unless its project has a prefix of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderStyles {
    beside: Option<HeaderStyle>,
}

impl HeaderStyles {
    /// Reads the words of a `header_styles` field. The error is the index of the bad word and the broken rule.
    pub fn parse<T: AsRef<str>>(words: &[T]) -> Result<Self, (Option<usize>, String)> {
        let mut styles = Self::default();
        let mut standard = false;
        for (at, word) in words.iter().enumerate() {
            let Some(style) = HeaderStyle::parse(word.as_ref()) else {
                let known = HeaderStyle::ALL.map(HeaderStyle::as_str).join(", ");
                return Err((Some(at), format!("is none of {known}")));
            };
            match (style, styles.beside) {
                (HeaderStyle::Standard, _) => standard = true,
                (style, Some(other)) if style != other => {
                    return Err((
                        Some(at),
                        format!("signs in the same header as {other}; choose one of them"),
                    ));
                }
                (style, _) => styles.beside = Some(style),
            }
        }
        if standard {
            Ok(styles)
        } else {
            Err((None, "must contain standard, which is always sent".into()))
        }
    }

    /// The standard style, and `beside` beside it.
    pub const fn with(beside: HeaderStyle) -> Self {
        match beside {
            HeaderStyle::Standard => Self { beside: None },
            beside => Self { beside: Some(beside) },
        }
    }

    /// The style beside the standard one.
    pub fn beside(self) -> Option<HeaderStyle> {
        self.beside
    }

    /// The words as a contract shows them.
    pub fn words(self) -> Vec<&'static str> {
        let mut words = vec![HeaderStyle::Standard.as_str()];
        words.extend(self.beside.map(HeaderStyle::as_str));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_was_taken() {
        for words in [
            vec!["standard"],
            vec!["standard", "organization"],
            vec!["standard", "apps"],
            vec!["standard", "v1"],
        ] {
            assert_eq!(HeaderStyles::parse(&words).unwrap().words(), words);
        }
        assert_eq!(
            HeaderStyles::parse(&["v1", "standard", "v1"]).unwrap().words(),
            ["standard", "v1"]
        );
    }

    #[test]
    fn the_standard_one_is_always_there_and_two_never_share_a_header() {
        assert_eq!(HeaderStyles::parse::<&str>(&[]).unwrap_err().0, None);
        assert_eq!(HeaderStyles::parse(&["v1"]).unwrap_err().0, None);
        assert_eq!(
            HeaderStyles::parse(&["standard", "organization", "v1"]).unwrap_err(),
            (
                Some(2),
                "signs in the same header as organization; choose one of them".to_owned()
            )
        );
        assert_eq!(HeaderStyles::parse(&["Standard"]).unwrap_err().0, Some(0));
    }
}
