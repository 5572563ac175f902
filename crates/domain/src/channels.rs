//! Channels: a producer's own way to part the events of a tenant, by region or by team, say.

use crate::limits::{CHANNEL_CHARACTERS_MAX, CHANNELS_MAX};
use std::sync::Arc;

/// The channels of an event, or those that an endpoint wants: distinct, in the order in which they were named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channels(Vec<Arc<str>>);

impl Channels {
    /// Reads the texts of a `channels` field. A name that is there twice counts once. The error is the index of the bad text
    /// and the broken rule.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, (Option<usize>, String)> {
        if texts.len() > CHANNELS_MAX {
            return Err((None, format!("must name at most {CHANNELS_MAX} channels")));
        }
        let mut channels: Vec<Arc<str>> = Vec::with_capacity(texts.len());
        for (at, text) in texts.iter().enumerate() {
            let text = text.as_ref();
            check(text).map_err(|rule| (Some(at), rule))?;
            if !channels.iter().any(|known| **known == *text) {
                channels.push(text.into());
            }
        }
        Ok(Self(channels))
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first of these that is among `others`, too.
    pub fn first_among(&self, others: &Self) -> Option<&str> {
        let known = |name: &&Arc<str>| others.0.contains(name);
        self.0.iter().find(known).map(AsRef::as_ref)
    }

    /// Their names.
    pub fn texts(&self) -> Vec<&str> {
        self.0.iter().map(AsRef::as_ref).collect()
    }
}

/// Checks a channel's name; the error is the broken rule.
fn check(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > CHANNEL_CHARACTERS_MAX {
        return Err(format!("must be 1 to {CHANNEL_CHARACTERS_MAX} characters"));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if !text.bytes().all(fits) {
        return Err("may contain only A-Z, a-z, 0-9, _, . and -".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(texts: &[&str]) -> Channels {
        Channels::parse(texts).unwrap()
    }

    #[test]
    fn names_are_short_plain_words_and_few() {
        assert_eq!(
            channels(&["eu", "team_1.a-b", "eu"]).texts(),
            ["eu", "team_1.a-b"]
        );
        let longest = "x".repeat(CHANNEL_CHARACTERS_MAX);
        assert!(Channels::parse(&[&longest; CHANNELS_MAX]).is_ok());
        assert!(Channels::parse(&["a"; CHANNELS_MAX + 1]).is_err());
        for bad in ["", "a b", "a,b", "ü", "a\n", "*", &format!("{longest}x")] {
            let refused = Channels::parse(&["eu", bad]).map_err(|(at, _)| at);
            assert_eq!(refused, Err(Some(1)), "{bad:?}");
        }
    }

    #[test]
    fn two_lists_meet_in_a_name_that_both_have() {
        let wanted = channels(&["eu", "us"]);
        assert_eq!(wanted.first_among(&channels(&["asia", "us", "eu"])), Some("eu"));
        assert_eq!(wanted.first_among(&channels(&["EU", "u", "eu.west"])), None);
        assert_eq!(wanted.first_among(&Channels::default()), None);
    }
}
