//! The file `version` of a `dir:` directory.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use super::{VERSION, VERSION_LIMIT};
use crate::regular::open_regular;
use crate::{Error, Result};

const PREFIX: &str = "Directory Transport Version: ";

/// The version of a `dir:` directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    /// The version of directories whose files are named by SHA-256.
    pub(super) const USUAL: Self = Self { major: 1, minor: 1 };
    /// The version of directories with names that have an algorithm. It is the newest.
    pub(super) const WITH_OTHER_DIGESTS: Self = Self { major: 1, minor: 2 };

    /// Parses the content of the file. It must have exactly the form in which it is written.
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.strip_prefix(PREFIX)?.strip_suffix('\n')?.split_once('.')?;
        let version = Self { major: major.parse().ok()?, minor: minor.parse().ok()? };
        (version.to_string() == text).then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{PREFIX}{}.{}", self.major, self.minor)
    }
}

/// The content of the file `version`.
#[derive(Debug)]
pub(super) struct VersionFile(pub(super) Vec<u8>);

impl VersionFile {
    /// Reads the file in a directory, if there is one.
    pub(super) fn read_in(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(VERSION);
        let file = match open_regular(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        let mut bytes = Vec::new();
        file.take(VERSION_LIMIT).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
        Ok(Some(Self(bytes)))
    }

    /// Returns the version, if it is known. `directory` is for messages.
    pub(super) fn check(&self, directory: &Path) -> Result<Version> {
        let version = std::str::from_utf8(&self.0).ok().and_then(Version::parse);
        match version {
            Some(version) if version <= Version::WITH_OTHER_DIGESTS => Ok(version),
            Some(Version { major, minor }) => {
                let newest = Version::WITH_OTHER_DIGESTS;
                let reason =
                    format!("has version {major}.{minor}; {}.{} is the newest known", newest.major, newest.minor);
                Err(Error::member(directory, VERSION, reason))
            }
            None => {
                let start = String::from_utf8_lossy(&self.0[..self.0.len().min(80)]).into_owned();
                Err(Error::member(directory, VERSION, format!("is not the version of a dir: directory: {start:?}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_and_known_versions() {
        let check = |text: &str| VersionFile(text.as_bytes().to_vec()).check(Path::new("d"));
        assert_eq!(check("Directory Transport Version: 1.1\n").unwrap(), Version::USUAL);
        assert_eq!(check("Directory Transport Version: 1.2\n").unwrap(), Version::WITH_OTHER_DIGESTS);
        assert!(check("Directory Transport Version: 1.0\n").is_ok());
        assert!(check("Directory Transport Version: 0.9\n").is_ok());
        for (text, reason) in [
            ("Directory Transport Version: 1.3\n", "has version 1.3; 1.2 is the newest known"),
            ("Directory Transport Version: 2.0\n", "has version 2.0"),
            ("Directory Transport Version: 1.1", "not the version"),
            ("Directory Transport Version: 1.01\n", "not the version"),
            ("Directory Transport Version:  1.1\n", "not the version"),
            ("Directory Transport Version: 1.1\n\n", "not the version"),
            ("Directory Transport Version: +1.1\n", "not the version"),
            ("1.1\n", "not the version"),
            ("", "not the version"),
        ] {
            let error = check(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }
}
