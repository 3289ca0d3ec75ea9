//! getxattr(2) and listxattr(2).

use rustix::fs::{lgetxattr, lgetxattr_query, llistxattr, llistxattr_query};
use rustix::io::Errno;
use vmroot_testkit::layer::Entry;

use crate::fixture::{Fixture, cannot_mount};

fn fixture() -> Fixture {
    Fixture::new([
        Entry::file("with", "x").xattr("user.a", b"1\x002").xattr("user.empty", "").xattr("user.long", [7; 5000]),
        Entry::file("without", "x"),
    ])
}

#[test]
fn values_and_their_sizes_are_returned() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let path = mount.mountpoint().join("with");
    let mut buffer = [0; 8000];
    assert_eq!(lgetxattr(&path, "user.a", &mut buffer), Ok(3));
    assert_eq!(&buffer[..3], b"1\x002");
    assert_eq!(lgetxattr(&path, "user.empty", &mut buffer), Ok(0));
    assert_eq!(lgetxattr_query(&path, "user.long"), Ok(5000));
    assert_eq!(lgetxattr(&path, "user.long", &mut buffer[..5000]), Ok(5000));
    assert_eq!(buffer[..5000], [7; 5000]);
    assert_eq!(lgetxattr(&path, "user.long", &mut buffer[..4999]), Err(Errno::RANGE));
}

#[test]
fn names_and_their_size_are_returned() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let path = mount.mountpoint().join("with");
    let names = b"user.a\0user.empty\0user.long\0";
    let mut buffer = [0; 100];
    assert_eq!(llistxattr_query(&path), Ok(names.len()));
    assert_eq!(llistxattr(&path, &mut buffer), Ok(names.len()));
    assert_eq!(&buffer[..names.len()], names);
    assert_eq!(llistxattr(&path, &mut buffer[..names.len() - 1]), Err(Errno::RANGE));
}

#[test]
fn missing_xattrs_are_no_data() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let mut buffer = [0; 100];
    for file in ["with", "without"] {
        let path = mount.mountpoint().join(file);
        for name in ["user.missing", "security.capability"] {
            assert_eq!(lgetxattr(&path, name, &mut buffer), Err(Errno::NODATA), "{name} of {file}");
        }
    }
    assert_eq!(llistxattr(mount.mountpoint().join("without"), &mut buffer), Ok(0));
}

#[test]
fn missing_access_control_lists_are_no_data() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let path = mount.mountpoint().join("without");
    let mut buffer = [0; 100];
    assert_eq!(lgetxattr(&path, "system.posix_acl_access", &mut buffer), Err(Errno::NODATA));
    assert_eq!(lgetxattr(mount.mountpoint(), "system.posix_acl_default", &mut buffer), Err(Errno::NODATA));
}
