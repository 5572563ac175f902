//! The URL of an endpoint: kept as it was sent, judged and dialled as it was parsed.
//!
//! Who does what:
//! - [`EndpointUrl`] holds the text beside what the WHATWG rules make of it. Only the parsed form is ever judged,
//!   dialled or written into a request, so that no spelling (`0x7f.1`, `017700000001`, full-width digits,
//!   percent-encodings) means one thing to the guard and another to the connection.
//! - `host_name` holds the rules about names, [`crate::address`] those about addresses and ports.
//! - [`UrlError`] names the rule that refuses a URL.

mod error;
mod host_name;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use url::{Host, Position, Url};

use crate::address::{AllowList, judge_port};
use crate::limits::URL_CHARACTERS_MAX;
pub use error::UrlError;

/// What stands in logs in place of a query value.
const MASK: &str = "***";

/// The URL of an endpoint. Clones share their text.
///
/// Two are equal when their texts are. `Debug` and [`masked`](Self::masked) hide query values, which often are
/// tokens; there is no `Display`, so that no log shows them by accident.
#[derive(Clone)]
pub struct EndpointUrl(Arc<Parts>);

struct Parts {
    text: Box<str>,
    /// Always with the scheme `http` or `https`.
    parsed: Url,
    host: Host<String>,
    port: u16,
}

impl EndpointUrl {
    /// Parses and judges a URL, as is done when an endpoint is saved or tested.
    ///
    /// `allowed` are the operator's exceptions: only to literal addresses among them may a URL use plain HTTP.
    ///
    /// # Errors
    /// The first rule that refuses the URL.
    pub fn parse(text: &str, allowed: &AllowList) -> Result<Self, UrlError> {
        // Counting stops one past the limit: the text may be as long as a whole request.
        if text.chars().take(URL_CHARACTERS_MAX + 1).count() > URL_CHARACTERS_MAX {
            return Err(UrlError::TooLong);
        }
        // The parser would drop these without a word, and the text kept would differ from what is dialled.
        if text.contains(|c: char| c.is_ascii_control()) || text.starts_with(' ') || text.ends_with(' ') {
            return Err(UrlError::ControlOrSpace);
        }
        let url = Self::stored(text)?;
        url.judge(allowed)?;
        Ok(url)
    }

    /// Parses a URL that was judged when it was saved, without judging it again.
    ///
    /// # Errors
    /// Only for a text that [`parse`](Self::parse) cannot have let through: not a URL, without a host, or with
    /// a scheme other than `http` and `https`.
    pub fn stored(text: &str) -> Result<Self, UrlError> {
        let parsed = Url::parse(text)?;
        let default_port = match parsed.scheme() {
            "https" => 443,
            "http" => 80,
            _ => return Err(UrlError::NotHttps),
        };
        let host = parsed.host().ok_or(UrlError::EmptyHost)?.to_owned();
        let port = parsed.port().unwrap_or(default_port);
        Ok(Self(Arc::new(Parts {
            text: text.into(),
            parsed,
            host,
            port,
        })))
    }

    /// Judges the parsed URL by the rules of the guard and the operator's exceptions of today.
    ///
    /// What a name resolves to is not known here: every address is vetted again before a connection.
    ///
    /// # Errors
    /// The first rule that refuses the URL.
    pub fn judge(&self, allowed: &AllowList) -> Result<(), UrlError> {
        if !self.0.parsed.username().is_empty() || self.0.parsed.password().is_some() {
            return Err(UrlError::Userinfo);
        }
        let plain_http_allowed = match self.host() {
            Host::Domain(name) => {
                host_name::judge(name)?;
                judge_port(self.port()).map_err(UrlError::Port)?;
                false
            }
            Host::Ipv4(v4) => self.judge_literal(v4.into(), allowed)?,
            Host::Ipv6(v6) => self.judge_literal(v6.into(), allowed)?,
        };
        match self.is_https() || plain_http_allowed {
            true => Ok(()),
            false => Err(UrlError::NotHttps),
        }
    }

    /// Judges a literal address, and says whether the operator allows it at this port.
    fn judge_literal(&self, address: IpAddr, allowed: &AllowList) -> Result<bool, UrlError> {
        let destination = SocketAddr::new(address, self.port());
        match allowed.vet(destination) {
            Ok(()) => Ok(allowed.permits(destination)),
            Err(rule) => Err(UrlError::Address { address, rule }),
        }
    }

    /// Is it a literal address that is reached because the operator allows it at this port? A name never is.
    pub fn is_excepted(&self, allowed: &AllowList) -> bool {
        let address = match self.host() {
            Host::Domain(_) => return false,
            Host::Ipv4(v4) => IpAddr::V4(v4),
            Host::Ipv6(v6) => IpAddr::V6(v6),
        };
        allowed.permits(SocketAddr::new(address, self.port()))
    }

    /// The URL exactly as it was sent.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether the connection uses TLS. If not, the scheme is `http`.
    pub fn is_https(&self) -> bool {
        self.0.parsed.scheme() == "https"
    }

    /// The parsed host: a name in lowercase ASCII or a literal address.
    pub fn host(&self) -> Host<&str> {
        match &self.0.host {
            Host::Domain(name) => Host::Domain(name),
            Host::Ipv4(v4) => Host::Ipv4(*v4),
            Host::Ipv6(v6) => Host::Ipv6(*v6),
        }
    }

    /// The port to connect to, the scheme's own when the URL names none.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// The value of the `Host` header: the host, an IPv6 address in brackets, and the port unless it is the scheme's.
    pub fn authority(&self) -> &str {
        self.slice(Position::BeforeHost, Position::AfterPort)
    }

    /// The target of the request: path and query, never empty, without the fragment.
    pub fn path_and_query(&self) -> &str {
        self.slice(Position::BeforePath, Position::AfterQuery)
    }

    /// The URL for logs and pages: without userinfo and fragment, every query value hidden.
    pub fn masked(&self) -> String {
        let path = self.slice(Position::BeforePath, Position::AfterPath);
        let mut masked = format!("{}://{}{path}", self.0.parsed.scheme(), self.authority());
        if let Some(query) = self.0.parsed.query() {
            let parameters: Vec<String> = query.split('&').map(mask_parameter).collect();
            masked.push('?');
            masked.push_str(&parameters.join("&"));
        }
        masked
    }

    /// The positions are always within the URL; callers give them in order.
    fn slice(&self, from: Position, to: Position) -> &str {
        &self.0.parsed[from..to]
    }
}

/// Hides the value of one query parameter. One without `=` is hidden whole: it may itself be the token.
fn mask_parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) => format!("{name}={MASK}"),
        None if parameter.is_empty() => String::new(),
        None => MASK.to_owned(),
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EndpointUrl").field(&self.masked()).finish()
    }
}

impl PartialEq for EndpointUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for EndpointUrl {}

impl Hash for EndpointUrl {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text().hash(state);
    }
}
