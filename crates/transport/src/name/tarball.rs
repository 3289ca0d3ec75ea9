//! Names of images made of plain tars: `tarball:FILE[:FILE…]`.

use std::fmt;
use std::path::{Path, PathBuf};

/// The name for standard input.
pub(super) const STANDARD_INPUT: &str = "-";

/// The files of a `tarball:` name. Each is one layer, the base layer first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarballName {
    files: Vec<PathBuf>,
}

impl TarballName {
    /// Parses the part of a name after `tarball:`. Returns the reason if it is invalid.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let files: Vec<PathBuf> = text.split(':').map(PathBuf::from).collect();
        if files.iter().any(|file| file.as_os_str().is_empty()) {
            return Err("a path is empty".to_owned());
        }
        if files.iter().filter(|file| Self::is_standard_input(file)).count() > 1 {
            return Err("standard input, -, can be only one layer".to_owned());
        }
        Ok(Self { files })
    }

    /// Returns the paths, the base layer first. `-` is standard input, at most once.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Returns whether a path of the name stands for standard input.
    pub fn is_standard_input(file: &Path) -> bool {
        file.as_os_str() == STANDARD_INPUT
    }
}

impl fmt::Display for TarballName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, file) in self.files.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(f, "{separator}{}", file.display())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_separates_the_files() {
        for (text, wanted) in
            [("a.tar", &["a.tar"][..]), ("-", &["-"]), ("/b/c.tar.gz:-:d", &["/b/c.tar.gz", "-", "d"])]
        {
            let name = TarballName::parse(text).unwrap();
            assert_eq!(name.files(), wanted.iter().map(PathBuf::from).collect::<Vec<_>>());
            assert_eq!(name.to_string(), text);
        }
        for text in ["", ":", "a:", ":a", "a::b", "-:-"] {
            assert!(TarballName::parse(text).is_err(), "{text}");
        }
    }
}
