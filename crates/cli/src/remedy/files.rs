//! Hints for errors of files, caches and mounts.

use std::io;

use vmroot::container_fs::Error as RootError;
use vmroot::disk::writable as disk;
use vmroot::fuse::Refusal;
use vmroot::{ErrorKind, cache, config_files, export, ext4, fuse, kernel_mount, layer_index};

use super::{Failed, paths};
use crate::context::NO_CACHE;

/// Returns the hint for an error of the cache.
pub(super) fn of_cache(error: &cache::Error) -> Option<String> {
    use cache::Error;
    match error {
        Error::ReadOnly { path } if !path.exists() => Some(NO_CACHE.to_owned()),
        Error::ReadOnly { .. } => Some(
            "name a cache of your own with --cache or VMROOT_CACHE, and this one with --shared-cache to use its images"
                .to_owned(),
        ),
        Error::Unreadable { path } => {
            Some(format!("its owner can share it: chmod -R a+rX {path}", path = path.display()))
        }
        Error::Io(error) if error.source.kind() == io::ErrorKind::PermissionDenied => Some(
            "another user owns it, perhaps after `sudo vmroot`; --cache or VMROOT_CACHE names another directory"
                .to_owned(),
        ),
        Error::Io(error) if error.source.kind() == io::ErrorKind::NotADirectory => {
            Some("--cache and VMROOT_CACHE name a directory".to_owned())
        }
        Error::Lease { .. } => Some("release the lease by its id, and create it again".to_owned()),
        Error::DigestMismatch { .. } | Error::SizeMismatch { .. } => {
            Some("`vmroot verify --repair` repairs the cache".to_owned())
        }
        _ => None,
    }
}

/// Returns the hint for an error of an export.
pub(super) fn of_squashfs(error: &export::Error, failed: &Failed<'_>) -> Option<String> {
    use export::Error;
    match error {
        Error::TargetNotEmpty(_) => Some("name a new directory, or empty that one".to_owned()),
        Error::MissingProgram { package, .. } => Some(format!("install {package}")),
        Error::Program { message, .. } if failed.context.is_some_and(super::Context::verbose) => {
            Some(format!("its messages are: {message}"))
        }
        Error::Program { .. } => Some("-v shows its messages".to_owned()),
        _ => None,
    }
}

/// Returns the hint for an error of an ext4 image.
pub(super) fn of_ext4(error: &ext4::Error, failed: &Failed<'_>) -> Option<String> {
    match error {
        ext4::Error::TooSmall { needed, .. } if failed.verb.starts_with("disk") => {
            Some(format!("--size {needed} is enough"))
        }
        ext4::Error::TooSmall { needed, .. } => {
            Some(format!("--size {needed} is enough; without --size, the image is as small as it can be"))
        }
        ext4::Error::Growth(refusal) => of_growth(refusal),
        ext4::Error::Replay(_) => Some(REPAIR.to_owned()),
        _ => None,
    }
}

/// The hint for a file system that another program has to put in order.
const REPAIR: &str = "`e2fsck -f FILE` repairs it";

/// Returns the hint for a disk that is not grown.
fn of_growth(refusal: &ext4::GrowthRefusal) -> Option<String> {
    use ext4::GrowthRefusal as R;
    Some(match refusal {
        R::Dirty => "a guest that mounts it once replays its journal, as does `e2fsck FILE`".to_owned(),
        R::Unclean | R::Errors | R::Orphans | R::MountedMeanwhile | R::Damaged(_) => REPAIR.to_owned(),
        R::Smaller { .. } => "disks only grow; a new disk is made by `vmroot disk create`".to_owned(),
        R::Limit { most, .. } => format!("--size {most} is the largest"),
        R::Features(_) => "resize2fs(8) supports more features".to_owned(),
        R::Device { .. } => "enlarge the device first".to_owned(),
        R::HashTree => "a disk with a hash tree is read-only: make the tree again after the growth".to_owned(),
        _ => return None,
    })
}

/// Returns the hint for an error of a disk.
pub(super) fn of_disk(error: &disk::Error) -> Option<String> {
    match error {
        disk::Error::Exists { .. } => Some("--force replaces it".to_owned()),
        disk::Error::InUse { .. } => {
            Some("end the guest or the program that uses the disk, or detach its loop device".to_owned())
        }
        _ => None,
    }
}

/// Returns the hint for an error of FUSE.
pub(super) fn of_fuse(error: &fuse::Error, failed: &Failed<'_>) -> Option<String> {
    use fuse::Error;
    Some(match error {
        Error::Device(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            format!("`chmod 0666 /dev/fuse` as root lets every user mount, as on most systems; {NO_MOUNT}")
        }
        Error::Device(_) | Error::Helper { refusal: Refusal::Device, .. } => {
            format!("`modprobe fuse` as root loads the driver; a container needs --device /dev/fuse; {NO_MOUNT}")
        }
        Error::NoHelper => format!("install the package fuse3; {NO_MOUNT}"),
        Error::Helper { refusal: Refusal::NotPermitted, .. } => NO_MOUNT.to_owned(),
        Error::Helper { refusal: Refusal::AllowOther, .. } => {
            "root can add the line user_allow_other to it; without --allow-other, only you can read the mount"
                .to_owned()
        }
        Error::Helper { refusal: Refusal::TooMany, .. } => {
            "`vmroot mounts` lists the mounts; root can raise mount_max in that file".to_owned()
        }
        Error::Helper { refusal: Refusal::NotWritable | Refusal::NotOwner | Refusal::FileSystem, .. } => {
            "name a directory of your own, such as one in $HOME".to_owned()
        }
        Error::Helper { refusal: Refusal::Other, message, .. } => {
            match failed.context.is_some_and(super::Context::verbose) {
                true => format!("its message is: {message}"),
                false => "-v shows its message".to_owned(),
            }
        }
        Error::Unmount { source, .. } if is_busy(source) => BUSY.to_owned(),
        _ => return None,
    })
}

