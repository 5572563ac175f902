//! Who a receiver says it is, over TLS.

use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// The name in every certificate.
pub(crate) const NAME: &str = "hooks.example";

/// A certificate for [`NAME`] that signs itself, and who shows it.
pub(crate) struct Identity {
    pub(crate) root: CertificateDer<'static>,
    pub(crate) acceptor: TlsAcceptor,
}

/// Speaks these `protocols`, the preferred one first.
pub(crate) fn identity(protocols: &[&[u8]]) -> Identity {
    let drawn = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let root = drawn.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(drawn.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![root.clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Identity { root, acceptor }
}
