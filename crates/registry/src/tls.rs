//! TLS configurations: the trusted authorities, and the servers whose certificates the caller names.

mod details;
mod identity;
mod pinned;
mod unverified;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use vmroot_errors::with_causes;

use crate::{Error, HostOptions, Result};
use identity::Identities;
use pinned::PinnedVerifier;

pub use details::{TlsDetails, TlsVersion};
pub use unverified::Unverified;

/// Creates a configuration for a registry: with its client certificates, and with trust in the system's authorities
/// and in the certificates in `ca_files` and the registry's files. If the registry is insecure, every certificate is
/// trusted.
///
/// # Errors
/// - [`Error::Certificates`]: a file cannot be read or holds no certificate.
/// - [`Error::NoAuthorities`]: no certificate is trusted at all.
pub(crate) fn config(ca_files: &[PathBuf], details: &TlsDetails, settings: &HostOptions) -> Result<ClientConfig> {
    let mut config = if settings.insecure {
        let mut config = with_roots(details, RootCertStore::empty())?;
        config.dangerous().set_certificate_verifier(Arc::new(Unverified));
        config
    } else {
        verifying(details, ca_files.iter().chain(&settings.ca_files))?
    };
    if !settings.identities.is_empty() {
        config.client_auth_cert_resolver = Arc::new(Identities::load(&settings.identities)?);
    }
    Ok(config)
}

fn verifying<'f>(details: &TlsDetails, ca_files: impl Iterator<Item = &'f PathBuf>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let mut pinned = Vec::new();
    for path in ca_files {
        let failed = |reason: String| Error::Certificates { path: Some(path.clone()), reason };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
        let before = roots.len();
        for certificate in certificates {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            roots.add(certificate.clone()).map_err(|error| failed(error.to_string()))?;
            pinned.push(certificate);
        }
        if roots.len() == before {
            return Err(failed("it contains no certificate".to_owned()));
        }
    }
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(error = with_causes(error), "some of the system's certificates cannot be loaded");
    }
    // Some systems ship certificates that rustls cannot parse. These are skipped.
    roots.add_parsable_certificates(system.certs);
    if roots.is_empty() {
        return Err(Error::NoAuthorities);
    }
    let mut config = with_roots(details, roots.clone())?;
    if !pinned.is_empty() {
        let verifier =
            PinnedVerifier::new(roots, pinned).map_err(|reason| Error::Certificates { path: None, reason })?;
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
    }
    Ok(config)
}

/// Creates a configuration for plain HTTP. It trusts no certificate, so none needs to be installed.
pub(crate) fn without_roots() -> Result<ClientConfig> {
    with_roots(&TlsDetails::default(), RootCertStore::empty())
}

fn with_roots(details: &TlsDetails, roots: RootCertStore) -> Result<ClientConfig> {
    let config = ClientConfig::builder_with_provider(details.provider())
        .with_protocol_versions(details.versions())
        .map_err(|error| Error::Certificates { path: None, reason: error.to_string() })?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Returns the cryptography of all connections. It is named explicitly, so that the process need not install a default
/// one.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
