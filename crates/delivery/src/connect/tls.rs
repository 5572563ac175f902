//! What TLS connections trust and speak.

use rustls::{ClientConfig, RootCertStore, crypto};
use rustls_pki_types::CertificateDer;
use std::sync::Arc;

/// The versions of HTTP on offer, the preferred one first.
const ALPN: [&[u8]; 2] = [HTTP2, b"http/1.1"];
/// The name of HTTP/2 in ALPN.
pub(super) const HTTP2: &[u8] = b"h2";

/// TLS 1.2 and 1.3, the public roots of the web and the operator's own. The error is an extra root that cannot be one.
pub(super) fn client_config(extra_roots: &[CertificateDer<'static>]) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for root in extra_roots {
        roots.add(root.clone())?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}
