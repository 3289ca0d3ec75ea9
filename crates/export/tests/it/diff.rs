//! The differences of two roots, compared with the differences of their exports as directories.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use vmroot_container_fs::{ChangeKind, DiffOptions, Field};
use vmroot_export::{DirectoryOptions, export_directory};
use vmroot_test_roots::{Root, look_at};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::{Listing, Row};
use vmroot_testkit::{arbitrary, skip};

/// The number of random pairs of stacks. `PROPTEST_CASES` overrides it.
const PAIRS: u32 = 60;

/// The changes between two trees by path: added, removed, or the names of the attributes that differ.
type Changes = BTreeMap<Vec<u8>, Found>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Added,
    Removed,
    Changed(BTreeSet<&'static str>),
}

#[test]
fn random_pairs_of_stacks() {
    if skip::needs_root() {
        return;
    }
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(PAIRS);
    let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    // Most stacks have lower layers in common, as two versions of an image.
    let pairs = (arbitrary::stack(), vec(any::<prop::sample::Index>(), 2), arbitrary::stack(), any::<bool>());
    TestRunner::new(config)
        .run(&pairs, |(old, cuts, other, related)| {
            let cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(old.len()) + 1).collect();
            let new = if related { old[..cuts[0].min(cuts[1])].to_vec() } else { other };
            check(&old[..cuts[0].max(cuts[1])], &new)
        })
        .unwrap();
}

#[test]
fn each_kind_of_change() {
    if skip::needs_root() {
        return;
    }
    let old = [Layer::new([
        Entry::directory("./").mode(0o755),
        Entry::file("same", "same").mtime(1, 0),
        Entry::file("content", "aaaa"),
        Entry::file("emptied", "x"),
        Entry::file("mode", "x").mode(0o755),
        Entry::file("owner", "x").owner(1, 2),
        Entry::file("group", "x").owner(1, 2),
        Entry::file("value", "x").xattr("user.a", "1"),
        Entry::file("name", "x").xattr("user.a", "1"),
        Entry::directory("attribute").xattr("trusted.a", ""),
        Entry::symlink("link", "a"),
        Entry::char_device("device", 1, 3),
        Entry::char_device("node", 1, 3),
        Entry::file("file-to-directory", "x"),
        Entry::directory("directory-to-file"),
        Entry::file("directory-to-file/below", "x"),
        Entry::directory("removed"),
        Entry::directory("removed/deep"),
        Entry::file("removed/deep/file", "x"),
        Entry::file("first", "linked"),
        Entry::hard_link("second", "first"),
        Entry::file("a/b", "x"),
        Entry::file("a.b", "x"),
        Entry::file(b"odd \xff\n\tname", "x"),
    ])];
    let new = [Layer::new([
        Entry::directory("./").mode(0o700),
        Entry::file("same", "same").mtime(2, 0),
        Entry::file("content", "bbbb"),
        Entry::file("emptied", ""),
        Entry::file("mode", "x").mode(0o4755),
        Entry::file("owner", "x").owner(3, 2),
        Entry::file("group", "x").owner(1, 70_000),
        Entry::file("value", "x").xattr("user.a", "2"),
        Entry::file("name", "x").xattr("user.b", "1"),
        Entry::directory("attribute"),
        Entry::symlink("link", "b"),
        Entry::char_device("device", 1, 5),
        Entry::block_device("node", 1, 3),
        Entry::directory("file-to-directory"),
        Entry::file("file-to-directory/below", "x"),
        Entry::file("directory-to-file", "x"),
        Entry::file("first", "linked"),
        Entry::file("second", "linked"),
        Entry::file("a/c", "x"),
        Entry::file("a.c", "x"),
        Entry::file(b"odd \xff\n\tname", "y"),
    ])];
    check(&old, &new).unwrap();
    let paths = |options| {
        let (old, new) = (Root::of(&old), Root::of(&new));
        let changes = old.fs.diff(&new.fs, &options).map(|change| change.path.escape_ascii().to_string());
        changes.collect::<Vec<_>>()
    };
    let expected = "|a/b|a/c|a.b|a.c|attribute|content|device|directory-to-file|directory-to-file/below|emptied\
                    |file-to-directory|file-to-directory/below|group|link|mode|name|node\
                    |odd \\xff\\n\\tname|owner|removed|removed/deep|removed/deep/file|value";
    assert_eq!(paths(DiffOptions::default()).join("|"), expected);
    let with_times = paths(DiffOptions { times: true, ..DiffOptions::default() });
    assert_eq!(with_times.join("|"), expected.replace("|value", "|same|value"));
    let with_links = paths(DiffOptions { hard_links: true, ..DiffOptions::default() });
    assert_eq!(with_links.join("|"), expected.replace("|group", "|first|group").replace("|value", "|second|value"));
}

