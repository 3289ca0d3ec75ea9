//! The user that an image's config names, as numbers from the image's own files.

use vmroot_layer_index::InodeKind;

use crate::{ContainerFs, Error, Result};

/// The largest `/etc/passwd` or `/etc/group` that is read, in bytes.
const MAX_DATABASE: u64 = 16 << 20;

/// Who a process of the image runs as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserIds {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// Supplementary groups: those that list the user, when the config names no group.
    pub groups: Vec<u32>,
    /// The home directory, when `/etc/passwd` has the user.
    pub home: Option<String>,
}

impl ContainerFs {
    /// Resolves `user`, `uid`, `user:group`, `uid:gid` or a mixture in the image's `/etc/passwd` and `/etc/group`, as
    /// container engines do: a name must be there; a number need not, and has group 0 then; nothing means root.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::NoSuchGroup`], and [`Error::InvalidDatabase`] when the files cannot be used.
    pub fn resolve_user(&self, user: &str) -> Result<UserIds> {
        let (user, group) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
        let mut ids = UserIds::default();
        let mut name = None;
        let user = if user.is_empty() { "0" } else { user };
        match self.passwd_entry(user)? {
            Some(entry) => {
                (ids.uid, ids.gid, ids.home) = (entry.uid, entry.gid, Some(entry.home));
                name = Some(entry.name);
            }
            None => ids.uid = user.parse().map_err(|_| Error::NoSuchUser(user.to_owned()))?,
        }
        match (group.filter(|group| !group.is_empty()), name) {
            (Some(group), _) => ids.gid = self.group(group)?,
            (None, Some(name)) => ids.groups = self.groups_of(&name)?,
            (None, None) => {}
        }
        Ok(ids)
    }

    fn passwd_entry(&self, user: &str) -> Result<Option<PasswdEntry>> {
        let lines = self.database("/etc/passwd")?;
        Ok(lines
            .lines()
            .filter_map(PasswdEntry::parse)
            .find(|entry| entry.name == user || same_number(user, entry.uid)))
    }

    fn group(&self, group: &str) -> Result<u32> {
        let lines = self.database("/etc/group")?;
        let found =
            lines.lines().filter_map(group_line).find(|(name, gid, _)| *name == group || same_number(group, *gid));
        match found {
            Some((_, gid, _)) => Ok(gid),
            None => group.parse().map_err(|_| Error::NoSuchGroup(group.to_owned())),
        }
    }

    fn groups_of(&self, user: &str) -> Result<Vec<u32>> {
        let lines = self.database("/etc/group")?;
        let listing = lines
            .lines()
            .filter_map(group_line)
            .filter(|(_, _, members)| members.split(',').any(|member| member == user));
        Ok(listing.map(|(_, gid, _)| gid).collect())
    }

    /// The text of a file of users; empty when the image has none. Bytes that are not UTF-8 match no name.
    fn database(&self, path: &'static str) -> Result<String> {
        let ino = match self.resolve_path(path.as_bytes()) {
            Ok(resolved) => resolved.ino,
            Err(Error::NotFound(_) | Error::NotADirectory(_)) => return Ok(String::new()),
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
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

struct PasswdEntry {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

impl PasswdEntry {
    /// `name:password:uid:gid:comment:home:shell` (passwd(5)); other lines are passed over.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<_> = line.trim().split(':').collect();
        let [name, _, uid, gid, ..] = fields[..] else { return None };
        let home = fields.get(5).copied().unwrap_or_default().to_owned();
        Some(Self { name: name.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    }
}

/// `name:password:gid:members` (group(5)).
fn group_line(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.trim().split(':');
    let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
    Some((name, gid.parse().ok()?, fields.next().unwrap_or_default()))
}

fn same_number(text: &str, number: u32) -> bool {
    text.parse() == Ok(number)
}
