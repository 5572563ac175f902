//! How deliveries are signed: Standard Webhooks always, and beside it the headers that receivers know from elsewhere.

use crate::limits::HEADER_STYLES_MAX;
use crate::signature_prefix::SignaturePrefix;
use std::borrow::Cow;
use std::fmt;

/// What stands before the prefix of a style of the endpoint's own.
const PREFIXED: &str = "prefix:";
/// The words of all other styles.
static WORDS: [(&str, HeaderStyle); 8] = [
    ("standard", HeaderStyle::Standard),
    ("organization", HeaderStyle::Organization),
    ("apps", HeaderStyle::Apps),
    ("v1", HeaderStyle::V1),
    ("svix", HeaderStyle::Svix),
    ("stripe", HeaderStyle::Stripe),
    ("github", HeaderStyle::Github),
    ("shopify", HeaderStyle::Shopify),
];

/// A way to sign a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderStyle {
    /// Standard Webhooks 1.0.0: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    Standard,
    /// The organization contract's: `X-Webhook-Signature` over the body, `X-Webhook-Event`, `X-Webhook-Timestamp`.
    Organization,
    /// The apps contract's: a signature over the body and a timestamp, under the project's [`SignaturePrefix`].
    Apps,
    /// The native contract's: `X-Webhook-Signature: v1=` over timestamp and body, with event, delivery and attempt.
    V1,
    /// Svix's: the standard headers under `svix-`.
    Svix,
    /// Stripe's: `Stripe-Signature: t=...,v1=...` over timestamp and body.
    Stripe,
    /// GitHub's: `X-Hub-Signature-256: sha256=...` over the body.
    Github,
    /// Shopify's: `X-Shopify-Hmac-Sha256`, base64 over the body.
    Shopify,
    /// The standard headers under a prefix of the endpoint's own.
    Prefixed(SignaturePrefix),
}

impl HeaderStyle {
    /// The style that `word` names, or the rule that the word breaks.
    pub fn parse(word: &str) -> Result<Self, String> {
        if let Some(prefix) = word.strip_prefix(PREFIXED) {
            return SignaturePrefix::of_endpoint(prefix).map(Self::Prefixed);
        }
        let known = WORDS.iter().find(|(known, _)| *known == word);
        known.map(|(_, style)| style.clone()).ok_or_else(|| {
            let known: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
            format!("is none of {} and {PREFIXED}NAME", known.join(", "))
        })
    }

    /// The word that is stored and shown.
    pub fn word(&self) -> Cow<'static, str> {
        match self {
            Self::Prefixed(prefix) => format!("{PREFIXED}{prefix}").into(),
            known => (WORDS.iter().find(|(_, style)| style == known))
                .map_or("", |(word, _)| *word)
                .into(),
        }
    }

    /// Is it one HMAC keyed with the whole text of a secret? (The others sign as Standard Webhooks does, with secrets of
    /// every kind.)
    pub const fn needs_hmac(&self) -> bool {
        match self {
            Self::Standard | Self::Svix | Self::Prefixed(_) => false,
            Self::Organization | Self::Apps | Self::V1 | Self::Stripe | Self::Github | Self::Shopify => true,
        }
    }

    /// Do both send a header of one name, whatever the project's prefix is? `apps` counts with its default one.
    fn excludes(&self, other: &Self) -> bool {
        let under_x_webhook = |style: &Self| matches!(style, Self::Organization | Self::Apps | Self::V1);
        self != other && under_x_webhook(self) && under_x_webhook(other)
    }
}

impl fmt::Display for HeaderStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word())
    }
}

/// The styles of an endpoint: the standard one, and others beside it that share no header's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderStyles {
    beside: Vec<HeaderStyle>,
}

impl HeaderStyles {
    /// Reads the words of a `header_styles` field. The error is the index of the bad word and the broken rule.
    pub fn parse<T: AsRef<str>>(words: &[T]) -> Result<Self, (Option<usize>, String)> {
        let mut beside: Vec<HeaderStyle> = Vec::new();
        let mut standard = false;
        for (at, word) in words.iter().enumerate() {
            let style = HeaderStyle::parse(word.as_ref()).map_err(|rule| (Some(at), rule))?;
            if style == HeaderStyle::Standard {
                standard = true;
                continue;
            }
            if let Some(other) = beside.iter().find(|other| other.excludes(&style)) {
                let rule = format!("signs in the same header as {other}; choose one of them");
                return Err((Some(at), rule));
            }
            if !beside.contains(&style) {
                beside.push(style);
            }
            if beside.len() >= HEADER_STYLES_MAX {
                return Err((None, format!("must have at most {HEADER_STYLES_MAX} styles")));
            }
        }
        if standard {
            Ok(Self { beside })
        } else {
            Err((None, "must contain standard, which is always sent".into()))
        }
    }

    /// The standard style, and `style` beside it.
    pub fn with(style: HeaderStyle) -> Self {
        Self { beside: vec![style] }
    }

    /// Those that an ed25519 secret can be the newest of.
    #[must_use]
    pub fn without_hmac(mut self) -> Self {
        self.beside.retain(|style| !style.needs_hmac());
        self
    }

    /// The styles beside the standard one, as they were given.
    pub fn beside(&self) -> &[HeaderStyle] {
        &self.beside
    }