/// The hint for a system on which the user cannot mount.
const NO_MOUNT: &str = "`vmroot ls`, `cat`, `cp` and `export` need no mount";

/// Returns the hint for an error of a mount of the kernel.
pub(super) fn of_kernel_mount(error: &kernel_mount::Error) -> Option<String> {
    use kernel_mount::Error;
    Some(match error {
        Error::NotPermitted(form) if form.contains("overlay") => {
            "a writable view needs root: run the command with sudo; without --upper and --work, any user can mount an image"
                .to_owned()
        }
        Error::NotPermitted(_) | Error::NoFileSystem(_) | Error::NoFileBackedMounts(_) => {
            "--driver fuse mounts as any user, with any kernel".to_owned()
        }
        Error::Unmount { source, .. } if is_busy(source) => BUSY.to_owned(),
        _ => return None,
    })
}

/// The hint for a mount in use.
const BUSY: &str = "a program has its working directory or a file there; `fuser -vm DIR` lists such programs";

fn is_busy(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

/// Returns the hint for an error of a layer.
pub(super) fn of_layer(error: &layer_index::Error) -> Option<String> {
    match error {
        layer_index::Error::NotATar { content: Some(content) } if paths::of_content(content).is_some() => {
            paths::of_content(content).map(str::to_owned)
        }
        layer_index::Error::NotATar { .. } => {
            Some("a layer is a tar, plain or compressed with gzip, zstd, xz or bzip2".to_owned())
        }
        _ => None,
    }
}

/// Returns the hint for an error of a root.
pub(super) fn of_root(error: &RootError, failed: &Failed<'_>) -> Option<String> {
    Some(match error {
        RootError::NoSuchUser(_) | RootError::NoSuchGroup(_) => match failed.verb {
            "config" => "`vmroot config --raw` prints the config as it is stored".to_owned(),
            "export" => "without --config-out, the root is written, and `vmroot config --raw` prints the config".to_owned(),
            _ => "`vmroot config --raw` prints the name as it is stored; `vmroot commit --change 'USER 1000'` sets another"
                .to_owned(),
        },
        RootError::TooManyLinks(_) => {
            "the links lead in a circle, or through more than 40 links; `vmroot readlink` prints the target of each"
                .to_owned()
        }
        RootError::Contents { shared: Some(_), .. } => {
            "make the shared cache readable, or run the command without it to fetch the image".to_owned()
        }
        RootError::Contents { shared: None, .. } => "`vmroot verify --repair` repairs the cache".to_owned(),
        RootError::NotADirectory(path) if path.ends_with(b"/") => {
            "it is a file: the path names it without the slash at the end".to_owned()
        }
        RootError::IsADirectory(_) => "`vmroot ls` lists directories, `vmroot cp` copies them".to_owned(),
        RootError::NotALink(_) => "`vmroot resolve` resolves any path, `vmroot stat` describes it".to_owned(),
        _ => return None,
    })
}

/// Returns the hint for an error of the files for registries.
pub(super) fn of_configuration(error: &config_files::Error) -> Option<String> {
    use config_files::Error;
    match error {
        Error::NotLoggedIn { key } => Some(format!(
            "`vmroot login {key}` stores credentials; `vmroot registries explain {key}/IMAGE` says where they are looked for"
        )),
        _ => None,
    }
}

/// Returns the hint for an error of the system about a file of the command line.
pub(super) fn of_system(error: &io::Error, failed: &Failed<'_>) -> Option<String> {
    let hint = match (error.kind(), failed.verb) {
        (io::ErrorKind::IsADirectory, "commit") => {
            "--from-upper DIR makes a layer of a directory that --upper of `vmroot mount` filled"
        }
        (io::ErrorKind::IsADirectory, "export") => "name a file in that directory",
        (io::ErrorKind::IsADirectory, _) => "name a file, not a directory",
        (io::ErrorKind::AlreadyExists, "man") => "a file has this name: name a directory",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Returns whether a command with such a name writes to the cache.
fn uses_cache(verb: &str) -> bool {
    let word = verb.split(' ').next().unwrap_or_default();
    !["cp", "verity", "layer", "man", "completions", "standalone-sign", "generate-sigstore-key"].contains(&word)
}

/// Returns the hint for errors of a kind that no type says more about.
pub(super) fn of_kind(kind: ErrorKind, failed: &Failed<'_>) -> Option<String> {
    match (kind, failed.verb) {
        (ErrorKind::NoSpace, "export" | "copy" | "sync" | "save") => Some(
            "free space on the file system of the output; `vmroot gc` frees space of the cache, and --tmpdir names \
             another directory for temporary files"
                .to_owned(),
        ),
        (ErrorKind::NoSpace, verb) if !uses_cache(verb) => {
            Some("free space on the file system of the output".to_owned())
        }
        (ErrorKind::NoSpace, _) => {
            Some("`vmroot gc` frees space; --cache names a cache on another file system".to_owned())
        }
        _ => None,
    }
}
