//! stat(2) and statfs(2).

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{StatVfsMountFlags, statfs, statvfs};
use vmroot_container_fs::InodeId;
use vmroot_fuse_mount::MountOptions;
use vmroot_testkit::layer::Entry;
use vmroot_testkit::skip;

use crate::fixture::{Fixture, cannot_mount};

#[test]
fn inode_numbers_are_stable_and_match_the_root() {
    if cannot_mount() {
        return;
    }
    let fixture = Fixture::new([Entry::file("a/b", "x"), Entry::hard_link("c", "a/b")]);
    let root = fixture.root();
    let mount = fixture.mount();
    let number = |path: &str| fs::symlink_metadata(mount.mountpoint().join(path)).unwrap().ino();
    assert_eq!(number(""), 1);
    let inode = root.lookup(root.lookup(InodeId::ROOT, b"a").unwrap(), b"b").unwrap();
    assert_eq!(number("a/b"), u64::from(inode.0) + 1);
    assert_eq!(number("c"), number("a/b"));
}

#[test]
fn stat_returns_links_blocks_and_block_size() {
    if cannot_mount() {
        return;
    }
    let fixture = Fixture::new([
        Entry::directory("d/one"),
        Entry::directory("d/two"),
        Entry::file("d/file", vec![1; 4097]),
        Entry::hard_link("d/link", "d/file"),
    ]);
    let mount = fixture.mount();
    let stat = |path: &str| fs::symlink_metadata(mount.mountpoint().join(path)).unwrap();
    assert_eq!(stat("d").nlink(), 4);
    let file = stat("d/file");
    assert_eq!((file.nlink(), file.size(), file.blocks(), file.blksize()), (2, 4097, 16, 4096));
}

#[test]
fn missing_names_are_not_found() {
    if cannot_mount() {
        return;
    }
    let fixture = Fixture::new([Entry::file("file", "x")]);
    let mount = fixture.mount();
    for _ in 0..2 {
        let missing = fs::symlink_metadata(mount.mountpoint().join("no such name")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let below_a_file = fs::symlink_metadata(mount.mountpoint().join("file/below")).unwrap_err();
        assert_eq!(below_a_file.kind(), ErrorKind::NotADirectory);
    }
}

#[test]
fn all_changes_are_rejected() {
    if cannot_mount() {
        return;
    }
    let fixture = Fixture::new([Entry::file("file", "x")]);
    let mount = fixture.mount();
    let file = mount.mountpoint().join("file");
    let refused = [
        fs::write(&file, "y"),
        fs::write(mount.mountpoint().join("new"), "y"),
        fs::remove_file(&file),
        fs::create_dir(mount.mountpoint().join("directory")),
        fs::rename(&file, mount.mountpoint().join("other")),
    ];
    for result in refused {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    }
}

#[test]
fn statfs_returns_the_size_of_the_root() {
    if cannot_mount() {
        return;
    }
    let fixture = Fixture::new([Entry::file("a", vec![1; 10_000]), Entry::file("b", "x")]);
    let mount = fixture.mount();
    let size = statfs(mount.mountpoint()).unwrap();
    assert_eq!((size.f_bsize, size.f_frsize, size.f_namelen), (4096, 4096, 255));
    assert_eq!((size.f_blocks, size.f_bfree, size.f_bavail), (4, 0, 0));
    assert_eq!((size.f_files, size.f_ffree), (3, 0));
}

#[test]
fn devices_and_set_user_id_have_no_effect_by_default() {
    if cannot_mount() || skip::needs_root() {
        return;
    }
    let fixture = Fixture::new([Entry::char_device("null", 1, 3).mode(0o666)]);
    let both = StatVfsMountFlags::NOSUID | StatVfsMountFlags::NODEV;
    let mount = fixture.mount();
    assert!(statvfs(mount.mountpoint()).unwrap().f_flag.contains(both | StatVfsMountFlags::RDONLY));
    assert_eq!(fs::read(mount.mountpoint().join("null")).unwrap_err().kind(), ErrorKind::PermissionDenied);
    mount.unmount().unwrap();
    mount.wait().unwrap();

    let options = MountOptions { suid_dev: true, ..MountOptions::default() };
    let mount = vmroot_fuse_mount::Mount::new(fixture.root(), &fixture.mountpoint("guest"), &options).unwrap();
    let flags = statvfs(mount.mountpoint()).unwrap().f_flag;
    assert!(!flags.intersects(both) && flags.contains(StatVfsMountFlags::RDONLY));
    assert_eq!(fs::read(mount.mountpoint().join("null")).unwrap(), b"");
}
