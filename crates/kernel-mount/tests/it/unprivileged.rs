//! Who may not mount is told so, before anything is written.

use std::process::Command;
use std::{env, fs};

use vmroot_kernel_mount::{Error, MountOptions, mount_erofs};
use vmroot_testkit::layer::Entry;
use vmroot_testkit::skip;

use crate::fixture::Fixture;

/// Set for this test's own program when it runs again without the right to mount.
const AGAIN: &str = "VMROOT_TEST_MAY_NOT_MOUNT";

#[test]
fn without_the_right_to_mount() {
    if env::var_os(AGAIN).is_some() || !rustix::process::geteuid().is_root() {
        let fixture = Fixture::new([Entry::file("file", "x")]);
        fs::remove_dir(fixture.scratch()).unwrap();
        let place = fixture.place("mount");
        let error = mount_erofs(&fixture.root, fixture.scratch(), &place, &MountOptions::default()).unwrap_err();
        assert!(matches!(error, Error::NotPermitted("erofs")) && error.is_about_the_way(), "{error}");
        return;
    }
    if skip::needs_program("setpriv") {
        return;
    }
    let output = Command::new("setpriv")
        .args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "unprivileged::without_the_right_to_mount", "--nocapture"])
        .env(AGAIN, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
