//! Client certificates, and the choice between several.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::{Error, Result};

/// Client certificates with their keys.
#[derive(Debug)]
pub(super) struct Identities(Vec<Arc<CertifiedKey>>);

impl Identities {
    /// Reads pairs of PEM files: a certificate with its chain, and its private key.
    ///
    /// # Errors
    /// [`Error::Certificates`]: a file cannot be read, has no certificate or key, or the two do not match.
    pub(super) fn load(files: &[(PathBuf, PathBuf)]) -> Result<Self> {
        files.iter().map(|(certificate, key)| load(certificate, key).map(Arc::new)).collect::<Result<_>>().map(Self)
    }
}

fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey> {
    let failed = |path: &Path, reason: String| Error::Certificates { path: Some(path.to_owned()), reason };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| failed(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(failed(certificate, "it contains no certificate".to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, error.to_string()))?;
    let provider = super::provider();
    let signer = provider.key_provider.load_private_key(secret).map_err(|error| failed(key, error.to_string()))?;
    let pair = CertifiedKey::new(chain, signer);
    match pair.keys_match() {
        // An unknown kind of key is checked by the server.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(pair),
        Err(_) => Err(failed(key, format!("it is not the key of the certificate in {}", certificate.display()))),
    }
}

/// Returns whether a chain has a certificate that was issued by one of these authorities, whose names are in DER.
///
/// A certificate contains its issuer's name in the same bytes.
fn is_issued_by(chain: &[CertificateDer<'_>], authorities: &[&[u8]]) -> bool {
    let contains = |certificate: &[u8], name: &[u8]| certificate.windows(name.len()).any(|bytes| bytes == name);
    let names = authorities.iter().filter(|name| !name.is_empty());
    names.clone().any(|name| chain.iter().any(|certificate| contains(certificate, name)))
}

impl ResolvesClientCert for Identities {
    fn resolve(&self, authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let usable = || self.0.iter().filter(|pair| pair.key.choose_scheme(schemes).is_some());
        // Servers that list no authorities, or forget one, still get a certificate.
        usable().find(|pair| is_issued_by(&pair.cert, authorities)).or_else(|| usable().next()).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}
