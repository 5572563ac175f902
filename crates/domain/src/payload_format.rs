//! What the body of a delivery looks like: the payload as it was published, or an envelope around it that the receivers of a
//! standard or a contract know.

use crate::contract::Contract;
use std::fmt;

/// The format of a delivery's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadFormat {
    /// The payload, byte for byte.
    #[default]
    Raw,
    /// `{type, timestamp, data}` (Standard Webhooks 1.0.0).
    Standard,
    /// A CloudEvent 1.0 as one JSON document.
    CloudEvents,
    /// The payload, byte for byte, with a CloudEvent's attributes in headers.
    CloudEventsBinary,
    /// `{type, timestamp, data: {id}}`: the content is fetched.
    Thin,
    /// `{event, timestamp, data}`.
    Organization,
    /// `{id, type, data, createdAt}`.
    Apps,
    /// `{id, event, timestamp, subscription_id, message}`.
    Subscriptions,
}

impl PayloadFormat {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Raw,
        Self::Standard,
        Self::CloudEvents,
        Self::CloudEventsBinary,
        Self::Thin,
        Self::Organization,
        Self::Apps,
        Self::Subscriptions,
    ];

    /// The word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Standard => "standard",
            Self::CloudEvents => "cloudevents",
            Self::CloudEventsBinary => "cloudevents_binary",
            Self::Thin => "thin",
            Self::Organization => "organization",
            Self::Apps => "apps",
            Self::Subscriptions => "subscriptions",
        }
    }

    /// The format that `word` names, or the rule that it breaks.
    pub fn parse(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|format| format.as_str() == word);
        found.ok_or_else(|| format!("must be one of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

impl fmt::Display for PayloadFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The formats that endpoints start with, by the contract that they are made through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadFormats([PayloadFormat; Contract::ALL.len()]);

impl PayloadFormats {
    /// The format of endpoints made through `contract`.
    pub fn of(&self, contract: Contract) -> PayloadFormat {
        let both = Contract::ALL.into_iter().zip(self.0);
        both.into_iter()
            .find_map(|(known, format)| (known == contract).then_some(format))
            .unwrap_or_default()
    }

    /// Changes the format of endpoints made through `contract` from now on.
    pub fn set(&mut self, contract: Contract, format: PayloadFormat) {
        let both = Contract::ALL.into_iter().zip(&mut self.0);
        for (_, place) in both.filter(|(known, _)| *known == contract) {
            *place = format;
        }
    }

    /// The text that is stored: `v1=thin,apps=apps`, without what is raw.
    pub fn text(&self) -> String {
        let both = Contract::ALL.into_iter().zip(self.0);
        let set = both.filter(|(_, format)| *format != PayloadFormat::Raw);
        let texts: Vec<String> = set
            .map(|(contract, format)| format!("{}={format}", contract.as_str()))
            .collect();
        texts.join(",")
    }

    /// Reads a text that was stored.
    pub fn parse(text: &str) -> Option<Self> {
        let mut formats = Self::default();
        for one in text.split(',').filter(|one| !one.is_empty()) {
            let (contract, format) = one.split_once('=')?;
            let contract = Contract::ALL
                .into_iter()
                .find(|known| known.as_str() == contract)?;
            formats.set(contract, PayloadFormat::parse(format).ok()?);
        }
        Some(formats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_names_its_format_and_no_other_does() {
        for format in PayloadFormat::ALL {
            assert_eq!(PayloadFormat::parse(format.as_str()), Ok(format));
        }
        let rule = PayloadFormat::parse("xml").unwrap_err();
        assert!(
            rule.starts_with("must be one of raw, standard, cloudevents"),
            "{rule}"
        );
    }

    #[test]
    fn formats_by_contract_survive_their_keeping() {
        let mut formats = PayloadFormats::default();
        assert_eq!(formats.text(), "");
        formats.set(Contract::Apps, PayloadFormat::Apps);
        formats.set(Contract::V1, PayloadFormat::Thin);
        assert_eq!(formats.text(), "v1=thin,apps=apps");
        assert_eq!(PayloadFormats::parse(&formats.text()), Some(formats));
        assert_eq!(formats.of(Contract::Apps), PayloadFormat::Apps);
        assert_eq!(formats.of(Contract::Organization), PayloadFormat::Raw);
        assert_eq!(PayloadFormats::parse("apps"), None);
        assert_eq!(PayloadFormats::parse("nobody=raw"), None);
    }
}
