//! The files with names: `/etc/hosts`, `/etc/resolv.conf` and `/etc/hostname`.
//!
//! Each is a file of a tmpfs that is mounted over the image's file. So they are never in the upper layer of an overlay, and
//! never in an image that is made from it. The tmpfs has no place of its own, because `/run` may be on a disk.

use std::fs::{self, Permissions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::statfs;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use crate::config::Config;
use crate::console;

/// The place at which the tmpfs is mounted until its files are in use.
const PLACE: &str = "/dev/vmroot/names";
/// The most links that are followed to a file.
const MAX_LINKS: usize = 8;
/// `TMPFS_MAGIC` (linux/magic.h).
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// A file to provide.
struct NameFile {
    path: &'static str,
    text: String,
}

/// Provides the files that the image lacks, and those that the config replaces. Errors are noted in the kernel's log.
pub(crate) fn provide(config: &Config, hostname: &str) {
    let files = files(config, hostname, Path::new("/"));
    if files.is_empty() {
        return;
    }
    let place = Path::new(PLACE);
    let mount_place = || -> io::Result<()> {
        fs::create_dir_all(place)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        Ok(mount("tmpfs", place, "tmpfs", flags, c"mode=0755")?)
    };
    if let Err(error) = mount_place() {
        return console::note(&format!("no tmpfs for /etc/hosts and /etc/resolv.conf: {error}"));
    }
    for file in &files {
        if let Err(error) = file.provide(place) {
            console::note(&format!("no {}: {error}", file.path));
        }
    }
    // The mounts over the files keep the tmpfs.
    let _ = unmount(place, UnmountFlags::DETACH);
    let _ = fs::remove_dir(place);
}

/// Returns the files that the image in `root` lacks, and those that the config replaces.
fn files(config: &Config, hostname: &str, root: &Path) -> Vec<NameFile> {
    let settings = &config.settings;
    let lacks = |path: &str| fs::metadata(root.join(path)).map_or(true, |metadata| metadata.len() == 0);
    let of_network = settings.network.iter().flat_map(|network| &network.dns);
    let servers: Vec<IpAddr> = match settings.dns.is_empty() {
        false => settings.dns.clone(),
        true if lacks("etc/resolv.conf") => of_network.copied().collect(),
        true => Vec::new(),
    };
    let mut files = Vec::new();
    if lacks("etc/hosts") {
        let address = settings.network.as_ref().map(|network| network.address.into());
        files.push(NameFile { path: "/etc/hosts", text: hosts(hostname, address) });
    }
    if !servers.is_empty() {
        let text = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
        files.push(NameFile { path: "/etc/resolv.conf", text });
    }
    // An init of the image reads the host name from there.
    if settings.hostname.is_some() && root.join("etc/hostname").is_file() {
        files.push(NameFile { path: "/etc/hostname", text: format!("{hostname}\n") });
    }
    files
}

/// Returns the names of this machine, as container engines write them.
fn hosts(hostname: &str, address: Option<IpAddr>) -> String {
    let own = address.unwrap_or(IpAddr::from([127, 0, 1, 1]));
    format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n{own}\t{hostname}\n"
    )
}

impl NameFile {
    fn provide(&self, place: &Path) -> io::Result<()> {
        let path = Path::new(self.path);
        let target = follow(path);
        if target != path && !target.exists() {
            return self.write_behind_link(&target);
        }
        if !target.exists() {
            return Err(io::Error::other("the root has no such file, not even an empty one"));
        }
        let source = place.join(path.file_name().unwrap_or_default());
        fs::write(&source, &self.text)?;
        fs::set_permissions(&source, Permissions::from_mode(0o644))?;
        // A file that is made here would become part of the root.
        Ok(mount_bind(&source, &target)?)
    }

    /// Writes a file to which a link leads that cannot be mounted over. Only a tmpfs takes it: others keep their files.
    fn write_behind_link(&self, target: &Path) -> io::Result<()> {
        let mut existing = target;
        while let Some(parent) = existing.parent().filter(|_| !existing.exists()) {
            existing = parent;
        }
        if statfs(existing)?.f_type != TMPFS {
            return Err(io::Error::other(format!("the link leads to {}, which does not exist", target.display())));
        }
        fs::create_dir_all(target.parent().unwrap_or(target))?;
        fs::write(target, &self.text)
    }
}

/// Returns the file to which a path of symbolic links leads, whether it exists or not. `..` is taken from the text: the
/// parents of the links of images are directories.
fn follow(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(target) = fs::read_link(&path) else { break };
        let joined = path.parent().unwrap_or(&path).join(target);
        let mut normal = PathBuf::new();
        for component in joined.components() {
            match component {
                Component::ParentDir => drop(normal.pop()),
                Component::CurDir => {}
                other => normal.push(other),
            }
        }
        path = normal;
    }
    path
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn provided(config: &Config, root: &Path) -> Vec<(&'static str, String)> {
        files(config, "guest", root).into_iter().map(|file| (file.path, file.text)).collect()
    }

    #[test]
    fn files_of_the_image_are_kept_unless_the_config_replaces_them() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        let mut config = Config::default();
        let files = provided(&config, root.path());
        assert_eq!(files.len(), 1);
        assert!(files[0].1.starts_with("127.0.0.1\tlocalhost\n") && files[0].1.ends_with("127.0.1.1\tguest\n"));
        fs::write(root.path().join("etc/hosts"), "").unwrap();
        assert_eq!(provided(&config, root.path()).len(), 1);
        fs::write(root.path().join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
        fs::write(root.path().join("etc/resolv.conf"), "nameserver 9.9.9.9\n").unwrap();
        fs::write(root.path().join("etc/hostname"), "image\n").unwrap();
        assert!(provided(&config, root.path()).is_empty());
        config.settings.dns = vec![[10, 0, 2, 3].into(), "fd00::1".parse().unwrap()];
        config.settings.hostname = Some("guest".to_owned());
        let expected = [
            ("/etc/resolv.conf", "nameserver 10.0.2.3\nnameserver fd00::1\n".to_owned()),
            ("/etc/hostname", "guest\n".to_owned()),
        ];
        assert_eq!(provided(&config, root.path()), expected);
    }

    #[test]
    fn links_are_followed_within_a_limit() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("link");
        symlink("../run/resolve/stub.conf", &link).unwrap();
        assert_eq!(follow(&link), root.path().parent().unwrap().join("run/resolve/stub.conf"));
        let cycle = root.path().join("cycle");
        symlink("cycle", &cycle).unwrap();
        assert_eq!(follow(&cycle), cycle);
    }
}
