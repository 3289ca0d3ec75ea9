//! Trust in single servers, whose certificates the caller names.
//!
//! `openssl req -x509`, which most guides to registries use, creates a self-signed certificate that is marked as an
//! authority's. OpenSSL and Go accept it as a server's certificate. Webpki, the verifier of rustls, does not.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// A verifier that also accepts the certificates that the caller named, as certificates of servers.
#[derive(Debug)]
pub(super) struct PinnedVerifier {
    webpki: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl PinnedVerifier {
    /// Creates a verifier that trusts `roots` as authorities, and `certificates` as certificates of servers.
    pub(super) fn new(roots: RootCertStore, certificates: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), super::provider());
        Ok(Self { webpki: webpki.build().map_err(|error| error.to_string())?, certificates })
    }
}

/// Returns whether a certificate was refused only because it is an authority's. Its validity period is checked before
/// this, its issuer after.
fn is_authority(error: &rustls::Error) -> bool {
    // The type of the inner error is webpki's, which is not a dependency of this crate.
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(other))
        if format!("{:?}", other.0) == "CaUsedAsEndEntity")
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let webpki = self.webpki.verify_server_cert(certificate, intermediates, name, ocsp_response, now);
        match webpki {
            Err(error) if is_authority(&error) && self.certificates.contains(certificate) => {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            webpki => webpki,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
