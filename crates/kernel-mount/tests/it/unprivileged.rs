//! A user who may not mount gets an error before anything is written.

use std::process::Command;
use std::{env, fs};

use vmroot_kernel_mount::{Error, MountOptions, mount_erofs};
use vmroot_testkit::layer::Entry;
use vmroot_testkit::skip;

use crate::fixture::Fixture;

/// Set when this test's program runs again without the right to mount.
const UNPRIVILEGED_RUN: &str = "VMROOT_TEST_MAY_NOT_MOUNT";

#[test]
fn an_unprivileged_user_gets_not_permitted() {
    if env::var_os(UNPRIVILEGED_RUN).is_some() || !rustix::process::geteuid().is_root() {
        let fixture = Fixture::new([Entry::file("file", "x")]);
        fs::remove_dir(fixture.scratch()).unwrap();
        let mountpoint = fixture.new_directory("mount");
        let error = mount_erofs(&fixture.root, fixture.scratch(), &mountpoint, &MountOptions::default()).unwrap_err();
        assert!(matches!(error, Error::NotPermitted("erofs")) && error.allows_fallback(), "{error}");
        return;
    }
    if skip::needs_program("setpriv") {
        return;
    }
    let output = Command::new("setpriv")
        .args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "unprivileged::an_unprivileged_user_gets_not_permitted", "--nocapture"])
        .env(UNPRIVILEGED_RUN, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
