//! The user that an image's config names, as numbers from the image's own files.

use vmroot_layer_index::InodeKind;
use vmroot_users::{MAX_DATABASE, Spec, Unknown};

use crate::{ContainerFs, Error, Result};

pub use vmroot_users::User as UserIds;

impl ContainerFs {
    /// Resolves `user`, `uid`, `user:group`, `uid:gid` or a mixture in the image's `/etc/passwd` and `/etc/group`, as
    /// container engines do: digits are an id, and the entry with that id gives the primary group, 0 without one; a name
    /// must be there; nothing means root.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::NoSuchGroup`], and [`Error::InvalidDatabase`] when the files cannot be used.
    pub fn resolve_user(&self, user: &str) -> Result<UserIds> {
        let found = Spec::parse(user).find(&self.database("/etc/passwd")?, &self.database("/etc/group")?);
        found.map_err(|unknown| match unknown {
            Unknown::User(name) => Error::NoSuchUser(name),
            Unknown::Group(name) => Error::NoSuchGroup(name),
        })
    }

    /// The bytes of a file of users; none when the image has no such file.
    fn database(&self, path: &'static str) -> Result<Vec<u8>> {
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
