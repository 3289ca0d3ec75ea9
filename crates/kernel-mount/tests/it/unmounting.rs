//! Unmounting, by this process and by others, idle and in use.

use std::fs::{self, File};
use std::io::Read;
use std::thread;
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};
use vmroot_kernel_mount::Error;
use vmroot_testkit::layer::Entry;

use crate::fixture::{Fixture, cannot_mount, mounts};

fn fixture() -> Fixture {
    Fixture::new([Entry::file("file", "content")])
}

#[test]
fn a_mount_stays_until_it_is_unmounted() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount("mount");
    drop(mount.0.clone());
    assert!(mount.path().join("file").exists());
    mount.0.unmount().unwrap();
    assert!(mounts(mount.path()).is_empty());
    // Unmounting again does nothing.
    mount.0.unmount().unwrap();
    mount.0.wait().unwrap();
}

#[test]
fn wait_returns_only_after_unmounting() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let (mount, other) = (fixture.mount("mount"), fixture.mount("other"));
    let waited = mount.0.clone();
    let waiting = thread::spawn(move || waited.wait());
    drop(other);
    thread::sleep(Duration::from_millis(50));
    assert!(!waiting.is_finished());
    unmount(mount.path(), UnmountFlags::empty()).unwrap();
    waiting.join().unwrap().unwrap();
}

#[test]
fn a_busy_mount_leaves_the_tree_and_stays_readable() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount("mount");
    let mut file = File::open(mount.path().join("file")).unwrap();
    mount.0.unmount().unwrap();
    assert!(!mount.path().join("file").exists());
    let mut content = String::new();
    file.read_to_string(&mut content).unwrap();
    assert_eq!(content, "content");
}

#[test]
fn another_file_system_on_the_mountpoint_is_kept() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let lower = fixture.mount("mount");
    let other = Fixture::new([Entry::file("other", "x")]);
    let upper = vmroot_kernel_mount::mount_erofs(&other.root, other.scratch(), lower.path(), &Default::default());
    let upper = upper.unwrap();
    assert!(matches!(lower.0.unmount(), Err(Error::Covered { .. })));
    assert!(lower.path().join("other").exists());
    upper.unmount().unwrap();
    assert_eq!(fs::read(lower.path().join("file")).unwrap(), b"content");
    lower.0.unmount().unwrap();
}
