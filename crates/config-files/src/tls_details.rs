//! The file of `--tls-details` (containers-tls-details.yaml(5)).

use std::path::Path;

use serde::Deserialize;
use vmroot_registry::tls::{TlsDetails, TlsVersion};

use crate::{Error, Result, text_file};

/// The members of the file. Others are errors.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct File {
    min_version: String,
    cipher_suites: Option<Vec<String>>,
    named_groups: Option<Vec<String>>,
}

/// Reads a YAML file with the parts of TLS that connections may use: `minVersion`, `cipherSuites` and `namedGroups`. All
/// are optional.
///
/// # Errors
/// - [`Error::Io`]: the file cannot be read, or does not exist.
/// - [`Error::Syntax`]: it is not such a file.
/// - [`Error::Invalid`]: a name in it does not exist, or it allows nothing that makes a connection.
pub fn read_tls_details(path: &Path) -> Result<TlsDetails> {
    let missing = || Error::io("read", path)(rustix::io::Errno::NOENT.into());
    let text = text_file::read(path)?.ok_or_else(missing)?;
    let file: File = serde_saphyr::from_str(&text)
        .map_err(|error| Error::Syntax { path: path.to_owned(), reason: error.to_string() })?;
    let version = match file.min_version.as_str() {
        "" => None,
        // Earlier versions are never used.
        "1.0" | "1.1" | "1.2" => Some(TlsVersion::Tls12),
        "1.3" => Some(TlsVersion::Tls13),
        other => return Err(Error::invalid(path, format!("minVersion: {other:?} is not a version of TLS"))),
    };
    TlsDetails::new(version, file.cipher_suites, file.named_groups).map_err(|reason| Error::invalid(path, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TlsDetails> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_tls_details(file.path())
    }

    #[test]
    fn the_files_of_container_libs() {
        let all = "minVersion: \"1.2\"\ncipherSuites:\n  - \"TLS_AES_128_GCM_SHA256\"\n  - \"TLS_CHACHA20_POLY1305_SHA256\"\nnamedGroups:\n  - \"secp256r1\"\n  - \"secp384r1\"\n  - \"x25519\"\n";
        let provider = read(all).unwrap().provider();
        assert_eq!((provider.cipher_suites.len(), provider.kx_groups.len()), (2, 3));
        assert_eq!(read("minVersion: \"1.3\"\n").unwrap().versions().len(), 1);
        assert_eq!(read("{}").unwrap().versions().len(), 2);
        assert_eq!(read("minVersion: \"\"\nnamedGroups: []\n").unwrap().versions().len(), 2);
    }

    #[test]
    fn other_files_are_refused() {
        for (text, reason) in [
            ("minVersion: \"1.4\"", "minVersion: \"1.4\" is not a version"),
            ("cipherSuites: [TLS_NO]", "\"TLS_NO\" is not a cipher suite"),
            ("cipherSuites: []", "none of its cipher suites"),
            ("namedGroups: [x448]", "\"x448\" is not a named group"),
            ("minversion: \"1.2\"", "minversion"),
            ("[1, 2]", ""),
        ] {
            let error = read(text).unwrap_err();
            assert!(vmroot_errors::with_causes(&error).contains(reason), "{text}: {error}");
        }
        assert!(matches!(read_tls_details(Path::new("/no/such/file")), Err(Error::Io { .. })));
    }
}
