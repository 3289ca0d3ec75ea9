//! Whom to trust: the system's authorities, and the authorities and servers whose certificates the caller has.

mod named;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::{Error, Result};
use named::Named;

/// A configuration that trusts the system's authorities and those in `ca_files`.
///
/// # Errors
/// [`Error::Certificates`] if a file cannot be read or holds no certificate, or if there is nobody to trust.
pub(crate) fn config(ca_files: &[PathBuf]) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let mut named = Vec::new();
    for path in ca_files {
        let failed = |reason: String| Error::Certificates { path: Some(path.clone()), reason };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
        let before = roots.len();
        for certificate in certificates {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            roots.add(certificate.clone()).map_err(|error| failed(error.to_string()))?;
            named.push(certificate);
        }
        if roots.len() == before {
            return Err(failed("there is no certificate in it".to_owned()));
        }
    }
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "some of the system's certificates cannot be loaded");
    }
    // Systems carry certificates that rustls finds faulty; they are not trusted, and that is all.
    roots.add_parsable_certificates(system.certs);
    if roots.is_empty() {
        let reason = "the system has no trusted authorities; install ca-certificates or name a file".to_owned();
        return Err(Error::Certificates { path: None, reason });
    }
    let mut config = with_roots(roots.clone())?;
    if !named.is_empty() {
        let verifier = Named::new(roots, named).map_err(|reason| Error::Certificates { path: None, reason })?;
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
    }
    Ok(config)
}

/// A configuration for a client of plain HTTP: it trusts nobody, and so needs no certificates to be there.
pub(crate) fn trusting_nobody() -> Result<ClientConfig> {
    with_roots(RootCertStore::empty())
}

fn with_roots(roots: RootCertStore) -> Result<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Certificates { path: None, reason: error.to_string() })?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Named here, so that the process need not install one.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
