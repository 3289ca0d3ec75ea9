//! TLS with an engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use vmroot_registry::tls::{TlsDetails, Unverified};

use super::DaemonOptions;
use crate::{Error, Result};

/// Creates the configuration of a connection: the trusted authorities, and the certificate of this client.
pub(super) fn config(options: &DaemonOptions) -> Result<ClientConfig> {
    let failed = |path: &Path, reason: String| Error::Certificates { path: path.to_owned(), reason };
    let file = |name: &str| options.cert_dir.as_ref().map(|directory| directory.join(name));
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = file("ca.pem").filter(|_| !options.insecure) {
        for certificate in certificates(&path)? {
            roots.add(certificate).map_err(|error| failed(&path, error.to_string()))?;
        }
    }
    let builder = builder(&options.tls)?;
    let builder = if options.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified))
    } else {
        builder.with_root_certificates(roots)
    };
    match (file("cert.pem"), file("key.pem")) {
        (Some(certificate), Some(key)) => {
            let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| failed(&key, error.to_string()))?;
            builder
                .with_client_auth_cert(certificates(&certificate)?, private)
                .map_err(|error| failed(&certificate, error.to_string()))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

/// Creates a configuration for a connection without TLS.
pub(super) fn unused() -> Result<ClientConfig> {
    Ok(builder(&TlsDetails::default())?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder(details: &TlsDetails) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    let builder = ClientConfig::builder_with_provider(details.provider()).with_protocol_versions(details.versions());
    builder.map_err(|error| Error::Certificates { path: PathBuf::from("TLS"), reason: error.to_string() })
}

/// Reads at least one certificate.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let failed = |reason: String| Error::Certificates { path: path.to_owned(), reason };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| failed(error.to_string()))?;
    if certificates.is_empty() {
        return Err(failed("it contains no certificate".to_owned()));
    }
    Ok(certificates)
}
