//! The command that serves the root of a printed machine by virtio-fs.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context as _;
use vmroot::{Addition, Platform, Top, guest};

use crate::commands::boot::{Init, MOUNTPOINTS};
use crate::context::Context;

/// The directory with what the guest has on top of its image.
const TOP: &str = "top";

/// A root that a printed command serves.
pub(super) struct ServedRoot<'a> {
    pub(super) image: &'a str,
    pub(super) platform: Platform,
    /// What the user puts on top of the image.
    pub(super) top: Top,
    pub(super) init: &'a Init,
    /// The config of the init.
    pub(super) config: Option<&'a [u8]>,
    /// The mount points of volumes, and the empty files over which the init mounts.
    pub(super) places: &'a [GuestPlace],
    pub(super) socket: &'a Path,
}

/// A directory or an empty file that the guest mounts over.
pub(super) enum GuestPlace {
    Directory(String),
    File(&'static str),
}

impl ServedRoot<'_> {
    /// Writes what the guest has on top of its image to a directory in `files`, and returns the arguments of the program
    /// that serves the image with it.
    pub(super) fn command(self, context: &Context, files: &Path) -> anyhow::Result<Vec<OsString>> {
        let directory = files.join(TOP);
        write_top(&directory, &self).with_context(|| directory.display().to_string())?;
        let mut arguments: Vec<OsString> = ["virtiofs", self.image, "--socket"].map(OsString::from).into();
        arguments.extend([self.socket.into(), "--cache".into(), context.cache().into()]);
        for shared in context.shared_caches() {
            arguments.extend(["--shared-cache".into(), shared.into()]);
        }
        arguments.extend(["--platform".into(), self.platform.to_string().into()]);
        for layer in &self.top.layers {
            arguments.extend(["--layer".into(), std::path::absolute(layer)?.into()]);
        }
        let own = Addition::Copy { source: directory.join("."), destination: b"/".to_vec(), mode: None, owner: None };
        for addition in self.top.additions.iter().chain([&own]) {
            arguments.extend(["--add".into(), option_of(addition)?]);
        }
        Ok(arguments)
    }
}

/// Writes the mountpoints, which the guest cannot create in a read-only root, the init and its config.
fn write_top(directory: &Path, served: &ServedRoot<'_>) -> io::Result<()> {
    let create = |path: &Path, mode| {
        fs::create_dir_all(path)?;
        fs::set_permissions(path, Permissions::from_mode(mode))
    };
    let write = |name: &str, bytes: &[u8], mode| {
        let path = directory.join(name.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap_or(directory))?;
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, Permissions::from_mode(mode))
    };
    create(directory, 0o755)?;
    MOUNTPOINTS.iter().try_for_each(|(name, mode)| create(&directory.join(name), *mode))?;
    for place in served.places {
        match place {
            GuestPlace::Directory(path) => fs::create_dir_all(directory.join(path.trim_start_matches('/')))?,
            GuestPlace::File(path) => write(path, b"", 0o644)?,
        }
    }
    if let Some(bytes) = served.init.bytes() {
        write(guest::INIT, bytes, 0o755)?;
    }
    served.config.map_or(Ok(()), |bytes| write(guest::CONFIG, bytes, 0o644))
}

/// Returns the value of `--add` for an addition of the command line.
fn option_of(addition: &Addition) -> anyhow::Result<OsString> {
    let Addition::Copy { source, destination, mode, owner } = addition else {
        anyhow::bail!("an addition without a file cannot be an option");
    };
    let mut source = std::path::absolute(source)?.into_os_string().into_vec();
    // `absolute` omits the dot that stands for the entries of a directory.
    if addition_has_entries(addition) && !source.ends_with(b"/.") {
        source.extend(b"/.");
    }
    let mut text = [source.as_slice(), b":", destination].concat();
    if let Some(mode) = mode {
        text.extend(format!(":{mode:o}").bytes());
    }
    if let Some(owner) = owner {
        text.extend(format!(":{}:{}", owner.uid, owner.gid).bytes());
    }
    Ok(OsString::from_vec(text))
}

fn addition_has_entries(addition: &Addition) -> bool {
    matches!(addition, Addition::Copy { source, .. } if source.as_os_str().as_encoded_bytes().ends_with(b"/."))
}

#[cfg(test)]
mod tests {
    use vmroot::changes::Owner;

    use super::*;

    #[test]
    fn additions_become_options_again() {
        let copy = |source: &str, mode, owner| Addition::Copy {
            source: source.into(),
            destination: b"/d".to_vec(),
            mode,
            owner,
        };
        for (addition, expected) in [
            (copy("/a", None, None), "/a:/d"),
            (copy("/a/.", None, None), "/a/.:/d"),
            (copy("/a:b", Some(0o4755), None), "/a:b:/d:4755"),
            (copy("/a", Some(0o644), Some(Owner { uid: 1, gid: 2 })), "/a:/d:644:1:2"),
        ] {
            assert_eq!(option_of(&addition).unwrap(), expected);
        }
    }
}
