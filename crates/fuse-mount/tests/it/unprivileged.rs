//! Mounts by a user other than root, with `fusermount3`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, thread};

use vmroot_fuse_mount::{Error, Mount, MountOptions, Refusal, Unmounted};
use vmroot_testkit::layer::Entry;
use vmroot_testkit::skip;

use crate::fixture::{Fixture, cannot_mount, open_root};

/// The user and group `nobody` on most systems. Any id other than 0 works.
const NOBODY: u32 = 65534;

/// Set when this program runs again as another user: the directory of the fixture.
const FIXTURE: &str = "VMROOT_TEST_UNPRIVILEGED";

/// Runs the command after `$2` as user and group `$2`, with a `/dev/fuse` that all users may open, made in the
/// directory `$1`. udev gives the device that mode; machines without udev may not have it. Must run in its own mount
/// namespace.
const SCRIPT: &str = r#"
    mount -t tmpfs none "$1"
    mknod -m 666 "$1/fuse" c 10 229
    mount --bind "$1/fuse" /dev/fuse
    id=$2
    shift 2
    exec setpriv --reuid=$id --regid=$id --clear-groups "$@"
"#;

/// Runs a test of this program again as `nobody`, with a fixture whose mountpoint belongs to `nobody`.
fn run_as_nobody(test: &str) {
    let fixture = Fixture::new([Entry::file("file", "content").owner(3, 4), Entry::file("secret", "x").mode(0o600)]);
    let mountpoint = fixture.mountpoint("mount");
    chown(&mountpoint, Some(NOBODY), Some(NOBODY)).unwrap();
    // Other users may not have access to the directory of this program.
    let program = fixture.directory().join("program");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-ec", SCRIPT, "sh"])
        .arg(fixture.mountpoint("dev"))
        .arg(NOBODY.to_string())
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(FIXTURE, fixture.directory())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Returns the fixture if this is the run as `nobody`. Otherwise starts that run, unless it must be skipped, and
/// returns `None`.
fn as_nobody(test: &str) -> Option<PathBuf> {
    if let Some(fixture) = env::var_os(FIXTURE) {
        return Some(fixture.into());
    }
    let skipped = cannot_mount()
        || skip::needs_root()
        || ["unshare", "setpriv", "fusermount3"].iter().any(|program| skip::needs_program(program));
    if !skipped {
        run_as_nobody(test);
    }
    None
}

fn mount(fixture: &Path, options: &MountOptions) -> Result<Mount, Error> {
    Mount::new(open_root(fixture), &fixture.join("mount"), options)
}

#[test]
fn an_unprivileged_user_mounts_reads_and_unmounts() {
    let Some(fixture) = as_nobody("unprivileged::an_unprivileged_user_mounts_reads_and_unmounts") else { return };
    let mount = mount(&fixture, &MountOptions::default()).unwrap();
    let file = mount.mountpoint().join("file");
    assert_eq!(fs::read(&file).unwrap(), b"content");
    assert_eq!(fs::metadata(&file).unwrap().uid(), 3);
    // The kernel checks permissions: this user does not own the file.
    let denied = fs::read(mount.mountpoint().join("secret")).unwrap_err();
    assert_eq!(denied.kind(), std::io::ErrorKind::PermissionDenied);
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.contains(mount.mountpoint().to_str().unwrap())).unwrap();
    assert!(line.contains(" - fuse.vmroot vmroot ro") && line.contains("nosuid,nodev"), "{line}");

    let unmounter = mount.unmounter();
    let waiting = thread::spawn(move || mount.wait());
    assert_eq!(unmounter.unmount().unwrap(), Unmounted::Gone);
    waiting.join().unwrap().unwrap();
    assert!(!file.exists());
}

#[test]
fn an_unprivileged_user_unmounts_a_busy_mount() {
    let Some(fixture) = as_nobody("unprivileged::an_unprivileged_user_unmounts_a_busy_mount") else { return };
    let mount = mount(&fixture, &MountOptions::default()).unwrap();
    let file = fs::File::open(mount.mountpoint().join("file")).unwrap();
    assert_eq!(mount.unmount().unwrap(), Unmounted::Busy);
    assert!(!mount.mountpoint().join("file").exists());
    drop(file);
    mount.wait().unwrap();
}

#[test]
fn the_error_contains_the_reason_of_the_helper() {
    let Some(fixture) = as_nobody("unprivileged::the_error_contains_the_reason_of_the_helper") else { return };
    let refused = Mount::new(open_root(&fixture), Path::new("/usr"), &MountOptions::default()).unwrap_err();
    assert!(matches!(&refused, Error::Helper { refusal: Refusal::NotWritable, .. }), "{refused:?}");
}
