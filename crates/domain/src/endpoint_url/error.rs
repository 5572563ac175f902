//! Why a URL is refused: one variant per rule, its text a sentence for whoever sent the URL.

use std::net::IpAddr;

use url::ParseError;

use super::host_name::{LABEL_BYTES_MAX, NAME_BYTES_MAX};
use crate::address::AddressRule;
use crate::limits::URL_CHARACTERS_MAX;

/// The rule that refuses a URL.
///
/// No text repeats the URL's path or query, which may hold a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// More characters than [`URL_CHARACTERS_MAX`].
    #[error("the URL is longer than {URL_CHARACTERS_MAX} characters")]
    TooLong,
    /// Characters that a URL parser drops without a word.
    #[error("the URL contains control characters, or starts or ends with a space")]
    ControlOrSpace,
    /// The parser refuses the text, for the given reason.
    #[error("this is not a valid URL ({0}): write it as https://host/path")]
    NotAUrl(ParseError),
    /// Another scheme than `https`, and no exception for plain HTTP.
    #[error(
        "the URL must start with https:// (plain http:// is only for literal addresses that the operator allows \
         with --allow-destination)"
    )]
    NotHttps,
    /// A user name or a password before the host.
    #[error("the URL must not contain a user name or password: use a custom header instead")]
    Userinfo,
    /// No host at all.
    #[error("the URL has no host")]
    EmptyHost,
    /// A `*` in the host.
    #[error("the host must not contain a wildcard")]
    WildcardHost,
    /// A dot at the end of the host.
    #[error("the host must not end with a dot")]
    TrailingDot,
    /// A name of the machine itself.
    #[error(
        "the host is the local machine, which is not public: for development use 127.0.0.1, allowed by the \
             operator with --allow-destination"
    )]
    Localhost,
    /// A name under a domain that never is public.
    #[error("names that end in .{0} are never public")]
    PrivateDomain(&'static str),
    /// A name without a dot.
    #[error("the host is a single label, which is never public: write the full domain name")]
    SingleLabel,
    /// A name longer than DNS can hold.
    #[error("the host is longer than {NAME_BYTES_MAX} bytes")]
    HostTooLong,
    /// A part of a name that is longer than DNS can hold, or is empty.
    #[error("every label of the host must have 1 to {LABEL_BYTES_MAX} bytes")]
    LabelLength,
    /// A character or a place of a hyphen that no certificate can name.
    #[error("the labels of the host must consist of letters, digits, underscores and inner hyphens")]
    HostCharacters,
    /// A literal address that is forbidden, or allowed but not on this port.
    #[error("{address} is not a public destination: {rule}")]
    Address {
        /// The address in the URL, however it was spelled.
        address: IpAddr,
        /// The rule that forbids it or the port.
        rule: AddressRule,
    },
    /// A forbidden port after a name.
    #[error("{0}")]
    Port(AddressRule),
}

impl From<ParseError> for UrlError {
    fn from(reason: ParseError) -> Self {
        match reason {
            ParseError::EmptyHost => Self::EmptyHost,
            reason => Self::NotAUrl(reason),
        }
    }
}
