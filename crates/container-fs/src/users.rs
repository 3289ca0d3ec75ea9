//! Resolving the user of an image's config with the files of the image.

use vmroot_layer_index::InodeKind;
use vmroot_users::{MAX_DATABASE, UnknownName, UserSpec};

use crate::{ContainerFs, Error, Result};

pub use vmroot_users::User as UserIds;

impl ContainerFs {
    /// Resolves a user with the image's `/etc/passwd` and `/etc/group`, like container engines.
    ///
    /// The text has the form `user`, `uid`, `user:group`, `uid:gid` or a mixture. An empty text means root. Digits are
    /// an id. A user id without an entry has the primary group 0. A name must have an entry.
    ///
    /// # Errors
    /// - [`Error::NoSuchUser`] and [`Error::NoSuchGroup`] for a name without an entry.
    /// - [`Error::InvalidDatabase`] when one of the files is not a regular file.
    /// - [`Error::DatabaseTooLarge`] when one of the files is larger than 16 MiB.
    /// - [`Error::TooManyLinks`] and [`Error::Contents`] when one of the files cannot be read.
    pub fn resolve_user(&self, user: &str) -> Result<UserIds> {
        let found =
            UserSpec::parse(user).resolve(&self.read_database("/etc/passwd")?, &self.read_database("/etc/group")?);
        found.map_err(|unknown| match unknown {
            UnknownName::User(name) => Error::NoSuchUser(name),
            UnknownName::Group(name) => Error::NoSuchGroup(name),
        })
    }

    /// Reads `/etc/passwd` or `/etc/group`. The result is empty if the image does not have the file.
    fn read_database(&self, path: &'static str) -> Result<Vec<u8>> {
        let ino = match self.resolve_path(path.as_bytes()) {
            Ok(resolved) => resolved.ino,
            Err(Error::NotFound(_) | Error::NotADirectory(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let stat = self.stat(ino);
        let invalid = |reason: &str| Error::InvalidDatabase { path, reason: reason.to_owned() };
        if stat.kind != InodeKind::Regular {
            return Err(invalid("is not a regular file"));
        }
        if stat.size > MAX_DATABASE {
            return Err(Error::DatabaseTooLarge { path, size: stat.size, limit: MAX_DATABASE });
        }
        let mut bytes = vec![0; stat.size as usize];
        self.read_at(ino, 0, &mut bytes)?;
        Ok(bytes)
    }
}
