//! EROFS mounts: their content, and the files that they leave.

use std::fs;
use std::os::unix::fs::MetadataExt;

use proptest::prelude::*;
use vmroot_kernel_mount::{Error, MountOptions, mount_erofs};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::arbitrary;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::model::Tree;

use crate::fixture::{Fixture, TestMount, cannot_mount, mounts};

fn assert_same_as_model(layers: &[Layer]) {
    let fixture = Fixture::of_layers(layers);
    let mount = fixture.mount("mount");
    let expected = Listing::of_tree(&Tree::of_layers(layers).unwrap());
    expected.assert_same(&Listing::of_directory(mount.path()).unwrap());
}

#[test]
fn the_root_is_visible_and_no_files_are_left() {
    if cannot_mount() {
        return;
    }
    let large = vec![7; 3_000_000];
    assert_same_as_model(&[
        Layer::new([Entry::file("large", &large), Entry::char_device("null", 1, 3), Entry::symlink("l", "large")]),
        Layer::new([Entry::file("small", "x").mode(0o4755).owner(70_000, 3)]),
    ]);
    let fixture = Fixture::new([Entry::file("large", &large)]);
    let mount = fixture.mount("mount");
    assert_eq!(fixture.leftover_files(), 0);
    // The kernel holds the files open, so their names may disappear.
    for contents in fixture.root.contents() {
        fs::remove_file(&contents.path).unwrap();
    }
    assert!(fs::read(mount.path().join("large")).unwrap() == large);
    assert!(fs::write(mount.path().join("new"), "x").unwrap_err().raw_os_error() == Some(30));
}

#[test]
fn setuid_and_devices_have_no_effect_by_default() {
    if cannot_mount() {
        return;
    }
    let fixture = Fixture::new([Entry::char_device("null", 1, 3)]);
    let flags = |path: &std::path::Path| mounts(path).remove(0).split(' ').nth(5).unwrap().to_owned();
    let mount = fixture.mount("plain");
    assert!(flags(mount.path()).starts_with("ro,nosuid,nodev"));
    assert!(fs::read(mount.path().join("null")).is_err());
    let options = MountOptions { suid_dev: true, ..MountOptions::default() };
    let mountpoint = fixture.new_directory("asked");
    let mount = TestMount(mount_erofs(&fixture.root, fixture.scratch(), &mountpoint, &options).unwrap());
    assert!(!flags(mount.path()).contains("nosuid") && !flags(mount.path()).contains("nodev"));
    assert_eq!(fs::read(mount.path().join("null")).unwrap(), b"");
}

#[test]
fn one_root_can_be_mounted_twice() {
    if cannot_mount() {
        return;
    }
    let fixture = Fixture::new([Entry::file("file", "content")]);
    let (one, other) = (fixture.mount("one"), fixture.mount("other"));
    drop(one);
    assert_eq!(fs::read(other.path().join("file")).unwrap(), b"content");
}

#[test]
fn a_missing_mountpoint_is_an_error_with_its_path() {
    if cannot_mount() {
        return;
    }
    let fixture = Fixture::new([Entry::file("file", "content")]);
    let options = MountOptions::default();
    let missing = fixture.scratch().join("missing");
    let error = mount_erofs(&fixture.root, fixture.scratch(), &missing, &options).unwrap_err();
    assert!(matches!(&error, Error::Mountpoint { path, .. } if *path == missing), "{error}");
    assert!(!error.allows_fallback());
    let file = fixture.scratch().join("file");
    fs::write(&file, "").unwrap();
    let error = mount_erofs(&fixture.root, fixture.scratch(), &file, &options).unwrap_err();
    assert!(error.full_message().contains(file.to_str().unwrap()), "{error}");
    assert!(mounts(&file).is_empty());
}

#[test]
fn unsupported_xattrs_are_left_out_or_an_error() {
    if cannot_mount() {
        return;
    }
    let fixture = Fixture::new([Entry::file("file", "x").xattr("system.nfs4_acl", "x")]);
    let mountpoint = fixture.new_directory("mount");
    let strict = MountOptions { strict: true, ..MountOptions::default() };
    let error = mount_erofs(&fixture.root, fixture.scratch(), &mountpoint, &strict).unwrap_err();
    assert!(matches!(error, Error::Image(_)) && error.allows_fallback(), "{error}");
    assert!(mounts(&mountpoint).is_empty() && fixture.leftover_files() == 0);
    let mounted = mount_erofs(&fixture.root, fixture.scratch(), &mountpoint, &MountOptions::default()).unwrap();
    assert_eq!(std::fs::read(mountpoint.join("file")).unwrap(), b"x");
    mounted.unmount().unwrap();
}

#[test]
fn a_symlink_to_a_mountpoint_is_followed() {
    if cannot_mount() {
        return;
    }
    let fixture = Fixture::new([Entry::file("file", "content")]);
    let (mountpoint, link) = (fixture.new_directory("place"), fixture.scratch().join("link"));
    std::os::unix::fs::symlink(&mountpoint, &link).unwrap();
    let mount = mount_erofs(&fixture.root, fixture.scratch(), &link, &MountOptions::default()).unwrap();
    let mount = TestMount(mount);
    assert_eq!(mount.path(), mountpoint);
    assert_eq!(fs::metadata(mountpoint.join("file")).unwrap().size(), 7);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stacks_of_layers(layers in arbitrary::stack()) {
        if !cannot_mount() {
            assert_same_as_model(&layers);
        }
    }
}
