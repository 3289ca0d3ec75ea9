//! Who the command runs as: names of the root's `/etc/passwd` and `/etc/group`, looked up without libc, whose lookups a
//! static program cannot have.

use std::io;
use std::path::Path;

use crate::config::Config;
use crate::{Error, Result, document};

/// The largest `/etc/passwd` or `/etc/group` that is read, in bytes.
const MAX_DATABASE: u64 = 16 << 20;

/// Who the command runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    /// The home directory; `/` when `/etc/passwd` does not know.
    pub(crate) home: String,
}

/// Resolves the config's `user`, in any of the forms `user`, `uid`, `user:group`, `uid:gid` and mixtures, as container
/// engines do. Numbers that the config has already are taken before those of the files.
///
/// # Errors
/// [`Error::NoSuchUser`], [`Error::NoSuchGroup`], and what makes the files unreadable.
pub(crate) fn resolve(config: &Config, root: &Path) -> Result<User> {
    let passwd = database(&root.join("etc/passwd"))?;
    let (name, group) = config.user.split_once(':').unwrap_or((&config.user, ""));
    let name = if name.is_empty() { "0" } else { name };
    let named = passwd.lines().filter_map(Entry::parse).find(|entry| entry.name == name || is(name, entry.uid));
    let uid = match (config.uid, &named) {
        (Some(uid), _) => uid,
        (None, Some(entry)) => entry.uid,
        (None, None) => number(name).ok_or_else(|| Error::NoSuchUser(name.to_owned()))?,
    };
    // The files may have changed since the config was made; the number counts, and names its own entry.
    let entry = named.filter(|entry| entry.uid == uid);
    let entry = entry.or_else(|| passwd.lines().filter_map(Entry::parse).find(|entry| entry.uid == uid));
    let groups = database(&root.join("etc/group"))?;
    let gid = match (config.gid, group, &entry) {
        (Some(gid), _, _) => gid,
        (None, "", Some(entry)) => entry.gid,
        (None, "", None) => 0,
        (None, group, _) => self::group(&groups, group)?,
    };
    let supplementary = match (&config.groups, group, &entry) {
        (Some(groups), _, _) => groups.clone(),
        (None, "", Some(entry)) => groups_of(&groups, entry.name),
        (None, _, _) => Vec::new(),
    };
    let home = entry.map(|entry| entry.home).filter(|home| !home.is_empty()).unwrap_or("/").to_owned();
    Ok(User { uid, gid, groups: supplementary, home })
}

/// The text of a file of users; empty when the root has none. Bytes that are not UTF-8 match no name.
fn database(path: &Path) -> Result<String> {
    match document::read(path, MAX_DATABASE) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Entry<'a> {
    /// `name:password:uid:gid:comment:home:shell` (passwd(5)); other lines are passed over.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let home = fields.nth(1).unwrap_or_default();
        Some(Self { name, uid: number(uid)?, gid: number(gid)?, home })
    }
}

/// `name:password:gid:members` (group(5)).
fn group_line(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.trim().split(':');
    let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
    Some((name, number(gid)?, fields.next().unwrap_or_default()))
}

fn group(groups: &str, group: &str) -> Result<u32> {
    let found = groups.lines().filter_map(group_line).find(|(name, gid, _)| *name == group || is(group, *gid));
    found.map(|(_, gid, _)| gid).or_else(|| number(group)).ok_or_else(|| Error::NoSuchGroup(group.to_owned()))
}

fn groups_of(groups: &str, user: &str) -> Vec<u32> {
    let lists = |members: &str| members.split(',').any(|member| member == user);
    groups.lines().filter_map(group_line).filter(|(_, _, members)| lists(members)).map(|(_, gid, _)| gid).collect()
}

/// A user's or a group's number: (uid_t) -1 is none.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&number| number != u32::MAX)
}

fn is(text: &str, id: u32) -> bool {
    number(text) == Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:1001::/home/app:/bin/sh\n2000:x:7:8::/seven:\n";
    const GROUP: &str = "root:x:0:\nvideo:x:44:app,other\naudio:x:29:app\napp:x:1001:\n";

    fn resolve(user: &str, change: impl FnOnce(&mut Config)) -> Result<User> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/passwd"), PASSWD).unwrap();
        std::fs::write(root.path().join("etc/group"), GROUP).unwrap();
        let mut config = Config { user: user.to_owned(), ..Config::default() };
        change(&mut config);
        super::resolve(&config, root.path())
    }

    fn user(uid: u32, gid: u32, groups: &[u32], home: &str) -> User {
        User { uid, gid, groups: groups.to_vec(), home: home.to_owned() }
    }

    #[test]
    fn every_form_of_a_user() {
        for (text, expected) in [
            ("", user(0, 0, &[], "/root")),
            ("root", user(0, 0, &[], "/root")),
            ("app", user(1000, 1001, &[44, 29], "/home/app")),
            ("1000", user(1000, 1001, &[44, 29], "/home/app")),
            ("1000:audio", user(1000, 29, &[], "/home/app")),
            ("app:5", user(1000, 5, &[], "/home/app")),
            ("4711", user(4711, 0, &[], "/")),
            ("4711:4712", user(4711, 4712, &[], "/")),
            // A name of digits is a name first, as in container engines.
            ("2000", user(7, 8, &[], "/seven")),
        ] {
            assert_eq!(resolve(text, |_| ()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn unknown_names_are_named() {
        for text in ["nobody", "-1", "4294967295", "4294967296"] {
            assert!(matches!(resolve(text, |_| ()), Err(Error::NoSuchUser(name)) if name == text));
        }
        assert!(matches!(resolve("app:none", |_| ()), Err(Error::NoSuchGroup(name)) if name == "none"));
    }

    #[test]
    fn numbers_of_the_config_come_first() {
        let known = |config: &mut Config| (config.uid, config.gid) = (Some(1000), Some(3));
        assert_eq!(resolve("gone", known).unwrap(), user(1000, 3, &[44, 29], "/home/app"));
        assert_eq!(resolve("app", |config| config.groups = Some(vec![6])).unwrap().groups, [6]);
    }

    #[test]
    fn a_root_without_files_has_numbers_and_root() {
        let empty = tempfile::tempdir().unwrap();
        let resolve = |user: &str| super::resolve(&Config { user: user.to_owned(), ..Config::default() }, empty.path());
        assert_eq!(resolve("").unwrap(), user(0, 0, &[], "/"));
        assert_eq!(resolve("5:6").unwrap(), user(5, 6, &[], "/"));
        assert!(resolve("root").is_err());
    }
}
