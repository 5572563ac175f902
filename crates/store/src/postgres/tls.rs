//! Encryption on the way to the server, with the words of libpq.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::path::Path;
use std::sync::Arc;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Whether to encrypt, and whom to trust.
#[derive(Clone)]
pub(super) enum Tls {
    /// `disable`: in clear.
    Off,
    /// `prefer`: encrypted where the server offers it, in clear where not. Stops who listens, not who stands in between.
    Preferred(MakeRustlsConnect),
    /// `require` and `verify-full`: encrypted or not at all.
    Required(MakeRustlsConnect),
}

impl Tls {
    /// `prefer`: whoever the server is.
    pub(super) fn preferred() -> Result<Self, String> {
        unverified().map(Self::Preferred)
    }

    /// `require`: whoever the server is.
    pub(super) fn required() -> Result<Self, String> {
        unverified().map(Self::Required)
    }

    /// `verify-full`: a certificate for the host's name, of an authority in this file (PEM), or else of a public one.
    pub(super) fn verified(authorities: Option<&Path>) -> Result<Self, String> {
        let roots = match authorities {
            Some(path) => authorities_in(path)?,
            None => RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        };
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::Required(MakeRustlsConnect::new(config)))
    }

    pub(super) fn connector(&self) -> Option<MakeRustlsConnect> {
        match self {
            Self::Off => None,
            Self::Preferred(connector) | Self::Required(connector) => Some(connector.clone()),
        }
    }

    pub(super) fn mode(&self) -> SslMode {
        match self {
            Self::Off => SslMode::Disable,
            Self::Preferred(_) => SslMode::Prefer,
            Self::Required(_) => SslMode::Require,
        }
    }
}

/// Reads the file, whose name is not quoted: it stands in a URL that may hold a password.
fn authorities_in(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(|error| format!("the file of its `sslrootcert` cannot be read: {error}"))?;
    for certificate in certificates {
        certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()))
            .map_err(|error| {
                format!("the file of its `sslrootcert` is not one of certificates (PEM): {error}")
            })?;
    }
    if roots.is_empty() {
        return Err("the file of its `sslrootcert` holds no certificate (PEM)".to_owned());
    }
    Ok(roots)
}

fn unverified() -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Takes any certificate, as libpq does with `prefer` and `require`; that the peer holds its key is checked all the same, for
/// channel binding rests on it.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
