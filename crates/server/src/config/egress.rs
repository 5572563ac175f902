//! The egress proxy, whose URL and credentials stand in two places.

use super::layers::Layers;
use super::refusal::{Origin, Refusal};
use super::secrets::ProxyCredentials;
use super::{settings, variables};
use stentor_delivery::egress::EgressProxy;

/// The proxy that was named, with its credentials.
pub(super) fn proxy(layers: &Layers) -> Result<Option<EgressProxy>, Refusal> {
    let proxy = layers.optional(&settings::EGRESS_PROXY)?;
    let credentials = layers.secret(
        variables::EGRESS_PROXY_CREDENTIALS,
        &settings::EGRESS_PROXY_CREDENTIALS_FILE,
        ProxyCredentials::parse,
    )?;
    let refuse = |rule: &str| Refusal::Place {
        origin: Origin::Variable(variables::EGRESS_PROXY_CREDENTIALS.to_owned()),
        rule: format!("it, or its file, gives credentials, but {rule}"),
    };
    match (proxy, credentials) {
        (proxy, None) => Ok(proxy),
        // A deployment that has lost the proxy's name must not send around it.
        (None, Some(_)) => Err(refuse("`egress_proxy` names no proxy that they could be for")),
        (Some(proxy), Some(credentials)) => proxy
            .with_credentials(credentials.expose())
            .map(Some)
            .map_err(|rule| refuse(&format!("they cannot be sent: {rule}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::variables::Variables;
    use super::*;
    use std::collections::BTreeMap;
    use std::ffi::OsString;

    /// What follows from these variables, as it would be shown.
    fn resolved(pairs: &[(&str, &str)], flag: Option<&str>) -> Result<String, String> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let flags = flag.map(|url| ("egress_proxy", vec![url.to_owned()]));
        let flags: BTreeMap<_, _> = flags.into_iter().collect();
        let layers = Layers::gather(flags, Variables::of(pairs), None).unwrap();
        proxy(&layers)
            .map(|proxy| format!("{proxy:?}"))
            .map_err(|refusal| refusal.to_string())
    }

    const URL: (&str, &str) = ("STENTOR_EGRESS_PROXY", "http://proxy.internal:3128");
    const CREDENTIALS: (&str, &str) = ("STENTOR_EGRESS_PROXY_CREDENTIALS", "me:hunter2");

    #[test]
    fn without_a_word_there_is_no_proxy() {
        assert_eq!(resolved(&[], None).unwrap(), "None");
    }

    #[test]
    fn a_proxy_and_its_credentials_come_together_and_the_latter_are_never_shown() {
        let shown = "Some(EgressProxy(http://proxy.internal:3128))";
        assert_eq!(resolved(&[URL], None).unwrap(), shown);
        let shown = "Some(EgressProxy(http://***@proxy.internal:3128))";
        assert_eq!(resolved(&[URL, CREDENTIALS], None).unwrap(), shown);
        assert_eq!(resolved(&[CREDENTIALS], Some(URL.1)).unwrap(), shown);
    }

    #[test]
    fn credentials_in_the_url_or_without_a_proxy_are_refused_unseen() {
        let in_the_url = "http://me:hunter2@proxy.internal:3128";
        for refusal in [
            resolved(&[], Some(in_the_url)).unwrap_err(),
            resolved(&[("STENTOR_EGRESS_PROXY", in_the_url)], None).unwrap_err(),
            resolved(&[CREDENTIALS], None).unwrap_err(),
            resolved(&[URL, (CREDENTIALS.0, "hunter2")], None).unwrap_err(),
            resolved(&[URL, (CREDENTIALS.0, "me:hunter2\u{7}")], None).unwrap_err(),
        ] {
            assert!(refusal.contains("STENTOR_EGRESS_PROXY_CREDENTIALS"), "{refusal}");
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
    }
}
