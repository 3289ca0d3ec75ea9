//! Access to a mount and the permissions in it.

use std::path::Path;
use std::process::Command;

use vmroot_fuse_mount::MountOptions;
use vmroot_testkit::layer::Entry;
use vmroot_testkit::sample::access_list;
use vmroot_testkit::skip;

use crate::fixture::{Fixture, cannot_mount};

fn may_read(user: u32, path: &Path) -> bool {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups", "cat"]);
    command.arg(path).output().unwrap().status.success()
}

fn entries() -> [Entry; 4] {
    [
        Entry::file("public", "x"),
        Entry::file("own", "x").owner(1234, 1234).mode(0o400),
        Entry::directory("listed").mode(0o750).xattr("system.posix_acl_access", access_list(1234)),
        Entry::file("listed/file", "x"),
    ]
}

#[test]
fn only_the_mounting_user_has_access() {
    if cannot_mount() || skip::needs_root() || skip::needs_program("setpriv") {
        return;
    }
    let fixture = Fixture::new(entries());
    let mount = fixture.mount();
    assert!(may_read(0, &mount.mountpoint().join("public")));
    assert!(!may_read(1234, &mount.mountpoint().join("public")));
}

#[test]
fn allow_other_grants_access_with_the_permissions_of_the_root() {
    if cannot_mount() || skip::needs_root() || skip::needs_program("setpriv") {
        return;
    }
    let fixture = Fixture::new(entries());
    let mount = fixture.mount_with(&MountOptions { allow_other: true, ..MountOptions::default() });
    for (user, path, may) in [
        (1234, "public", true),
        (1234, "own", true),
        (1235, "own", false),
        (1234, "listed/file", true),
        (1235, "listed/file", false),
    ] {
        assert_eq!(may_read(user, &mount.mountpoint().join(path)), may, "user {user}, {path}");
    }
}
