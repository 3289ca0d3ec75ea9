//! Trees of various shapes.

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::thread;

use proptest::prelude::*;
use rustix::fs::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use vmroot_ext4::{Ext4Options, write_ext4};
use vmroot_output::Omitted;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::{arbitrary, skip};

use super::image::{Image, expected, needs_e2fsprogs, root_of};

#[test]
fn stacks_of_layers() {
    if needs_e2fsprogs() {
        return;
    }
    let may_mount = !skip::needs_root();
    let config = ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() };
    let options = (prop::bool::weighted(0.2), prop::option::weighted(0.3, 0_u64..300 << 20));
    proptest!(config, |(layers in arbitrary::stack(), (journal, free) in options)| {
        let options = Ext4Options { journal, free: free.unwrap_or(0), ..Ext4Options::default() };
        let image = Image::of(&layers, &options);
        image.check();
        prop_assert_eq!(image.report.omissions.total, 0);
        if may_mount {
            expected(&layers).assert_same(&Listing::of_directory(image.mount("ro").path()).unwrap());
        }
    });
}

/// Returns a layer with an inode of each kind and with attributes that are easily lost.
fn everything() -> [Layer; 1] {
    [Layer::new([
        Entry::directory("./").mode(0o1751).owner(3, 70_000).mtime(-5, 7).xattr("user.root", "yes"),
        Entry::file("empty", "").owner(u32::MAX - 1, u32::MAX - 1),
        Entry::file("su", "setuid").mode(0o4755).owner(0, 0),
        Entry::file("large", vec![7; 300_000]).owner(100_000, 65_536).mtime(1 << 33, 999_999_999),
        Entry::hard_link("large too", "large"),
        Entry::directory("closed").mode(0).mtime(-1, 1),
        Entry::file("closed/secret", "secret").mode(0),
        Entry::char_device("null", 1, 3).mode(0o666),
        Entry::char_device("newer", 259, 3),
        Entry::block_device("disk", 4095, 1_048_575).owner(0, 6),
        Entry::fifo("pipe"),
        Entry::symlink("short", "x".repeat(59)).mtime(5, 6),
        Entry::symlink("longer", "y".repeat(60)),
        Entry::symlink("longest", vec![b'z'; 4095]),
        Entry::file(b"\xff\xfe\n", "odd name"),
    ])]
}

#[test]
fn every_kind_of_inode_matches_the_model() {
    if needs_e2fsprogs() || skip::needs_root() {
        return;
    }
    let image = Image::of(&everything(), &Ext4Options::default());
    image.check();
    let mounted = image.mount("ro");
    expected(&everything()).assert_same(&Listing::of_directory(mounted.path()).unwrap());
    let root = fs::metadata(mounted.path()).unwrap();
    assert_eq!((root.mode() & 0o7777, root.uid(), root.gid()), (0o1751, 3, 70_000));
    assert_eq!((root.mtime(), root.mtime_nsec(), root.nlink()), (-5, 7, 3));
    assert_eq!(rustix::fs::getxattr(mounted.path(), "user.root", &mut [0_u8; 8][..]).unwrap(), 3);
}

#[test]
fn debugfs_reads_the_same_attributes() {
    if needs_e2fsprogs() {
        return;
    }
    let image = Image::of(&everything(), &Ext4Options::default());
    let large = image.debugfs("stat /large");
    assert!(large.contains("User: 100000") && large.contains("Group: 65536"), "{large}");
    assert!(large.contains("Size: 300000") && large.contains("Links: 2"), "{large}");
    assert!(image.debugfs("stat /disk").contains("Device major/minor number: 4095:1048575"));
    assert!(image.debugfs("stat /short").contains("Fast link dest:"));
    assert!(image.debugfs("ls -l /").contains("closed"));
    assert_eq!(image.debugfs("cat /su"), "setuid");
}

#[test]
fn bytes_depend_on_root_and_options_alone() {
    let root = root_of(&everything());
    let read = |options: &Ext4Options<'_>| fs::read(Image::of_root(&root.fs, options).unwrap().path).unwrap();
    let plain = read(&Ext4Options::default());
    assert!(plain == read(&Ext4Options { threads: NonZeroUsize::new(1), ..Ext4Options::default() }));
    assert!(plain == read(&Ext4Options { threads: NonZeroUsize::new(7), ..Ext4Options::default() }));
    // From the layers again, with contents files at other paths.
    assert!(plain == fs::read(Image::of(&everything(), &Ext4Options::default()).path).unwrap());
    let uuid = |image: &[u8]| image[1024 + 0x68..][..16].to_vec();
    for options in [
        Ext4Options { free: 1, ..Ext4Options::default() },
        Ext4Options { journal: true, ..Ext4Options::default() },
        Ext4Options { label: "root", ..Ext4Options::default() },
        Ext4Options { size: Some(64 << 20), ..Ext4Options::default() },
    ] {
        assert_ne!(uuid(&plain), uuid(&read(&options)), "{:?}", options.size);
    }
}

#[test]
fn bytes_do_not_depend_on_the_user() {
    if skip::needs_root() {
        return;
    }
    let root = root_of(&everything());
    let by_root = fs::read(Image::of_root(&root.fs, &Ext4Options::default()).unwrap().path).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let as_nobody = || {
        let nobody = 65_534;
        let (uid, gid) = (Uid::from_raw(nobody), Gid::from_raw(nobody));
        set_thread_groups(&[]).unwrap();
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
        let file: &File = file.as_file();
        write_ext4(&root.fs, file, &Ext4Options::default()).unwrap();
    };
    thread::scope(|scope| scope.spawn(as_nobody).join().unwrap());
    assert!(by_root == fs::read(file.path()).unwrap());
}

#[test]
fn times_out_of_range_are_reported() {
    if needs_e2fsprogs() {
        return;
    }
    let layers = [Layer::new([
        Entry::file("old", "x").mtime(i64::from(i32::MIN) - 1, 0),
        Entry::file("d/new", "x").mtime(15_032_385_536, 5),
        Entry::file("latest", "x").mtime(15_032_385_535, 999_999_999),
    ])];
    let image = Image::of(&layers, &Ext4Options::default());
    image.check();
    let omissions = &image.report.omissions;
    let listed: Vec<_> = omissions.listed.iter().map(|one| (one.path.to_str().unwrap(), &one.what)).collect();
    assert_eq!(listed, [("d/new", &Omitted::Time), ("old", &Omitted::Time)]);
}
