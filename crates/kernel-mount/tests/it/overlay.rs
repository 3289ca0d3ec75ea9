//! Writable views.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use vmroot_kernel_mount::{Error, MountOptions, Upper, mount_overlay};
use vmroot_testkit::layer::Entry;
use vmroot_testkit::listing::Listing;

use crate::fixture::{Fixture, Taken, cannot_mount, mounts};

fn fixture() -> Fixture {
    Fixture::new([
        Entry::file("etc/hostname", "image\n").owner(5, 6).xattr("user.a", "b"),
        Entry::file("etc/gone", "x"),
        Entry::directory("dir"),
        Entry::file("dir/file", "below"),
    ])
}

struct View {
    mount: Taken,
    upper: PathBuf,
    lower: PathBuf,
}

/// A view of the fixture whose root is no longer in the tree.
fn view(fixture: &Fixture, name: &str, upper: PathBuf) -> View {
    let root = fixture.mount(&format!("{name}-root"));
    let work = fixture.place(&format!("{name}-work:,\\"));
    let place = fixture.place(name);
    let directories = Upper { upper: &upper, work: &work };
    let mount = Taken(mount_overlay(root.path(), directories, &place, &MountOptions::default()).unwrap());
    let lower = root.path().to_owned();
    root.0.unmount().unwrap();
    View { mount, upper, lower }
}

#[test]
fn changes_go_to_the_upper_directory_and_come_back() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let upper = fixture.place("upper:,\\");
    let one = view(&fixture, "one", upper.clone());
    let path = |name: &str| one.mount.path().join(name);
    fs::write(path("etc/hostname"), "guest\n").unwrap();
    fs::write(path("new"), "new").unwrap();
    fs::remove_file(path("etc/gone")).unwrap();
    fs::set_permissions(path("dir"), fs::Permissions::from_mode(0o700)).unwrap();
    // Somebody who reads the upper directory finds all of it there.
    assert!(fs::rename(path("dir"), path("moved")).is_err());
    symlink("nowhere", path("link")).unwrap();
    let listing = Listing::of_directory(one.mount.path()).unwrap();
    drop(one);
    assert_eq!(fs::read(upper.join("etc/hostname")).unwrap(), b"guest\n");
    assert_eq!(fs::metadata(upper.join("etc/hostname")).unwrap().uid(), 5);
    let other = view(&fixture, "other", upper);
    listing.assert_same(&Listing::of_directory(other.mount.path()).unwrap());
    assert!(!other.mount.path().join("etc/gone").exists() && other.upper.join("etc/gone").symlink_metadata().is_ok());
}

#[test]
fn a_new_upper_directory_is_as_the_root_directory() {
    if cannot_mount() {
        return;
    }
    let top = Entry::directory("./").mode(0o1751).owner(3, 70_000).mtime(-5, 7).xattr("user.root", "yes");
    let fixture = Fixture::new([top.xattr("trusted.overlay.opaque", "y"), Entry::file("file", "x")]);
    let upper = fixture.place("upper");
    fs::set_permissions(&upper, fs::Permissions::from_mode(0o700)).unwrap();
    let one = view(&fixture, "one", upper.clone());
    let root = fs::metadata(one.mount.path()).unwrap();
    assert_eq!((root.mode() & 0o7777, root.uid(), root.gid()), (0o1751, 3, 70_000));
    assert_eq!((root.mtime(), root.mtime_nsec()), (-5, 7));
    let mut names = Vec::with_capacity(1000);
    rustix::fs::listxattr(one.mount.path(), rustix::buffer::spare_capacity(&mut names)).unwrap();
    assert_eq!(names, b"user.root\0");
    fs::set_permissions(one.mount.path(), fs::Permissions::from_mode(0o711)).unwrap();
    drop(one);
    // What was changed is kept, and so is what a directory with changes had.
    let other = view(&fixture, "other", upper);
    assert_eq!(fs::metadata(other.mount.path()).unwrap().permissions().mode() & 0o7777, 0o711);
    let used = fixture.place("used");
    fs::write(used.join("new"), "x").unwrap();
    fs::set_permissions(&used, fs::Permissions::from_mode(0o700)).unwrap();
    let third = view(&fixture, "third", used);
    assert_eq!(fs::metadata(third.mount.path()).unwrap().permissions().mode() & 0o7777, 0o700);
}

#[test]
fn its_end_is_the_end_of_everything() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let view = view(&fixture, "view", fixture.place("upper"));
    assert!(mounts(&view.lower.join("")).is_empty());
    assert_eq!(mounts(view.mount.path()).len(), 1);
    assert_eq!(fs::read_dir(&view.lower).unwrap().count(), 0);
    view.mount.0.unmount().unwrap();
    view.mount.0.wait().unwrap();
    assert!(mounts(view.mount.path()).is_empty());
}

/// The first use of `--upper` and `--work`: they do not exist yet.
#[test]
fn directories_that_are_missing_are_made() {
    if cannot_mount() {
        return;
    }
    let top = Entry::directory("./").mode(0o1751).owner(3, 70_000);
    let fixture = Fixture::new([top, Entry::file("file", "x")]);
    let (root, place) = (fixture.mount("root"), fixture.place("place"));
    let [upper, work] = ["deep/er/upper", "deep/work"].map(|name| fixture.scratch().join(name));
    let directories = Upper { upper: &upper, work: &work };
    // The kernel refuses: nothing that was made for it stays.
    let nested = Upper { upper: &upper, work: &upper };
    assert!(mount_overlay(root.path(), nested, &place, &MountOptions::default()).is_err());
    let nowhere = fixture.scratch().join("nowhere");
    let error = mount_overlay(root.path(), directories, &nowhere, &MountOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::Mountpoint { path, .. } if *path == nowhere), "{error}");
    assert!(!fixture.scratch().join("deep").exists());
    let mount = Taken(mount_overlay(root.path(), directories, &place, &MountOptions::default()).unwrap());
    fs::write(mount.path().join("new"), "x").unwrap();
    let attributes = |path: &PathBuf| fs::metadata(path).map(|it| (it.mode() & 0o7777, it.uid(), it.gid())).unwrap();
    assert_eq!(attributes(&upper), (0o1751, 3, 70_000));
    assert_eq!(attributes(&work), (0o700, 0, 0));
    assert!(upper.join("new").exists());
}

#[test]
fn directories_that_are_none_are_named() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let (root, upper, place) = (fixture.mount("root"), fixture.place("upper"), fixture.place("place"));
    let missing = fixture.scratch().join("file");
    fs::write(&missing, "no directory").unwrap();
    let directories = Upper { upper: &upper, work: &missing };
    let error = mount_overlay(root.path(), directories, &place, &MountOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::Mountpoint { path, .. } if *path == missing), "{error}");
    // Not on the same file system: the kernel says no.
    let directories = Upper { upper: &upper, work: root.path() };
    let error = mount_overlay(root.path(), directories, &place, &MountOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Mount { .. }), "{error}");
    assert!(mounts(&place).is_empty());
}
