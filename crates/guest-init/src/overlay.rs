//! Overlays over a read-only root: in memory, or on a disk that keeps the writes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rustix::fs::{XattrFlags, getxattr, listxattr, setxattr};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_move};
use vmroot_guest_config::{MAX_UPPER_RECORD, StageUpper, UPPER, UPPER_OPTIONS, UPPER_RECORD, UPPER_WORK, UpperRecord};

use crate::initramfs::{make_directory, mount_at};
use crate::{Error, Result, console, devices, document, temporary};

/// The mount point of the upper layer's file system, in the initramfs.
const WRITABLE: &str = "/writable";
/// The place of a disk with an upper layer in the guest. The file system must have a mount point, or the shutdown could not
/// make it read-only. systemd leaves mounts below `/run/initramfs` alone until its end, and then makes them read-only
/// (`mount_is_extrinsic` in src/core/mount.c, `nonunmountable_path` in src/shutdown/umount.c).
pub(crate) const DISK: &str = "/run/initramfs/vmroot/upper";
/// The directory that overlayfs makes for a mount with the option `volatile`, in the work directory. It blocks the next
/// mount.
const VOLATILE: &str = "work/incompat/volatile";
/// The name of a new upper layer until its attributes are complete.
const UNFINISHED: &str = "upper.new";
/// The largest list of names, and the largest value, of extended attributes in bytes (`XATTR_LIST_MAX` and
/// `XATTR_SIZE_MAX` of linux/limits.h).
const MAX_XATTR: usize = 64 << 10;

/// Mounts an overlay over `lower` with a tmpfs for the writes.
pub(crate) fn mount_in_memory(lower: &Path, target: &Path) -> Result<()> {
    let writable = Path::new(WRITABLE);
    make_directory(writable)?;
    mount_at("tmpfs", writable, "tmpfs", MountFlags::empty(), "mode=0755")?;
    let (upper, work) = (writable.join(UPPER), writable.join(UPPER_WORK));
    make_directory(&upper)?;
    make_directory(&work)?;
    copy_attributes(lower, &upper).map_err(|source| Error::Io { path: upper.clone(), source })?;
    mount_overlay(lower, writable, target, "")
}

/// Mounts an overlay over `lower` with a disk for the writes.
///
/// # Errors
/// - [`Error::NoDevice`] if the disk does not appear.
/// - [`Error::Mount`] if it has no ext4, or the overlay cannot be mounted.
/// - [`Error::OtherBase`] if the disk was made over another image.
/// - [`Error::Document`] if the disk has no directories for an upper layer, or another version of them.
pub(crate) fn mount_with_disk(disk: &StageUpper, lower: &Path, target: &Path) -> Result<()> {
    let writable = Path::new(WRITABLE);
    devices::wait(Path::new(&disk.device), devices::DEVICE_TIMEOUT)?;
    make_directory(writable)?;
    mount_at(&disk.device, writable, "ext4", MountFlags::empty(), "")?;
    record(disk, writable)?;
    make_layer(lower, writable)?;
    forget_volatile(writable);
    mount_overlay(lower, writable, target, UPPER_OPTIONS)?;
    keep_mount_point(writable, target);
    Ok(())
}

/// Checks the record of the image below, and writes it if there is none.
fn record(disk: &StageUpper, writable: &Path) -> Result<()> {
    let path = writable.join(UPPER_RECORD);
    let here = UpperRecord { version: UpperRecord::VERSION, image: disk.image.clone(), name: disk.name.clone() };
    match document::read(&path, MAX_UPPER_RECORD) {
        Ok(text) => {
            let on_disk: UpperRecord = document::parse(&path, &text)?;
            if on_disk.version != UpperRecord::VERSION {
                let reason = format!("version {} of the layout; this init knows {}", on_disk.version, here.version);
                return Err(Error::Document { path, reason });
            }
            if on_disk.image == here.image {
                return Ok(());
            }
            if !disk.rebase {
                return Err(Error::OtherBase { disk: on_disk, image: here });
            }
        }
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let text = serde_json::to_string_pretty(&here).expect("all keys of a record are strings") + "\n";
    let unfinished = writable.join(format!("{UPPER_RECORD}.new"));
    let write = || -> io::Result<()> {
        fs::write(&unfinished, text)?;
        File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, &path)
    };
    write().map_err(|source| Error::Io { path: path.clone(), source })
}

/// Makes the directories of a new disk. An overlay shows the owner, mode, time and attributes of the upper layer's top
/// directory, so a new one gets those of the root.
fn make_layer(lower: &Path, writable: &Path) -> Result<()> {
    let (upper, work) = (writable.join(UPPER), writable.join(UPPER_WORK));
    for directory in [&upper, &work] {
        // The guest wrote the disk: a link would lead into the initramfs.
        match fs::symlink_metadata(directory) {
            Ok(metadata) if !metadata.is_dir() => {
                return Err(Error::Document { path: directory.clone(), reason: "not a directory".to_owned() });
            }
            _ => {}
        }
    }
    let make = || -> io::Result<()> {
        if fs::symlink_metadata(&work).is_err() {
            fs::create_dir(&work)?;
        }
        if fs::symlink_metadata(&upper).is_ok() {
            return Ok(());
        }
        let unfinished = writable.join(UNFINISHED);
        if fs::symlink_metadata(&unfinished).is_ok() {
            fs::remove_dir(&unfinished)?;
        }
        fs::create_dir(&unfinished)?;
        copy_attributes(lower, &unfinished)?;
        fs::rename(&unfinished, &upper)
    };
    make().map_err(|source| Error::Io { path: upper.clone(), source })
}