    /// The words as a contract shows them.
    pub fn words(&self) -> Vec<Cow<'static, str>> {
        let beside = self.beside.iter();
        std::iter::once(&HeaderStyle::Standard)
            .chain(beside)
            .map(HeaderStyle::word)
            .collect()
    }

    /// Is one of them that of the endpoint's own `prefix`?
    pub fn prefixed_with(&self, prefix: &SignaturePrefix) -> bool {
        let mut own = self.beside.iter();
        own.any(|style| matches!(style, HeaderStyle::Prefixed(own) if own == prefix))
    }

    /// In a project whose prefix is that of the endpoint too, style `apps` would sign in the same headers.
    pub fn check_in_project(&self, prefix: &SignaturePrefix) -> Result<(), String> {
        if self.prefixed_with(prefix) && self.beside.contains(&HeaderStyle::Apps) {
            Err(format!(
                "has apps and {PREFIXED}{prefix}, which sign in the same header in this project; choose one of them"
            ))
        } else {
            Ok(())
        }
    }

    /// Can an ed25519 secret be the newest of the endpoint's? Its receivers know the public key only, and no text.
    pub fn check_with_key_pair(&self) -> Result<(), String> {
        match self.beside.iter().find(|style| style.needs_hmac()) {
            None => Ok(()),
            Some(style) => Err(format!(
                "cannot be: header style {style} is an HMAC keyed with the secret's text, and an ed25519 secret (whsk_) has none \
                 that receivers may know; leave the style out of header_styles, or choose another secret"
            )),
        }
    }

    /// The style under the endpoint's own prefix, if any, that sets the header of this `name`.
    pub fn setter_of(&self, name: &str) -> Option<&HeaderStyle> {
        let name = name.to_ascii_lowercase();
        self.beside.iter().find(|style| match style {
            HeaderStyle::Prefixed(prefix) => prefix.names().contains(&name),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> HeaderStyles {
        HeaderStyles::parse(words).unwrap()
    }

    fn refused(words: &[&str]) -> (Option<usize>, String) {
        HeaderStyles::parse(words).unwrap_err()
    }

    #[test]
    fn what_is_shown_is_what_was_taken() {
        for words in [
            vec!["standard"],
            vec!["standard", "organization"],
            vec!["standard", "apps"],
            vec!["standard", "v1"],
            vec!["standard", "stripe", "svix", "shopify", "github", "v1"],
            vec!["standard", "prefix:acme", "prefix:x-acme"],
        ] {
            assert_eq!(parsed(&words).words(), words);
        }
        assert_eq!(parsed(&["v1", "standard", "v1"]).words(), ["standard", "v1"]);
        assert_eq!(
            parsed(&["prefix:Acme", "standard", "prefix:ACME"]).words(),
            ["standard", "prefix:acme"]
        );
    }

    #[test]
    fn the_standard_one_is_always_there_and_two_never_share_a_header() {
        assert_eq!(refused(&[]).0, None);
        assert_eq!(refused(&["v1", "svix"]).0, None);
        assert_eq!(
            refused(&["standard", "organization", "svix", "v1"]),
            (
                Some(3),
                "signs in the same header as organization; choose one of them".to_owned()
            )
        );
        assert_eq!(refused(&["standard", "apps", "organization"]).0, Some(2));
    }

    #[test]
    fn a_word_that_names_no_style_is_refused() {
        for word in [
            "Standard",
            "",
            "prefix",
            "prefix:",
            "prefix:svix",
            "prefix:x-webhook",
            "prefix:a,b",
            "acme",
        ] {
            assert_eq!(refused(&["standard", word]).0, Some(1), "{word}");
        }
        assert!(refused(&["acme"]).1.contains("shopify and prefix:NAME"));
    }

    #[test]
    fn there_are_not_too_many() {
        let own: Vec<String> = (0..HEADER_STYLES_MAX).map(|n| format!("prefix:p{n}")).collect();
        let mut words: Vec<&str> = own.iter().map(String::as_str).collect();
        words[0] = "standard";
        assert_eq!(parsed(&words).words(), words);
        words.push(&own[0]);
        assert_eq!(refused(&words).1, "must have at most 8 styles");
    }

    #[test]
    fn a_key_pair_signs_where_standard_webhooks_does_and_nowhere_else() {
        assert_eq!(
            parsed(&["standard", "svix", "prefix:acme"]).check_with_key_pair(),
            Ok(())
        );
        for style in ["organization", "apps", "v1", "stripe", "github", "shopify"] {
            let styles = parsed(&["standard", "svix", style]);
            assert_eq!(styles.clone().without_hmac().words(), ["standard", "svix"]);
            let refused = styles.check_with_key_pair().unwrap_err();
            assert!(refused.contains(&format!("header style {style} ")), "{refused}");
        }
    }

    #[test]
    fn a_prefix_of_the_endpoint_and_the_same_of_its_project_exclude_each_other() {
        let prefix = SignaturePrefix::of_project("acme").unwrap();
        for (words, fit) in [
            (vec!["standard", "apps", "prefix:acme"], false),
            (vec!["standard", "apps", "prefix:acme2"], true),
            (vec!["standard", "prefix:acme"], true),
        ] {
            assert_eq!(parsed(&words).check_in_project(&prefix).is_ok(), fit, "{words:?}");
        }
    }

    #[test]
    fn the_headers_of_an_own_prefix_are_known_by_name() {
        let styles = parsed(&["standard", "v1", "prefix:acme"]);
        for name in ["Acme-Id", "acme-timestamp", "ACME-SIGNATURE"] {
            assert_eq!(styles.setter_of(name).unwrap().word(), "prefix:acme");
        }
        assert_eq!(styles.setter_of("acme-key"), None);
    }
}
