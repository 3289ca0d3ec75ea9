//! Hostile images and concurrent changes that try to write outside the target or to exhaust resources.

use std::fs;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Once;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};
use vmroot_export::{DirectoryOptions, Error, TarOptions, export_directory, write_tar};
use vmroot_output::{Hook, WriteProgress};
use vmroot_test_roots::{Root, describe, remove};
use vmroot_testkit::layer::{Entry, Layer};

/// The depth of directories. No path can be as long.
const LEVELS: usize = 4000;

/// Opens subdirectory `name` repeatedly. Returns the deepest directory and its depth.
fn go_down(from: &Path, name: &str) -> (OwnedFd, usize) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let mut fd = openat(CWD, from, flags, Mode::empty()).unwrap();
    let mut depth = 0;
    while let Ok(next) = openat(&fd, name, flags, Mode::empty()) {
        fd = next;
        depth += 1;
    }
    (fd, depth)
}

#[test]
fn deep_directories() {
    let name = "a-directory";
    let deepest = vec![name; LEVELS].join("/");
    let middle = vec![name; LEVELS / 2].join("/");
    let layer = Layer::new([
        Entry::file(format!("{deepest}/file"), "deep").mode(0o640).mtime(12, 0),
        Entry::directory(format!("{deepest}/closed")).mode(0),
        Entry::directory(&middle).mode(0o500).mtime(34, 0),
        Entry::hard_link(format!("{middle}/link"), format!("{deepest}/file")),
    ]);
    let root = Root::of(&[layer]);
    let scratch = tempfile::tempdir().unwrap();
    let target = scratch.path().join("root");
    export_directory(&root.fs, &target, &DirectoryOptions::default()).unwrap();

    let (fd, depth) = go_down(&target, name);
    assert_eq!(depth, LEVELS);
    let file = statat(fd.as_fd(), "file", AtFlags::SYMLINK_NOFOLLOW).unwrap();
    assert_eq!((file.st_size, file.st_mode & 0o7777, file.st_nlink, file.st_mtime), (4, 0o640, 2, 12));
    assert_eq!(statat(fd.as_fd(), "closed", AtFlags::SYMLINK_NOFOLLOW).unwrap().st_mode & 0o7777, 0);
    remove(&target);

    let mut tar = Vec::new();
    write_tar(&root.fs, &mut tar, &TarOptions::default()).unwrap();
    assert!(describe(&Root::of_tars(&[tar]).fs) == describe(&root.fs));
}

#[test]
fn links_do_not_lead_outside() {
    let scratch = tempfile::tempdir().unwrap();
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let outside_path = outside.to_str().unwrap();
    let layers = [
        Layer::new([Entry::symlink("absolute", outside_path), Entry::symlink("upwards", "../outside")]),
        Layer::new([Entry::file("absolute/a", "a"), Entry::file("upwards/b", "b"), Entry::directory("upwards/c")]),
        Layer::new([Entry::symlink("again", outside_path), Entry::file("again/d", "d")]),
    ];
    let target = scratch.path().join("root");
    export_directory(&Root::of(&layers).fs, &target, &DirectoryOptions::default()).unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    // The layer's own link is resolved inside the root.
    assert!(target.join(outside_path.trim_start_matches('/')).join("d").is_file());
}

#[test]
fn directory_replaced_by_a_link_is_an_error() {
    let scratch = tempfile::tempdir().unwrap();
    let (target, outside) = (scratch.path().join("root"), scratch.path().join("outside"));
    fs::create_dir(&outside).unwrap();
    let layer = Layer::new([
        Entry::file("a", vec![1; 16 << 20]),
        Entry::directory("d"),
        Entry::directory("d/e"),
        Entry::file("d/e/file", "would be outside"),
    ]);
    for victim in ["d", "d/e"] {
        let swapped = Once::new();
        let swap = |_: WriteProgress| {
            swapped.call_once(|| {
                fs::rename(target.join(victim), scratch.path().join("taken")).unwrap();
                symlink(&outside, target.join(victim)).unwrap();
                fs::create_dir_all(outside.join("e")).unwrap();
            });
            ControlFlow::Continue(())
        };
        let options = DirectoryOptions {
            threads: NonZeroUsize::new(1),
            hook: Some(Hook::new(&swap)),
            ..DirectoryOptions::default()
        };
        match export_directory(&Root::of(std::slice::from_ref(&layer)).fs, &target, &options) {
            Err(Error::Io(error)) => assert!(error.path.ends_with("d/e"), "{error}"),
            other => panic!("{victim}: {other:?}"),
        }
        assert_eq!(fs::read_dir(outside.join("e")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        fs::remove_dir_all(&target).unwrap();
        fs::remove_dir_all(scratch.path().join("taken")).unwrap();
    }
}

#[test]
fn invalid_owners_and_times() {
    let layer = Layer::new([
        Entry::file("nobody", "x").owner(u32::MAX, u32::MAX),
        Entry::file("late", "x").mtime(i64::MAX / 2, 0),
        Entry::file("early", "x").mtime(i64::MIN / 2, 999_999_999),
    ]);
    let root = Root::of(&[layer]);
    let target = tempfile::tempdir().unwrap();
    let report = export_directory(&root.fs, target.path(), &DirectoryOptions::default()).unwrap();
    assert!(report.omissions.listed.iter().any(|refusal| refusal.path == Path::new("nobody")));
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 3);

    let mut tar = Vec::new();
    write_tar(&root.fs, &mut tar, &TarOptions::default()).unwrap();
    assert_eq!(describe(&Root::of_tars(&[tar]).fs), describe(&root.fs));
}
