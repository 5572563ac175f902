//! The proxy that requests leave through, where the operator names one. How it is spoken to is the connector's part.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use std::fmt;
use url::{Host, Url};

/// An HTTP proxy that is asked for tunnels (`CONNECT`). It is the operator's word, so that its address need not be public.
/// Its `Debug` shows no credentials.
#[derive(Clone)]
pub struct EgressProxy {
    host: Host,
    pub(crate) port: u16,
    /// Is it spoken to over TLS?
    pub(crate) encrypted: bool,
    /// The value of `proxy-authorization`.
    pub(crate) authorization: Option<HeaderValue>,
}

impl EgressProxy {
    /// Takes `http://HOST:PORT` or `https://HOST:PORT`; without a port it is 80 or 443. The error is the broken rule, and
    /// never quotes the text, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let scheme = "it begins neither with http:// nor with https://, as in http://proxy.internal:3128";
        let encrypted = match text.split_once("://").map(|(scheme, _)| scheme) {
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
            _ => return Err(scheme),
        };
        let url = Url::parse(text).map_err(|_| "it is not a URL, such as http://proxy.internal:3128")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "it holds a user or a password: leave them out and set STENTOR_EGRESS_PROXY_CREDENTIALS, or \
                        STENTOR_EGRESS_PROXY_CREDENTIALS_FILE to a file that holds USER:PASSWORD",
            );
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err("it has more than a host and a port after its scheme");
        }
        let host = url.host().ok_or("it names no host")?.to_owned();
        let port = url.port_or_known_default().filter(|port| *port != 0);
        Ok(Self {
            host,
            port: port.ok_or("it names port 0")?,
            encrypted,
            authorization: None,
        })
    }

    /// The same proxy, which asks for `credentials`: a user and a password with a colon between (RFC 7617). The error is the
    /// broken rule, and never quotes the text.
    pub fn with_credentials(mut self, credentials: &str) -> Result<Self, &'static str> {
        if !credentials.contains(':') || credentials.contains(char::is_control) {
            return Err("it is not USER:PASSWORD on one line");
        }
        let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials)));
        let mut value = value.map_err(|_| "it is not USER:PASSWORD on one line")?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    pub(crate) fn host(&self) -> Host<&str> {
        match &self.host {
            Host::Ipv4(v4) => Host::Ipv4(*v4),
            Host::Ipv6(v6) => Host::Ipv6(*v6),
            Host::Domain(name) => Host::Domain(name),
        }
    }
}

impl fmt::Debug for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.encrypted { "https" } else { "http" };
        let user = if self.authorization.is_some() { "***@" } else { "" };
        write!(f, "EgressProxy({scheme}://{user}{}:{})", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_scheme_a_host_and_a_port() {
        for (text, shown) in [
            ("http://proxy.internal:3128", "http://proxy.internal:3128"),
            ("HTTPS://Proxy.internal", "https://proxy.internal:443"),
            ("http://10.0.0.1/", "http://10.0.0.1:80"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            let proxy = EgressProxy::parse(text).unwrap();
            assert_eq!(format!("{proxy:?}"), format!("EgressProxy({shown})"));
        }
        for wrong in [
            "",
            "proxy.internal:3128",
            "socks5://proxy.internal:1080",
            "http://",
            "http://:3128",
            "http://proxy.internal:0",
            "http://proxy.internal:99999",
            "http://proxy.internal/path",
            "http://proxy.internal?a=b",
        ] {
            assert!(EgressProxy::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn credentials_are_never_shown_and_never_part_of_the_url() {
        let refusal = EgressProxy::parse("http://me:hunter2@proxy.internal").unwrap_err();
        assert!(refusal.contains("STENTOR_EGRESS_PROXY_CREDENTIALS") && !refusal.contains("hunter2"));
        let proxy = EgressProxy::parse("http://proxy.internal").unwrap();
        let known = proxy.clone().with_credentials("me:hunter2").unwrap();
        assert_eq!(known.authorization.as_ref().unwrap(), "Basic bWU6aHVudGVyMg==");
        assert_eq!(
            format!("{known:?} {:?}", known.authorization),
            "EgressProxy(http://***@proxy.internal:80) Some(Sensitive)"
        );
        for wrong in ["", "hunter2", "me:hunter2\nhunter3"] {
            let refusal = proxy.clone().with_credentials(wrong).unwrap_err();
            assert!(!refusal.contains("hunter"), "{refusal}");
        }
    }
}
