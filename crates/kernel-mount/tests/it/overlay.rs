//! Writable views of roots.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use vmroot_kernel_mount::{Error, MountOptions, Upper, mount_overlay};
use vmroot_testkit::layer::Entry;
use vmroot_testkit::listing::Listing;

use crate::fixture::{Fixture, TestMount, cannot_mount, mounts};

fn fixture() -> Fixture {
    Fixture::new([
        Entry::file("etc/hostname", "image\n").owner(5, 6).xattr("user.a", "b"),
        Entry::file("etc/gone", "x"),
        Entry::directory("dir"),
        Entry::file("dir/file", "below"),
    ])
}

struct View {
    mount: TestMount,
    upper: PathBuf,
    lower: PathBuf,
}

/// Mounts a view of the fixture and unmounts the root below it.
fn view(fixture: &Fixture, name: &str, upper: PathBuf) -> View {
    let root = fixture.mount(&format!("{name}-root"));
    let work = fixture.new_directory(&format!("{name}-work:,\\"));
    let mountpoint = fixture.new_directory(name);
    let directories = Upper { upper: &upper, work: &work };
    let mount = TestMount(mount_overlay(root.path(), directories, &mountpoint, &MountOptions::default()).unwrap());
    let lower = root.path().to_owned();
    root.0.unmount().unwrap();
    View { mount, upper, lower }
}

#[test]
fn changes_persist_in_the_upper_directory() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let upper = fixture.new_directory("upper:,\\");
    let one = view(&fixture, "one", upper.clone());
    let path = |name: &str| one.mount.path().join(name);
    fs::write(path("etc/hostname"), "guest\n").unwrap();
    fs::write(path("new"), "new").unwrap();
    fs::remove_file(path("etc/gone")).unwrap();
    fs::set_permissions(path("dir"), fs::Permissions::from_mode(0o700)).unwrap();
    // A renamed directory would be a reference to the lower directory, so the rename fails.
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
fn a_new_upper_directory_gets_the_attributes_of_the_root() {
    if cannot_mount() {
        return;
    }
    let top = Entry::directory("./").mode(0o1751).owner(3, 70_000).mtime(-5, 7).xattr("user.root", "yes");
    let fixture = Fixture::new([top.xattr("trusted.overlay.opaque", "y"), Entry::file("file", "x")]);
    let upper = fixture.new_directory("upper");
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
    // Changes are kept, and an upper directory with changes keeps its attributes.
    let other = view(&fixture, "other", upper);
    assert_eq!(fs::metadata(other.mount.path()).unwrap().permissions().mode() & 0o7777, 0o711);
    let used = fixture.new_directory("used");
    fs::write(used.join("new"), "x").unwrap();
    fs::set_permissions(&used, fs::Permissions::from_mode(0o700)).unwrap();
    let third = view(&fixture, "third", used);
    assert_eq!(fs::metadata(third.mount.path()).unwrap().permissions().mode() & 0o7777, 0o700);
}

#[test]
fn unmounting_leaves_nothing_mounted() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let view = view(&fixture, "view", fixture.new_directory("upper"));
    assert!(mounts(&view.lower.join("")).is_empty());
    assert_eq!(mounts(view.mount.path()).len(), 1);
    assert_eq!(fs::read_dir(&view.lower).unwrap().count(), 0);
    view.mount.0.unmount().unwrap();
    view.mount.0.wait().unwrap();
    assert!(mounts(view.mount.path()).is_empty());
}

/// The directories of `--upper` and `--work` do not exist on first use.
#[test]
fn missing_directories_are_created() {
    if cannot_mount() {
        return;
    }
    let top = Entry::directory("./").mode(0o1751).owner(3, 70_000);
    let fixture = Fixture::new([top, Entry::file("file", "x")]);
    let (root, mountpoint) = (fixture.mount("root"), fixture.new_directory("place"));
    let [upper, work] = ["deep/er/upper", "deep/work"].map(|name| fixture.scratch().join(name));
    let directories = Upper { upper: &upper, work: &work };
    // The kernel rejects the mount, so the created directories are removed.
    let nested = Upper { upper: &upper, work: &upper };
    assert!(mount_overlay(root.path(), nested, &mountpoint, &MountOptions::default()).is_err());
    let nowhere = fixture.scratch().join("nowhere");
    let error = mount_overlay(root.path(), directories, &nowhere, &MountOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::Mountpoint { path, .. } if *path == nowhere), "{error}");
    assert!(!fixture.scratch().join("deep").exists());
    let mount = TestMount(mount_overlay(root.path(), directories, &mountpoint, &MountOptions::default()).unwrap());
    fs::write(mount.path().join("new"), "x").unwrap();
    let attributes = |path: &PathBuf| fs::metadata(path).map(|it| (it.mode() & 0o7777, it.uid(), it.gid())).unwrap();
    assert_eq!(attributes(&upper), (0o1751, 3, 70_000));
    assert_eq!(attributes(&work), (0o700, 0, 0));
    assert!(upper.join("new").exists());
}

#[test]
fn invalid_directories_are_errors_with_their_path() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let (root, upper, mountpoint) =
        (fixture.mount("root"), fixture.new_directory("upper"), fixture.new_directory("place"));
    let missing = fixture.scratch().join("file");
    fs::write(&missing, "no directory").unwrap();
    let directories = Upper { upper: &upper, work: &missing };
    let error = mount_overlay(root.path(), directories, &mountpoint, &MountOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::Mountpoint { path, .. } if *path == missing), "{error}");
    // The kernel rejects upper and work directories on different file systems.
    let directories = Upper { upper: &upper, work: root.path() };
    let error = mount_overlay(root.path(), directories, &mountpoint, &MountOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Mount { .. }), "{error}");
    assert!(mounts(&mountpoint).is_empty());
}
