//! The file of `--sign-by-sigstore` (containers-sigstore-signing-params.yaml(5)).

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::{Error, Result, text_file};

/// The key that the file names for signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SigningParameters {
    /// The file with the private key.
    pub private_key_file: PathBuf,
    /// The file whose first line is the passphrase of the key.
    pub passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct File {
    private_key_file: Option<PathBuf>,
    private_key_passphrase_file: Option<PathBuf>,
    fulcio: Option<IgnoredAny>,
    #[serde(rename = "rekorURL")]
    rekor_url: Option<IgnoredAny>,
}

impl SigningParameters {
    /// Reads the file. The parts that need a service of sigstore are refused.
    ///
    /// # Errors
    /// - [`Error::Io`]: the file cannot be read.
    /// - [`Error::Syntax`]: it is not YAML, or has an unknown key.
    /// - [`Error::Invalid`]: it names no private key, or a service.
    pub fn read(path: &Path) -> Result<Self> {
        let missing = || Error::io("read", path)(std::io::Error::from(std::io::ErrorKind::NotFound));
        Self::parse(path, &text_file::read(path)?.ok_or_else(missing)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Self> {
        let options = serde_saphyr::options! { with_snippet: false };
        let file: Option<File> = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| Error::Syntax { path: path.to_owned(), reason: error.to_string() })?;
        let file = file.unwrap_or_default();
        for (key, is_set) in [("fulcio", file.fulcio.is_some()), ("rekorURL", file.rekor_url.is_some())] {
            if is_set {
                return Err(Error::invalid(
                    path,
                    format!("{key} needs a service of sigstore, which vmroot does not use"),
                ));
            }
        }
        let private_key_file =
            file.private_key_file.ok_or_else(|| Error::invalid(path, "privateKeyFile is missing"))?;
        Ok(Self { private_key_file, passphrase_file: file.private_key_passphrase_file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_keys_are_accepted() {
        let parse = |text: &str| SigningParameters::parse("params.yaml".as_ref(), text);
        let parameters = parse("privateKeyFile: /k\nprivateKeyPassphraseFile: /p\n").unwrap();
        assert_eq!(parameters.private_key_file, Path::new("/k"));
        assert_eq!(parameters.passphrase_file.as_deref(), Some(Path::new("/p")));
        for (text, reason) in [
            ("", "privateKeyFile is missing"),
            ("privateKeyFile: /k\nrekorURL: https://x\n", "rekorURL"),
            ("fulcio: {fulcioURL: https://x}\n", "fulcio"),
            ("privateKeyFiles: /k\n", "privateKeyFiles"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
