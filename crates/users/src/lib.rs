//! Resolving the user of an image's config with the `/etc/passwd` and `/etc/group` of its root.
//!
//! [`UserSpec::parse`] parses `user`, `uid`, `user:group`, `uid:gid` or a mixture. [`UserSpec::resolve`] looks it up in
//! the bytes of the two files. As in container engines, digits are always an id, even if an entry has them as its name.
//! The init in the guest and the tools on the host use the same rules through this crate.

mod database;

use std::fmt;

use database::{GroupEntry, PasswdEntry};

/// The largest `/etc/passwd` or `/etc/group` that is read, in bytes.
pub const MAX_DATABASE: u64 = 16 << 20;

/// An id or a name of a user or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameOrId<'a> {
    /// An id.
    Id(u32),
    /// The name of an entry.
    Name(&'a str),
}

/// The `user` of an image's config, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserSpec<'a> {
    /// The user.
    pub user: NameOrId<'a>,
    /// The group, if the config has one.
    pub group: Option<NameOrId<'a>>,
}

/// The ids and the home directory of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user id.
    pub uid: u32,
    /// The id of the primary group.
    pub gid: u32,
    /// The ids of the supplementary groups, which have the user as a member. Empty if the config has a group.
    pub groups: Vec<u32>,
    /// The home directory, if `/etc/passwd` has one for the user.
    pub home: Option<String>,
}

/// The error for a name without an entry, or for digits that are not a valid id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownName {
    /// The user is unknown.
    User(String),
    /// The group is unknown.
    Group(String),
}

impl<'a> NameOrId<'a> {
    /// Parses digits as an id, and any other text as a name.
    pub fn parse(text: &'a str) -> Self {
        database::parse_id(text.as_bytes()).map_or(Self::Name(text), Self::Id)
    }

    /// Returns whether this is the name of an entry.
    ///
    /// Digits out of the range of ids are not a name either. They were meant as an id, and an entry with such a name
    /// would give the rights of another user.
    fn matches_name(self, entry: &[u8]) -> bool {
        match self {
            Self::Id(_) => false,
            Self::Name(name) => name.as_bytes() == entry && !entry.iter().all(u8::is_ascii_digit),
        }
    }
}

impl<'a> UserSpec<'a> {
    /// Parses the `user` of a config. An empty user is root.
    pub fn parse(text: &'a str) -> Self {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        let user = if user.is_empty() { NameOrId::Id(0) } else { NameOrId::parse(user) };
        Self { user, group: (!group.is_empty()).then(|| NameOrId::parse(group)) }
    }

    /// Looks the user up in the bytes of `/etc/passwd` and `/etc/group`, which are empty if a file is missing.
    ///
    /// The first matching entry counts. Invalid lines are skipped. A name must have an entry. A user id without an
    /// entry has group 0.
    ///
    /// # Errors
    /// - [`UnknownName::User`] for the name of a user without an entry, or for digits that are not a valid id.
    /// - [`UnknownName::Group`] for the same with a group.
    pub fn resolve(&self, passwd: &[u8], group: &[u8]) -> Result<User, UnknownName> {
        let entry = PasswdEntry::all(passwd).find(|entry| match self.user {
            NameOrId::Id(uid) => entry.uid == uid,
            NameOrId::Name(_) => self.user.matches_name(entry.name),
        });
        let (uid, primary) = match (&entry, self.user) {
            (Some(entry), _) => (entry.uid, entry.gid),
            (None, NameOrId::Id(uid)) => (uid, 0),
            (None, NameOrId::Name(name)) => return Err(UnknownName::User(name.to_owned())),
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

fn find_group(key: NameOrId<'_>, group: &[u8]) -> Result<u32, UnknownName> {
    match key {
        NameOrId::Id(gid) => Ok(gid),
        NameOrId::Name(name) => {
            let named = GroupEntry::all(group).find(|entry| key.matches_name(entry.name));
            named.map(|entry| entry.gid).ok_or_else(|| UnknownName::Group(name.to_owned()))
        }
    }
}

/// Returns the ids of the groups that have `user` as a member, without duplicates.
fn groups_of(user: &[u8], group: &[u8]) -> Vec<u32> {
    let mut groups = Vec::new();
    for entry in GroupEntry::all(group) {
        if entry.has_member(user) && !groups.contains(&entry.gid) {
            groups.push(entry.gid);
        }
    }
    groups
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "no user {name:?} in /etc/passwd"),
            Self::Group(name) => write!(f, "no group {name:?} in /etc/group"),
        }
    }
}

impl std::error::Error for UnknownName {}
