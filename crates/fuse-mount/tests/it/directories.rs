//! readdir(3), telldir(3) and seekdir(3).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{Dir, FileType};
use vmroot_testkit::layer::Entry;

use crate::fixture::{Fixture, cannot_mount};

/// Enough entries for hundreds of requests.
const MANY: usize = 10_000;

/// Returns the names from the current position on, with the position after each.
fn remaining_entries(directory: &mut Dir) -> Vec<(String, i64)> {
    std::iter::from_fn(|| directory.read())
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().to_str().unwrap().to_owned(), entry.offset())
        })
        .collect()
}

fn open(path: &Path) -> Dir {
    Dir::read_from(File::open(path).unwrap()).unwrap()
}

fn many() -> Fixture {
    let files = (0..MANY).map(|number| Entry::file(format!("many/{number:05}"), ""));
    Fixture::new(files.chain([Entry::directory("none")]))
}

#[test]
fn an_empty_directory_lists_the_dots() {
    if cannot_mount() {
        return;
    }
    let fixture = Fixture::new([Entry::directory("none")]);
    let mount = fixture.mount();
    let names: Vec<_> =
        remaining_entries(&mut open(&mount.mountpoint().join("none"))).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [".", ".."]);
}

#[test]
fn every_entry_is_listed_once_in_order_with_its_type_and_inode() {
    if cannot_mount() {
        return;
    }
    let fixture = many();
    let mount = fixture.mount();
    let path = mount.mountpoint().join("many");
    // The second time from the kernel's cache.
    for _ in 0..2 {
        let names: Vec<_> = remaining_entries(&mut open(&path)).into_iter().map(|(name, _)| name).collect();
        let expected = (0..MANY).map(|number| format!("{number:05}"));
        assert!(
            names
                .iter()
                .map(String::as_str)
                .eq([".", ".."].into_iter().chain(expected.collect::<Vec<_>>().iter().map(|name| &**name)))
        );
    }
    for entry in fs::read_dir(&path).unwrap().step_by(997) {
        let entry = entry.unwrap();
        assert!(entry.file_type().unwrap().is_file());
        let stat = rustix::fs::lstat(entry.path()).unwrap();
        assert_eq!(stat.st_ino, std::os::unix::fs::DirEntryExt::ino(&entry));
        assert_eq!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile);
    }
}

#[test]
fn a_listing_resumes_from_any_position() {
    if cannot_mount() {
        return;
    }
    let fixture = many();
    let mount = fixture.mount();
    let mut directory = open(&mount.mountpoint().join("many"));
    let all = remaining_entries(&mut directory);
    for start in [MANY, 1, 0, MANY / 2, 2, 3, MANY + 1] {
        directory.seek(all[start].1).unwrap();
        assert_eq!(remaining_entries(&mut directory), all[start + 1..]);
    }
    // A second handle without cached positions, like that of another process.
    let mut fresh = open(&mount.mountpoint().join("many"));
    fresh.seek(all[MANY / 3].1).unwrap();
    assert_eq!(remaining_entries(&mut fresh), all[MANY / 3 + 1..]);
    for beyond in [i64::from(i32::MAX), i64::MAX] {
        let mut fresh = open(&mount.mountpoint().join("many"));
        fresh.seek(beyond).unwrap();
        assert_eq!(remaining_entries(&mut fresh), []);
    }
}

#[test]
fn every_entry_of_a_listing_can_be_looked_up() {
    if cannot_mount() {
        return;
    }
    let fixture = many();
    let mount = fixture.mount();
    let path = mount.mountpoint().join("many");
    let names: BTreeSet<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names.len(), MANY);
    assert!(names.iter().all(|name| fs::symlink_metadata(name).unwrap().is_file()));
}
