//! The installed version of a VMM.

use std::fmt;
use std::io;
use std::process::{Command, Stdio};

use crate::{Error, Result};

/// The major and minor numbers of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32);

impl Version {
    /// Returns the version of a program, or `None` if its output has no version.
    ///
    /// # Errors
    /// - [`Error::MissingProgram`] if the program is not installed.
    /// - [`Error::Io`] if it cannot be started.
    pub(crate) fn of(program: &str) -> Result<Option<Self>> {
        let mut command = Command::new(program);
        let output = command.arg("--version").stdin(Stdio::null()).output().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::MissingProgram { program: program.to_owned() },
            _ => Error::io("start", program)(source),
        })?;
        Ok(Self::in_text(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Returns the first `N.N` of a text.
    fn in_text(text: &str) -> Option<Self> {
        let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
        words.filter_map(|word| word.split_once('.')).find_map(|(major, rest)| {
            let minor = rest.split('.').next().unwrap_or_default();
            Some(Self(major.parse().ok()?, minor.parse().ok()?))
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outputs of real programs.
    #[test]
    fn versions_are_parsed_from_real_outputs() {
        for (text, expected) in [
            ("Firecracker v1.7.0\n\nSupported snapshot data format versions: v1.0.0\n", Some(Version(1, 7))),
            ("cloud-hypervisor v51.1.0\n", Some(Version(51, 1))),
            ("cloud-hypervisor v39.0\n", Some(Version(39, 0))),
            ("cloud-hypervisor v52.0-12-gabcdef.dirty", Some(Version(52, 0))),
            ("Firecracker v1.10.0-dev", Some(Version(1, 10))),
            ("unknown", None),
            ("99999999999.1", None),
        ] {
            assert_eq!(Version::in_text(text), expected, "{text}");
        }
        assert!(Version(1, 10) > Version(1, 8));
    }

    #[test]
    fn a_missing_vmm_is_named() {
        let error = Version::of("vmroot-no-such-vmm").unwrap_err().to_string();
        assert_eq!(error, "vmroot-no-such-vmm is not installed");
    }
}
