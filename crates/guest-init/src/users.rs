//! The user of the command. Names are looked up in the root's `/etc/passwd` and `/etc/group` without libc, because its
//! lookups do not work in a static program.

use std::io;
use std::path::Path;

use vmroot_users::{MAX_DATABASE, NameOrId, UnknownName, User, UserSpec};

use crate::config::Config;
use crate::{Error, Result, document};

/// Resolves the config's `user`.
///
/// Ids in the config take precedence: the files may have changed since the config was created.
///
/// # Errors
/// - [`Error::NoSuchUser`] or [`Error::NoSuchGroup`] if a name is unknown.
/// - [`Error::Io`], [`Error::TooLong`] or [`Error::Document`] if a file cannot be read.
pub(crate) fn resolve(config: &Config, root: &Path) -> Result<User> {
    let mut spec = UserSpec::parse(&config.process.user);
    if let Some(uid) = config.process.uid {
        spec.user = NameOrId::Id(uid);
    }
    if let (Some(_), Some(gid)) = (spec.group, config.process.gid) {
        spec.group = Some(NameOrId::Id(gid));
    }
    let (passwd, group) = (database(&root.join("etc/passwd"))?, database(&root.join("etc/group"))?);
    let mut user = spec.resolve(&passwd, &group).map_err(|unknown| match unknown {
        UnknownName::User(name) => Error::NoSuchUser(name),
        UnknownName::Group(name) => Error::NoSuchGroup(name),
    })?;
    user.gid = config.process.gid.unwrap_or(user.gid);
    if let Some(groups) = &config.settings.groups {
        user.groups.clone_from(groups);
    }
    Ok(user)
}

/// Returns the content of a user database, or no bytes if the root lacks the file.
fn database(path: &Path) -> Result<Vec<u8>> {
    match document::read(path, MAX_DATABASE) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n1000:x:0:0::/root:\napp:x:1000:1001::/home/app:/bin/sh\n";
    const GROUP: &str = "root:x:0:\n29:x:0:\nvideo:x:44:app,other\naudio:x:29:app\napp:x:1001:\n";

    fn resolve(user: &str, change: impl FnOnce(&mut Config)) -> Result<User> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/passwd"), PASSWD).unwrap();
        std::fs::write(root.path().join("etc/group"), GROUP).unwrap();
        let mut config = Config::default();
        config.process.user = user.to_owned();
        change(&mut config);
        super::resolve(&config, root.path())
    }

    fn user(uid: u32, gid: u32, groups: &[u32], home: Option<&str>) -> User {
        User { uid, gid, groups: groups.to_vec(), home: home.map(str::to_owned) }
    }

    #[test]
    fn names_are_looked_up_in_the_root() {
        assert_eq!(resolve("", |_| ()).unwrap(), user(0, 0, &[], Some("/root")));
        assert_eq!(resolve("app", |_| ()).unwrap(), user(1000, 1001, &[44, 29], Some("/home/app")));
        assert_eq!(resolve("app:audio", |_| ()).unwrap(), user(1000, 29, &[], Some("/home/app")));
        // Entries whose names are numbers are not found by id: an id is not a name.
        assert_eq!(resolve("1000:29", |_| ()).unwrap(), user(1000, 29, &[], Some("/home/app")));
        assert!(matches!(resolve("nobody", |_| ()), Err(Error::NoSuchUser(name)) if name == "nobody"));
        assert!(matches!(resolve("app:none", |_| ()), Err(Error::NoSuchGroup(name)) if name == "none"));
    }

    #[test]
    fn numbers_of_the_config_come_first() {
        let known = |config: &mut Config| (config.process.uid, config.process.gid) = (Some(1000), Some(3));
        assert_eq!(resolve("gone", known).unwrap(), user(1000, 3, &[44, 29], Some("/home/app")));
        // A user string with a group has no supplementary groups, even if the group no longer exists.
        assert_eq!(resolve("gone:gone", known).unwrap(), user(1000, 3, &[], Some("/home/app")));
        assert_eq!(resolve("app", |config| config.settings.groups = Some(vec![6])).unwrap().groups, [6]);
    }

    #[test]
    fn without_databases_only_ids_and_the_default_work() {
        let empty = tempfile::tempdir().unwrap();
        let resolve = |user: &str| {
            let mut config = Config::default();
            config.process.user = user.to_owned();
            super::resolve(&config, empty.path())
        };
        assert_eq!(resolve("").unwrap(), user(0, 0, &[], None));
        assert_eq!(resolve("5:6").unwrap(), user(5, 6, &[], None));
        assert!(resolve("root").is_err());
    }
}