/// Removes the mark of a mount with `volatile`, by another tool. ext4 has replayed its journal, so the layer is whole,
/// except for files that were written last.
fn forget_volatile(writable: &Path) {
    let mark = writable.join(UPPER_WORK).join(VOLATILE);
    if fs::remove_dir_all(&mark).is_ok() {
        console::note("the upper layer was mounted with `volatile`: files that were written last may be incomplete");
    }
}

/// Moves the mount of the disk into the guest's `/run`, where the shutdown finds it. That is a tmpfs, also if the image has
/// files there: the mount point must not become part of the layer.
fn keep_mount_point(writable: &Path, root: &Path) {
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    let keep = || -> io::Result<()> {
        temporary::cover(&below("/run"), c"mode=0755")?;
        let place = below(DISK);
        fs::create_dir_all(&place)?;
        fs::set_permissions(place.parent().unwrap_or(&place), fs::Permissions::from_mode(0o700))?;
        Ok(mount_move(writable, &place)?)
    };
    if let Err(error) = keep() {
        console::note(&format!("no mount point for the upper disk, whose journal will not be clean: {error}"));
    }
}

fn mount_overlay(lower: &Path, writable: &Path, target: &Path, more: &str) -> Result<()> {
    make_directory(target)?;
    let (upper, work) = (writable.join(UPPER), writable.join(UPPER_WORK));
    let comma = if more.is_empty() { "" } else { "," };
    let options =
        format!("lowerdir={},upperdir={},workdir={}{comma}{more}", lower.display(), upper.display(), work.display());
    mount_at("overlay", target, "overlay", MountFlags::empty(), &options)
}

/// Copies owner, mode, time of modification and extended attributes of a directory.
fn copy_attributes(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::metadata(from)?;
    chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    copy_xattrs(from, to)?;
    File::open(to)?.set_times(fs::FileTimes::new().set_modified(metadata.modified()?))
}

/// Copies the extended attributes that are not overlayfs's own. One that the file system of `to` cannot hold is noted.
fn copy_xattrs(from: &Path, to: &Path) -> io::Result<()> {
    let mut names = vec![0; MAX_XATTR];
    let count = match listxattr(from, &mut names) {
        Ok(count) => count,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    names.truncate(count);
    let mut value = vec![0; MAX_XATTR];
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let length = getxattr(from, name, &mut value)?;
        if let Err(error) = setxattr(to, name, &value[..length], XattrFlags::empty()) {
            console::note(&format!("the root's attribute {} is left out: {error}", String::from_utf8_lossy(name)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(image: &str, rebase: bool) -> StageUpper {
        StageUpper { device: "/dev/vdb".to_owned(), image: image.to_owned(), name: "name".to_owned(), rebase }
    }

    #[test]
    fn a_record_binds_the_disk_to_its_image() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(UPPER_RECORD);
        record(&disk("sha256:a", false), directory.path()).unwrap();
        record(&disk("sha256:a", false), directory.path()).unwrap();
        let text = record(&disk("sha256:b", false), directory.path()).unwrap_err().to_string();
        assert!(text.contains("sha256:a") && text.contains("sha256:b"), "{text}");
        record(&disk("sha256:b", true), directory.path()).unwrap();
        record(&disk("sha256:b", false), directory.path()).unwrap();
        for text in ["{}", "", r#"{"version": 2, "image": "sha256:b"}"#] {
            fs::write(&path, text).unwrap();
            assert!(matches!(record(&disk("sha256:b", true), directory.path()), Err(Error::Document { .. })), "{text}");
        }
    }

    #[test]
    fn a_new_layer_has_the_attributes_of_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let lower = directory.path().join("lower");
        fs::create_dir(&lower).unwrap();
        fs::set_permissions(&lower, fs::Permissions::from_mode(0o1751)).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000, 5);
        File::open(&lower).unwrap().set_times(fs::FileTimes::new().set_modified(time)).unwrap();
        // A start that was interrupted.
        fs::create_dir(directory.path().join(UNFINISHED)).unwrap();
        make_layer(&lower, directory.path()).unwrap();
        let made = fs::metadata(directory.path().join(UPPER)).unwrap();
        assert_eq!((made.mode() & 0o7777, made.modified().unwrap()), (0o1751, time));
        // A layer that exists keeps its attributes.
        fs::set_permissions(&lower, fs::Permissions::from_mode(0o700)).unwrap();
        make_layer(&lower, directory.path()).unwrap();
        assert_eq!(fs::metadata(directory.path().join(UPPER)).unwrap().mode() & 0o7777, 0o1751);
    }

    #[test]
    fn links_on_the_disk_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/", directory.path().join(UPPER)).unwrap();
        let error = make_layer(directory.path(), directory.path()).unwrap_err().to_string();
        assert!(error.ends_with("upper: not a directory"), "{error}");
    }

    #[test]
    fn the_mark_of_a_volatile_mount_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join(UPPER_WORK).join(VOLATILE);
        fs::create_dir_all(&mark).unwrap();
        forget_volatile(directory.path());
        assert!(!mark.exists() && directory.path().join(UPPER_WORK).join("work").exists());
    }
}
