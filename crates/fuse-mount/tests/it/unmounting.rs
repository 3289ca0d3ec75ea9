//! Unmounting, by this process and by others, idle and in use.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use rustix::mount::{MountFlags, UnmountFlags, unmount};
use vmroot_fuse_mount::{Error, Mount, MountOptions, Unmounted};
use vmroot_testkit::layer::Entry;
use vmroot_testkit::skip;

use crate::fixture::{Fixture, cannot_mount};

fn fixture() -> Fixture {
    Fixture::new([Entry::file("file", "content")])
}

fn is_mounted(path: &Path) -> bool {
    path.join("file").exists()
}

#[test]
fn dropping_unmounts() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let mountpoint = mount.mountpoint().to_owned();
    assert!(is_mounted(&mountpoint));
    drop(mount);
    assert!(!is_mounted(&mountpoint));
}

#[test]
fn another_thread_can_unmount_during_wait() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let mountpoint = mount.mountpoint().to_owned();
    let unmounter = mount.unmounter();
    let waiting = thread::spawn(move || mount.wait());
    assert!(is_mounted(&mountpoint));
    assert_eq!(unmounter.unmount().unwrap(), Unmounted::Gone);
    waiting.join().unwrap().unwrap();
    assert!(!is_mounted(&mountpoint));
    assert_eq!(unmounter.unmount().unwrap(), Unmounted::Gone);
}

#[test]
fn a_busy_mount_leaves_the_tree_and_is_still_served() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let mut file = File::open(mount.mountpoint().join("file")).unwrap();
    assert_eq!(mount.unmount().unwrap(), Unmounted::Busy);
    assert!(!is_mounted(mount.mountpoint()));
    assert_eq!(mount.unmount().unwrap(), Unmounted::Busy);
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "content");
    drop(file);
    mount.wait().unwrap();
}

#[test]
fn another_process_may_unmount() {
    if cannot_mount() || skip::needs_root() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let mountpoint = mount.mountpoint().to_owned();
    let unmounter = mount.unmounter();
    unmount(&mountpoint, UnmountFlags::empty()).unwrap();
    mount.wait().unwrap();
    // A later mount on the same directory must not be unmounted.
    let next = Mount::new(fixture.root(), &mountpoint, &MountOptions::default()).unwrap();
    assert_eq!(unmounter.unmount().unwrap(), Unmounted::Gone);
    assert!(is_mounted(&mountpoint));
    drop(next);
}

#[test]
fn other_mounts_below_or_above_are_kept() {
    if cannot_mount() || skip::needs_root() {
        return;
    }
    let fixture = fixture();
    let below = fixture.mount();
    let above = Mount::new(fixture.root(), below.mountpoint(), &MountOptions::default()).unwrap();
    assert!(matches!(below.unmount(), Err(Error::Covered { .. })));
    unmount(above.mountpoint(), UnmountFlags::empty()).unwrap();
    above.wait().unwrap();
    assert!(is_mounted(below.mountpoint()));
    assert_eq!(below.unmount().unwrap(), Unmounted::Gone);
    assert!(!is_mounted(below.mountpoint()));
}

#[test]
fn an_aborted_mount_leaves_the_tree() {
    if cannot_mount() || skip::needs_root() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let mountpoint = mount.mountpoint().to_owned();
    let connection = rustix::fs::minor(fs::metadata(&mountpoint).unwrap().dev());
    let control = fixture.mountpoint("control");
    rustix::mount::mount("none", &control, "fusectl", MountFlags::empty(), None).unwrap();
    fs::write(control.join(format!("{connection}/abort")), "1").unwrap();
    unmount(&control, UnmountFlags::DETACH).unwrap();
    mount.wait().unwrap();
    assert_ne!(fs::metadata(&mountpoint).unwrap().ino(), 1);
    assert!(!is_mounted(&mountpoint));
}

#[test]
fn one_root_can_be_mounted_twice() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let root = fixture.root();
    let mount = |name| Mount::new(root.clone(), &fixture.mountpoint(name), &MountOptions::default()).unwrap();
    let (first, second) = (mount("first"), mount("second"));
    let stat = |mount: &Mount| fs::metadata(mount.mountpoint().join("file")).unwrap();
    assert_ne!(stat(&first).dev(), stat(&second).dev());
    assert_eq!(stat(&first).ino(), stat(&second).ino());
    drop(first);
    assert_eq!(fs::read(second.mountpoint().join("file")).unwrap(), b"content");
}

#[test]
fn the_mountpoint_must_be_a_directory() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let options = MountOptions::default();
    let missing = Mount::new(fixture.root(), &fixture.directory().join("missing"), &options);
    assert!(matches!(missing, Err(Error::Mountpoint { .. })));
    let file = Mount::new(fixture.root(), &fixture.directory().join("root.idx"), &options);
    assert!(matches!(file, Err(Error::Mount { .. } | Error::Helper { .. })));
}

#[test]
fn mount_tables_show_the_source_and_the_type() {
    if cannot_mount() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount_with(&MountOptions { source: "image:tag".to_owned(), ..MountOptions::default() });
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.contains(mount.mountpoint().to_str().unwrap())).unwrap();
    assert!(line.contains(" - fuse.vmroot image:tag ro"), "{line}");
}
