//! Alternative names of certificates.

use der::asn1::{AnyRef, Utf8StringRef};
use x509_cert::ext::pkix::name::GeneralName;

/// The type of otherName that Fulcio uses for user names.
const FULCIO_OTHER_NAME: &str = "1.3.6.1.4.1.57264.1.7";

/// An alternative name of a certificate (RFC 5280, 4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AlternativeName {
    /// An email address.
    Email(String),
    /// A host name, possibly with `*` as its first label.
    Dns(String),
    /// A URI, such as a workflow of a forge.
    Uri(String),
    /// A name of Fulcio's own type, 1.3.6.1.4.1.57264.1.7.
    Other(String),
}

impl AlternativeName {
    /// Returns the name without its type.
    pub fn text(&self) -> &str {
        match self {
            Self::Email(text) | Self::Dns(text) | Self::Uri(text) | Self::Other(text) => text,
        }
    }

    /// Returns a name, unless its type is one that no signer is known by.
    pub(super) fn of(name: &GeneralName) -> Option<Self> {
        match name {
            GeneralName::Rfc822Name(text) => Some(Self::Email(text.to_string())),
            GeneralName::DnsName(text) => Some(Self::Dns(text.to_string())),
            GeneralName::UniformResourceIdentifier(text) => Some(Self::Uri(text.to_string())),
            GeneralName::OtherName(other) if other.type_id.to_string() == FULCIO_OTHER_NAME => {
                let text = AnyRef::from(&other.value).decode_as::<Utf8StringRef<'_>>().ok()?;
                Some(Self::Other(text.as_str().to_owned()))
            }
            _ => None,
        }
    }
}

/// Returns whether the host is the one of a name (RFC 6125, 6.4.3): `*` stands for the whole first label.
pub(super) fn matches(name: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_valid = |host: &str| !host.is_empty() && !host.split('.').any(str::is_empty);
    if !is_valid(host) || !is_valid(name) {
        return false;
    }
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        assert!(matches("*.example.com", "A.Example.com."));
        assert!(matches("host.example.com", "HOST.example.com"));
        for (name, host) in [
            ("*.example.com", "example.com"),
            ("*.example.com", "a.b.example.com"),
            ("a*.example.com", "ab.example.com"),
            ("*.example.com", ".example.com"),
            ("", ""),
            ("example.com", "example.com.evil"),
        ] {
            assert!(!matches(name, host), "{name} {host}");
        }
    }
}
