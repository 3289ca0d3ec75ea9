//! The end of a mount, by us and by others, while it is in use and not.

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
fn it_stays_until_somebody_unmounts_it() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount("mount");
    drop(mount.0.clone());
    assert!(mount.path().join("file").exists());
    mount.0.unmount().unwrap();
    assert!(mounts(mount.path()).is_empty());
    // There is nothing to do any more.
    mount.0.unmount().unwrap();
    mount.0.wait().unwrap();
}

#[test]
fn who_waits_hears_of_the_end_by_others_and_of_no_other_change() {
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
fn what_is_in_use_leaves_the_tree_and_is_read_to_the_end() {
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
fn another_file_system_over_it_is_left_alone() {
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
