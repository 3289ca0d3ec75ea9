//! The user that an image's config names, as numbers from the root's own `/etc/passwd` and `/etc/group`.
//!
//! [`Spec::parse`] reads `user`, `uid`, `user:group`, `uid:gid` or a mixture, and [`Spec::find`] looks it up in the bytes of
//! the two files. The rule is that of container engines: digits are an id and never a name, even where an entry has that
//! name. The program that looks at an image and the init inside the guest both use this crate, so they agree.

mod database;

use std::fmt;

use database::{GroupEntry, PasswdEntry};

/// The largest `/etc/passwd` or `/etc/group` that is read, in bytes.
pub const MAX_DATABASE: u64 = 16 << 20;

/// What a user or a group is looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// An id.
    Id(u32),
    /// The name of an entry.
    Name(&'a str),
}

/// The user of an image's config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec<'a> {
    /// The user.
    pub user: Key<'a>,
    /// The group, where one is named.
    pub group: Option<Key<'a>>,
}

/// A user as the kernel knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user id.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// Supplementary groups: those that list the user, when the config names no group.
    pub groups: Vec<u32>,
    /// The home directory, when `/etc/passwd` has the user and a home for it.
    pub home: Option<String>,
}

/// A name that the files do not have, or digits that are no id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// A user.
    User(String),
    /// A group.
    Group(String),
}

impl<'a> Key<'a> {
    /// Reads digits as an id, and everything else as a name.
    pub fn parse(text: &'a str) -> Self {
        database::id(text.as_bytes()).map_or(Self::Name(text), Self::Id)
    }

    /// Whether it is the name of an entry. Digits beyond all ids are no name: they were meant as a number, and an entry that
    /// is called so would give another user's rights.
    fn names(self, entry: &[u8]) -> bool {
        match self {
            Self::Id(_) => false,
            Self::Name(name) => name.as_bytes() == entry && !entry.iter().all(u8::is_ascii_digit),
        }
    }
}

impl<'a> Spec<'a> {
    /// Reads the `user` of a config; an empty one is root.
    pub fn parse(text: &'a str) -> Self {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        let user = if user.is_empty() { Key::Id(0) } else { Key::parse(user) };
        Self { user, group: (!group.is_empty()).then(|| Key::parse(group)) }
    }

    /// Looks the user up in the bytes of the two files; a file that is missing has none. The first entry that fits counts,
    /// and lines that are no entries are passed over.
    ///
    /// A name must be there. An id need not, and has group 0 then.
    ///
    /// # Errors
    /// [`Unknown`].
    pub fn find(&self, passwd: &[u8], group: &[u8]) -> Result<User, Unknown> {
        let entry = PasswdEntry::all(passwd).find(|entry| match self.user {
            Key::Id(uid) => entry.uid == uid,
            Key::Name(_) => self.user.names(entry.name),
        });
        let (uid, primary) = match (&entry, self.user) {
            (Some(entry), _) => (entry.uid, entry.gid),
            (None, Key::Id(uid)) => (uid, 0),
            (None, Key::Name(name)) => return Err(Unknown::User(name.to_owned())),
        };
        let (gid, groups) = match (self.group, &entry) {
            (Some(key), _) => (find_group(key, group)?, Vec::new()),
            (None, Some(entry)) => (primary, groups_of(entry.name, group)),
            (None, None) => (primary, Vec::new()),
        };
        let home = entry.map(|entry| String::from_utf8_lossy(entry.home).into_owned());
        Ok(User { uid, gid, groups, home: home.filter(|home| !home.is_empty()) })
    }
}

fn find_group(key: Key<'_>, group: &[u8]) -> Result<u32, Unknown> {
    match key {
        Key::Id(gid) => Ok(gid),
        Key::Name(name) => {
            let named = GroupEntry::all(group).find(|entry| key.names(entry.name));
            named.map(|entry| entry.gid).ok_or_else(|| Unknown::Group(name.to_owned()))
        }
    }
}

fn groups_of(user: &[u8], group: &[u8]) -> Vec<u32> {
    let mut groups = Vec::new();
    for entry in GroupEntry::all(group) {
        if entry.has(user) && !groups.contains(&entry.gid) {
            groups.push(entry.gid);
        }
    }
    groups
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "no user {name:?} in /etc/passwd"),
            Self::Group(name) => write!(f, "no group {name:?} in /etc/group"),
        }
    }
}

impl std::error::Error for Unknown {}
