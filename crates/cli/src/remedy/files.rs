//! Hints for errors of files, caches and mounts.

use std::io;

use vmroot::fuse::Refusal;
use vmroot::{ErrorKind, cache, export, fuse, kernel_mount, layer_index};

use super::Failed;

/// Returns the hint for an error of the cache.
pub(super) fn of_cache(error: &cache::Error) -> Option<String> {
    use cache::Error;
    match error {
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
        Error::Program { message, .. } if failed.context.is_some_and(super::Context::verbose) => {
            Some(format!("its messages are: {message}"))
        }
        Error::Program { .. } => Some("-v shows its messages".to_owned()),
        _ => None,
    }
}

/// Returns the hint for an error of FUSE.
pub(super) fn of_fuse(error: &fuse::Error, failed: &Failed<'_>) -> Option<String> {
    use fuse::Error;
    Some(match error {
        Error::Device(_) | Error::Helper { refusal: Refusal::Device, .. } => {
            "`modprobe fuse` as root loads the driver; a container needs --device /dev/fuse".to_owned()
        }
        Error::Helper { refusal: Refusal::NotPermitted, .. } => {
            "`vmroot export --format dir`, `vmroot ls` and `vmroot cat` need no mount".to_owned()
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

/// Returns the hint for an error of a mount of the kernel.
pub(super) fn of_kernel_mount(error: &kernel_mount::Error) -> Option<String> {
    use kernel_mount::Error;
    Some(match error {
        Error::NotPermitted(form) if form.contains("overlay") => {
            "without --upper and --work, any user can mount an image".to_owned()
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
        layer_index::Error::NotATar { .. } => {
            Some("a layer is a tar, plain or compressed with gzip, zstd, xz or bzip2".to_owned())
        }
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

/// Returns the hint for errors of a kind that no type says more about.
pub(super) fn of_kind(kind: ErrorKind, failed: &Failed<'_>) -> Option<String> {
    match (kind, failed.verb) {
        (ErrorKind::NoSpace, "export" | "copy" | "sync" | "save") => Some(
            "free space on the file system of the output; `vmroot gc` frees space of the cache, and --tmpdir names \
             another directory for temporary files"
                .to_owned(),
        ),
        (ErrorKind::NoSpace, _) => {
            Some("`vmroot gc` frees space; --cache names a cache on another file system".to_owned())
        }
        _ => None,
    }
}