/// Compares both directions, with and without times and hard links.
fn check(old: &[Layer], new: &[Layer]) -> TestCaseResult {
    let (old, new) = (Exported::new(old), Exported::new(new));
    for (from, to) in [(&old, &new), (&new, &old), (&old, &old)] {
        for all in [false, true] {
            let found = changes_of_roots(&from.root, &to.root, DiffOptions { times: all, hard_links: all });
            prop_assert_eq!(found, changes_of_directories(from, to, all));
        }
    }
    Ok(())
}

/// A root and its export.
struct Exported {
    root: Root,
    directory: tempfile::TempDir,
    listing: Listing,
}

impl Exported {
    fn new(layers: &[Layer]) -> Self {
        let root = Root::in_memory(layers);
        let directory = tempfile::tempdir().unwrap();
        export_directory(&root.fs, directory.path(), &DirectoryOptions::default()).unwrap();
        let listing = Listing::of_directory(directory.path()).unwrap();
        Self { root, directory, listing }
    }

    fn path(&self, path: &[u8]) -> PathBuf {
        self.directory.path().join(OsStr::from_bytes(path))
    }
}

fn changes_of_roots(old: &Root, new: &Root, options: DiffOptions) -> Changes {
    let found = old.fs.diff(&new.fs, &options).map(|change| {
        let found = match change.kind {
            ChangeKind::Added(_) => Found::Added,
            ChangeKind::Removed(_) => Found::Removed,
            ChangeKind::Changed { fields, .. } => Found::Changed(fields.iter().map(Field::name).collect()),
        };
        (change.path, found)
    });
    let list: Vec<_> = found.collect();
    let changes: Changes = list.iter().cloned().collect();
    assert_eq!(changes.len(), list.len(), "a path occurs once");
    changes
}

/// Compares two directories with lstat(2), readlink(2), listxattr(2) and the bytes of their files.
fn changes_of_directories(old: &Exported, new: &Exported, all: bool) -> Changes {
    let mut changes = Changes::new();
    let (old_rows, new_rows) = (&old.listing.rows, &new.listing.rows);
    for path in old_rows.keys().chain(new_rows.keys()) {
        let found = match (old_rows.get(path), new_rows.get(path)) {
            (Some(old_row), Some(new_row)) => {
                let links = |exported: &Exported| look_at(&exported.path(path)).nlink();
                let fields = differing_fields(old_row, new_row, all, links(old) != links(new));
                if fields.is_empty() { None } else { Some(Found::Changed(fields)) }
            }
            (None, _) => Some(Found::Added),
            (_, None) => Some(Found::Removed),
        };
        changes.extend(found.map(|found| (path.clone(), found)));
    }
    let fields = differing_fields(&root_row(old.directory.path()), &root_row(new.directory.path()), all, false);
    if !fields.is_empty() {
        changes.insert(Vec::new(), Found::Changed(fields));
    }
    changes
}

fn differing_fields(old: &Row, new: &Row, all: bool, links_differ: bool) -> BTreeSet<&'static str> {
    let same_kind = old.kind == new.kind;
    let are_files = old.kind != 'd' && new.kind != 'd';
    let differences = [
        ("type", !same_kind),
        ("content", same_kind && (old.size, &old.sha256) != (new.size, &new.sha256)),
        ("target", same_kind && old.target != new.target),
        ("device", same_kind && old.device != new.device),
        ("mode", old.mode != new.mode),
        ("owner", (old.uid, old.gid) != (new.uid, new.gid)),
        ("xattrs", old.xattrs != new.xattrs),
        ("mtime", all && old.mtime != new.mtime),
        ("links", all && are_files && (links_differ || old.link != new.link)),
    ];
    differences.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// Returns the attributes of the top directory, which a listing omits.
fn root_row(directory: &Path) -> Row {
    let metadata = look_at(directory);
    Row {
        kind: 'd',
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        size: None,
        device: None,
        link: None,
        target: None,
        xattrs: xattrs(directory),
        sha256: None,
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 1 << 16];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        (name.to_vec(), value)
    };
    names.map(value).collect()
}
