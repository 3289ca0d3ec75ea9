//! Archives by GNU tar: their index equals the directory that was archived.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Uid, XattrFlags, chownat, lsetxattr, makedev, mknodat};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::skip;

use crate::stack::Stack;

/// Creates a tree with entries that are difficult for some formats. Devices and owners need root.
fn create_tree(root: &Path, long_names: bool) {
    let directory = if long_names { "d".repeat(120) } else { "d".repeat(60) };
    fs::create_dir_all(root.join(&directory).join("sub")).unwrap();
    fs::write(root.join(&directory).join("n".repeat(if long_names { 250 } else { 30 })), "long").unwrap();
    fs::write(root.join("file"), "content").unwrap();
    fs::hard_link(root.join("file"), root.join(&directory).join("hard")).unwrap();
    symlink("t".repeat(if long_names { 300 } else { 90 }), root.join("link")).unwrap();
    fs::write(root.join("new\nline\ttab \u{fc}"), "odd").unwrap();
    fs::write(root.join("empty"), "").unwrap();
    mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    fs::set_permissions(root.join("file"), Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(root.join(&directory), Permissions::from_mode(0o1777)).unwrap();
    let mut sparse = vec![(0, 1_000_000, 4096), (1, 1_000_000, 1)];
    sparse.extend((0..60).map(|run| (2, run * 20_000, 10)));
    for name in 0..3 {
        let file = File::create(root.join(format!("sparse-{name}"))).unwrap();
        file.set_len(3_000_000).unwrap();
        for &(_, offset, length) in sparse.iter().filter(|(of, ..)| *of == name) {
            file.write_all_at(&vec![b'x'; length], offset).unwrap();
        }
    }
    for name in ["file", "empty", "link", "sparse-1"] {
        chownat(CWD, root.join(name), Some(Uid::from_raw(70_000)), Some(Gid::from_raw(5)), AtFlags::SYMLINK_NOFOLLOW)
            .unwrap();
    }
    fs::set_permissions(root.join("file"), Permissions::from_mode(0o4755)).unwrap();
    mknodat(CWD, root.join("dev"), FileType::CharacterDevice, Mode::from_raw_mode(0o600), makedev(259, 70_000))
        .unwrap();
}

/// Sets modification times with this fraction of a second.
fn set_times(root: &Path, nanoseconds: u32) {
    for (path, seconds) in [("file", 1_000_000_000), ("empty", 1), ("sparse-0", 1 << 33), (".", 1_500_000_000)] {
        let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        File::open(root.join(path)).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
    }
}

fn set_xattrs(root: &Path) {
    for (path, name, value) in [
        ("file", "user.text", &b"value"[..]),
        ("file", "trusted.odd=%3D%", b"\0\n=\xff"),
        ("empty", "security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("sparse-1", "user.empty", b""),
    ] {
        lsetxattr(root.join(path), name, value, XattrFlags::empty()).unwrap();
    }
}

/// Archives a tree with GNU tar.
fn archive(root: &Path, options: &[&str]) -> Vec<u8> {
    let output = Command::new("tar").args(options).arg("-cC").arg(root).arg(".").output().unwrap();
    assert!(output.status.success(), "tar {options:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn must_skip() -> bool {
    skip::needs_root() || skip::needs_program("tar")
}

/// Compares the index of the archive with the tree. `whole_seconds` is for formats without fractions of a second.
#[track_caller]
fn assert_round_trip(root: &Path, options: &[&str], whole_seconds: bool) {
    let stack = Stack::build(&[archive(root, options)]).unwrap_or_else(|error| panic!("{options:?}: {error}"));
    let mut expected = Listing::of_directory(root).unwrap();
    if whole_seconds {
        expected.rows.values_mut().for_each(|row| row.mtime = row.mtime.div_euclid(1_000_000_000) * 1_000_000_000);
    }
    expected.assert_same(&stack.listing(&stack.root().unwrap()));
}

#[test]
fn every_format_is_read() {
    if must_skip() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    create_tree(directory.path(), false);
    set_times(directory.path(), 0);
    // GNU tar writes no devices and fifos to V7 archives, so they are removed below.
    for (format, whole_seconds) in [("posix", false), ("pax", false), ("gnu", true), ("oldgnu", true), ("ustar", true)]
    {
        if format == "ustar" {
            fs::remove_file(directory.path().join("sparse-0")).unwrap(); // its time is out of range for ustar
        }
        assert_round_trip(directory.path(), &["--format", format], whole_seconds);
    }
    for special in ["dev", "fifo"] {
        fs::remove_file(directory.path().join(special)).unwrap();
    }
    assert_round_trip(directory.path(), &["--format", "v7"], true);
}

#[test]
fn long_names_nanoseconds_and_xattrs_are_read() {
    if must_skip() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    create_tree(directory.path(), true);
    set_times(directory.path(), 123_456_789);
    assert_round_trip(directory.path(), &["--format=gnu"], true);
    set_xattrs(directory.path());
    assert_round_trip(directory.path(), &["--format=posix", "--xattrs", "--xattrs-include=*"], false);
}

#[test]
fn every_sparse_format_is_read() {
    if must_skip() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    create_tree(directory.path(), true);
    set_xattrs(directory.path());
    for version in ["0.0", "0.1", "1.0"] {
        let option = format!("--sparse-version={version}");
        let options = ["--format=posix", "--sparse", &option, "--xattrs", "--xattrs-include=*"];
        let tar = archive(directory.path(), &options);
        assert!(tar.len() < 3_000_000, "the archive is not sparse");
        assert_round_trip(directory.path(), &options, false);
    }
    for path in ["file", "empty", "sparse-1"] {
        for name in ["user.text", "trusted.odd=%3D%", "security.capability", "user.empty"] {
            // The error is ignored: each file has only some of the xattrs.
            let _ = rustix::fs::lremovexattr(directory.path().join(path), name);
        }
    }
    for format in ["--format=gnu", "--format=oldgnu"] {
        assert_round_trip(directory.path(), &[format, "--sparse"], true);
    }
}
