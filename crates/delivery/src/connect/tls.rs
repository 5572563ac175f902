//! What TLS connections trust and speak.

use rustls::{ClientConfig, RootCertStore, crypto};
use rustls_pki_types::CertificateDer;
use std::sync::Arc;

/// The versions of HTTP on offer to receivers, the preferred one first.
pub(super) const RECEIVERS: [&[u8]; 2] = [HTTP2, HTTP1];
/// What is spoken with an egress proxy.
pub(super) const PROXIES: [&[u8]; 1] = [HTTP1];
/// The name of HTTP/1.1 in ALPN.
const HTTP1: &[u8] = b"http/1.1";
/// The name of HTTP/2 in ALPN.
pub(super) const HTTP2: &[u8] = b"h2";

/// TLS 1.2 and 1.3, the public roots of the web and the operator's own, and these `protocols`. The error is an extra root that
/// cannot be one.
pub(super) fn client_config(
    extra_roots: &[CertificateDer<'static>],
    protocols: &[&[u8]],
) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for root in extra_roots {
        roots.add(root.clone())?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}
