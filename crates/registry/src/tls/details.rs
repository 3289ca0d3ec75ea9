//! The parts of TLS that the caller allows.

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;

/// The protocol versions, cipher suites and key exchanges of TLS that connections may use. By default, all that rustls
/// considers secure.
#[derive(Debug, Clone, Default)]
pub struct TlsDetails {
    min_version: Option<TlsVersion>,
    /// IANA names.
    cipher_suites: Option<Vec<String>>,
    /// IANA names.
    named_groups: Option<Vec<String>>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2, and the versions before it, which are never used.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

static NEW_VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// The IANA names of cipher suites that exist, and that no connection uses: rustls does not have them.
const OTHER_SUITES: [&str; 17] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_FALLBACK_SCSV",
];

/// The IANA names of key exchanges, with the names that rustls has for them.
const GROUPS: [(&str, &str); 5] = [
    ("secp256r1", "secp256r1"),
    ("secp384r1", "secp384r1"),
    ("secp521r1", "secp521r1"),
    ("x25519", "X25519"),
    ("X25519MLKEM768", "X25519MLKEM768"),
];

impl TlsDetails {
    /// Allows some parts of TLS only: versions from `min_version` on, and the cipher suites and key exchanges with these
    /// IANA names. `None` stands for all. An empty list of key exchanges does, too.
    ///
    /// Names that exist, but not in rustls, are accepted: they are never used.
    ///
    /// # Errors
    /// The reason: a name does not exist, or nothing that is left would make a connection.
    pub fn new(
        min_version: Option<TlsVersion>,
        cipher_suites: Option<Vec<String>>,
        named_groups: Option<Vec<String>>,
    ) -> Result<Self, String> {
        let named_groups = named_groups.filter(|names| !names.is_empty());
        let all = super::provider();
        let suite_exists =
            |name: &str| OTHER_SUITES.contains(&name) || all.cipher_suites.iter().any(|it| iana_name(it) == name);
        if let Some(name) = cipher_suites.iter().flatten().find(|name| !suite_exists(name)) {
            return Err(format!("{name:?} is not a cipher suite of TLS"));
        }
        let group_exists = |name: &str| GROUPS.iter().any(|(iana, _)| *iana == name);
        if let Some(name) = named_groups.iter().flatten().find(|name| !group_exists(name)) {
            return Err(format!("{name:?} is not a named group of TLS"));
        }
        let details = Self { min_version, cipher_suites, named_groups };
        let provider = details.provider();
        if provider.kx_groups.is_empty() {
            let known: Vec<String> = all.kx_groups.iter().map(|it| format!("{:?}", it.name())).collect();
            return Err(format!("none of its named groups can be used; vmroot has {}", known.join(", ")));
        }
        let usable = |version: &&SupportedProtocolVersion| {
            provider.cipher_suites.iter().any(|suite| suite.version().version == version.version)
        };
        if !details.versions().iter().any(usable) {
            return Err("none of its cipher suites can be used with its versions of TLS".to_owned());
        }
        Ok(details)
    }

    /// Returns the versions that connections may use.
    pub fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        match self.min_version {
            Some(TlsVersion::Tls13) => NEW_VERSIONS,
            _ => rustls::DEFAULT_VERSIONS,
        }
    }

    /// Returns the cryptography of the connections.
    pub fn provider(&self) -> Arc<CryptoProvider> {
        let mut provider = CryptoProvider::clone(&super::provider());
        if let Some(allowed) = &self.cipher_suites {
            provider.cipher_suites.retain(|suite| allowed.contains(&iana_name(suite)));
        }
        if let Some(allowed) = &self.named_groups {
            let is_allowed =
                |name: String| GROUPS.iter().any(|(iana, own)| *own == name && allowed.iter().any(|it| it == iana));
            provider.kx_groups.retain(|group| is_allowed(format!("{:?}", group.name())));
        }
        Arc::new(provider)
    }
}

/// Returns the IANA name of a cipher suite. That of rustls has the version of TLS 1.3 in it.
fn iana_name(suite: &rustls::SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn parts_are_allowed_by_their_iana_names() {
        let all = TlsDetails::default().provider();
        assert!(all.cipher_suites.len() > 5 && all.kx_groups.len() > 2);
        let suites = &["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA"];
        let groups = &["secp256r1", "x25519", "secp521r1"];
        let details = TlsDetails::new(Some(TlsVersion::Tls13), names(suites), names(groups)).unwrap();
        let provider = details.provider();
        assert_eq!((provider.cipher_suites.len(), provider.kx_groups.len()), (2, 2));
        assert_eq!(details.versions().len(), 1);
        let details = TlsDetails::new(None, names(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]), names(&[])).unwrap();
        assert_eq!(details.provider().kx_groups.len(), all.kx_groups.len());
        assert_eq!(details.versions().len(), 2);
    }

    #[test]
    fn names_that_make_no_connection_are_refused() {
        for (version, suites, groups, reason) in [
            (None, names(&["TLS_AES_128"]), None, "\"TLS_AES_128\" is not a cipher suite"),
            (None, None, names(&["P-256"]), "\"P-256\" is not a named group"),
            (None, names(&[]), None, "none of its cipher suites"),
            (None, names(&["TLS_RSA_WITH_AES_128_CBC_SHA"]), None, "none of its cipher suites"),
            (
                Some(TlsVersion::Tls13),
                names(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]),
                None,
                "none of its cipher suites",
            ),
            (None, None, names(&["secp521r1"]), "none of its named groups"),
        ] {
            let error = TlsDetails::new(version, suites, groups).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
