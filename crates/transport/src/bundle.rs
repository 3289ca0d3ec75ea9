//! Access to files by name, in a directory or a tar. All archive formats are read through it.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmroot_compress::Compression;
use vmroot_model::{Algorithm, Digest, Hasher};

use crate::regular::open_regular;
use crate::section::{Section, drain};
use crate::{Error, Result};

/// A set of files by name.
pub(crate) trait Bundle: Send + Sync + fmt::Debug {
    /// Returns the path of the archive or directory, for messages.
    fn path(&self) -> &Path;

    /// Finds a file. Returns `None` if there is none.
    fn find(&self, member: &str) -> Result<Option<Section>>;

    /// Returns the directory with the files, unless they are members of an archive.
    fn directory(&self) -> Option<&Path> {
        None
    }

    /// Returns whether a file is a link to one outside the set.
    fn leads_out(&self, _member: &str) -> bool {
        false
    }
}

/// A directory. Member names are never taken from an untrusted document.
///
/// Links are followed wherever they lead: build tools such as Bazel make layouts of links to files elsewhere. The bytes
/// of a blob are used only if they have its digest. For documents without a digest, see [`hide_content`].
///
/// [`hide_content`]: dyn Bundle::hide_content
#[derive(Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl Bundle for Directory {
    fn path(&self) -> &Path {
        &self.0
    }

    fn find(&self, member: &str) -> Result<Option<Section>> {
        let path = self.0.join(member);
        let file = match open_regular(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(Error::member(&self.0, member, "is not a regular file"));
            }
            Err(source) => return Err(Error::Io { action: "open", path, source }),
        };
        let len = file.metadata().map_err(Error::io("stat", &path))?.len();
        Ok(Some(Section::new(Arc::new(file), 0, len)))
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.0)
    }

    fn leads_out(&self, member: &str) -> bool {
        match (fs::canonicalize(&self.0), fs::canonicalize(self.0.join(member))) {
            (Ok(directory), Ok(file)) => !file.starts_with(directory),
            // It is gone by now.
            _ => false,
        }
    }
}

impl dyn Bundle + '_ {
    /// Finds a file that must exist. `role` is its purpose, for the error.
    pub(crate) fn require(&self, member: &str, role: &'static str) -> Result<Section> {
        let missing = || Error::Missing { path: self.path().to_owned(), role, member: member.to_owned() };
        self.find(member)?.ok_or_else(missing)
    }

    /// Reads a whole file of at most `limit` bytes.
    pub(crate) fn read(&self, member: &str, mut section: Section, limit: u64) -> Result<Vec<u8>> {
        if section.len() > limit {
            return Err(Error::member_too_large(self.path(), member, section.len(), limit));
        }
        let mut bytes = Vec::new();
        section.read_to_end(&mut bytes).map_err(Error::io("read", self.path()))?;
        Ok(bytes)
    }

    /// Replaces an error from the content of a document without a digest, if the document is a link that leads out of the
    /// bundle. The message could have content of a file that is no part of an image, such as a file with credentials.
    pub(crate) fn hide_content(&self, member: &str, error: Error) -> Error {
        match self.leads_out(member) {
            true => Error::member(self.path(), member, "is a link to a file elsewhere, which is not such a document"),
            false => error,
        }
    }

    /// Checks that the bytes of `member` have a digest.
    pub(crate) fn check_digest(&self, member: &str, bytes: &[u8], digest: &Digest) -> Result<()> {
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(bytes);
        let actual = hasher.finish();
        if actual == *digest {
            return Ok(());
        }
        Err(Error::DigestMismatch { path: self.path().to_owned(), member: member.to_owned(), digest: *digest, actual })
    }

    /// Returns the SHA-256 digest of everything that `reader` reads from this bundle.
    pub(crate) fn digest(&self, mut reader: impl Read) -> Result<Digest> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let hashed = drain(&mut reader, |bytes| {
            hasher.update(bytes);
            Ok(())
        });
        hashed.map_err(|error| self.read_error(error))?;
        Ok(hasher.finish())
    }

    /// Detects the compression of a file.
    pub(crate) fn sniff(&self, section: &Section) -> Result<Compression> {
        section.sniff().map_err(Error::io("read", self.path()))
    }

    fn read_error(&self, error: io::Error) -> Error {
        read_error(self.path(), error)
    }
}

/// Converts an error of a reader, which may be a decoder.
pub(crate) fn read_error(path: &Path, error: io::Error) -> Error {
    let path = path.to_owned();
    match vmroot_compress::Error::from(error) {
        // A source that is read through a network has errors of its own.
        vmroot_compress::Error::Io(source) => match source.downcast::<Error>() {
            Ok(error) => error,
            Err(source) => Error::Io { action: "read", path, source },
        },
        source => Error::Decompress { path, source },
    }
}
