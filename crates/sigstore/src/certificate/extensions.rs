//! Extensions of certificates that decide about trust.

use der::asn1::{ObjectIdentifier, Utf8StringRef};
use der::{Decode as _, oid::AssociatedOid as _};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies, ExtendedKeyUsage, KeyUsage, NameConstraints,
    SubjectAltName, SubjectKeyIdentifier,
};

use super::{AlternativeName, malformed};
use crate::error::Result;

/// Fulcio's issuer as raw text.
pub(crate) const ISSUER_V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
/// Fulcio's issuer as the DER of a UTF8String.
const ISSUER_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
/// The certificate timestamps of RFC 6962, 3.3.
pub(crate) const SCT_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");

/// The extensions, read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extensions {
    /// Whether the certificate may sign others, if basic constraints are there, and the largest path below it.
    pub(crate) basic: Option<(bool, Option<u8>)>,
    pub(crate) key_usage: Option<KeyUsage>,
    /// The extended key usages, and whether they are critical.
    pub(crate) usages: Option<(Vec<ObjectIdentifier>, bool)>,
    pub(crate) names: Vec<AlternativeName>,
    pub(crate) issuer_v1: Option<String>,
    pub(crate) issuer_v2: Option<String>,
    /// The TLS encoding of a list of SCTs.
    pub(crate) scts: Option<Vec<u8>>,
    /// Whether there is an extension that this crate does not apply: a critical one, or name constraints.
    pub(crate) unsupported: Option<ObjectIdentifier>,
}

impl Extensions {
    pub(super) fn read(certificate: &x509_cert::Certificate) -> Result<Self> {
        let mut read = Self::default();
        let extensions = certificate.tbs_certificate.extensions.as_deref().unwrap_or_default();
        for (index, extension) in extensions.iter().enumerate() {
            if extensions[..index].iter().any(|earlier| earlier.extn_id == extension.extn_id) {
                return Err(malformed(format!("it has the extension {} twice", extension.extn_id)));
            }
            read.add(extension)?;
        }
        Ok(read)
    }

    fn add(&mut self, extension: &Extension) -> Result<()> {
        let value = extension.extn_value.as_bytes();
        match extension.extn_id {
            BasicConstraints::OID => {
                let basic = BasicConstraints::from_der(value).map_err(malformed)?;
                self.basic = Some((basic.ca, basic.path_len_constraint));
            }
            KeyUsage::OID => self.key_usage = Some(KeyUsage::from_der(value).map_err(malformed)?),
            ExtendedKeyUsage::OID => {
                let usages = ExtendedKeyUsage::from_der(value).map_err(malformed)?;
                self.usages = Some((usages.0, extension.critical));
            }
            SubjectAltName::OID => {
                let names = SubjectAltName::from_der(value).map_err(malformed)?;
                self.names = names.0.iter().filter_map(AlternativeName::of).collect();
            }
            ISSUER_V1 => {
                let text = std::str::from_utf8(value).map_err(malformed)?;
                self.issuer_v1 = Some(text.to_owned());
            }
            ISSUER_V2 => {
                let text = Utf8StringRef::from_der(value).map_err(malformed)?;
                self.issuer_v2 = Some(text.as_str().to_owned());
            }
            SCT_LIST => {
                let list = der::asn1::OctetStringRef::from_der(value).map_err(malformed)?;
                self.scts = Some(list.as_bytes().to_vec());
            }
            SubjectKeyIdentifier::OID | AuthorityKeyIdentifier::OID | CertificatePolicies::OID => {}
            other if extension.critical || other == NameConstraints::OID => self.unsupported = Some(other),
            _ => {}
        }
        Ok(())
    }
}
