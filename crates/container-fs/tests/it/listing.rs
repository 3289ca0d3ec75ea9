//! Comparison of whole roots with the naive model.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use proptest::prelude::*;
use vmroot_container_fs::{ContainerFs, InodeKind, WalkEntry};
use vmroot_model::Digest;
use vmroot_testkit::arbitrary;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::{Listing, Row};
use vmroot_testkit::model::Tree;

use crate::stack::Stack;

/// Lists a root with a walk, in the canonical form.
pub(crate) fn listing(root: &ContainerFs) -> Listing {
    let entries: Vec<WalkEntry> = root.walk().filter(|entry| !entry.path.is_empty()).collect();
    let mut rows: BTreeMap<Vec<u8>, Row> = BTreeMap::new();
    for entry in &entries {
        rows.insert(entry.path.clone(), row(root, entry));
    }
    // The listing identifies a group of hard links by its first path in byte order (`a.wh.b`). This may not be its
    // first path in a walk (`a/d`), which sorts by names.
    let mut links: BTreeMap<&[u8], BTreeSet<&[u8]>> = BTreeMap::new();
    for entry in &entries {
        if let Some(first) = &entry.link_to {
            links.entry(first).or_default().extend([&first[..], &entry.path]);
        }
    }
    for paths in links.values() {
        for path in paths {
            rows.get_mut(*path).unwrap().link = paths.first().map(|first| first.to_vec());
        }
    }
    Listing { rows }
}

fn row(root: &ContainerFs, entry: &WalkEntry) -> Row {
    let stat = root.stat(entry.ino);
    assert_eq!(stat.kind, entry.kind);
    let regular = stat.kind == InodeKind::Regular;
    Row {
        kind: match stat.kind {
            InodeKind::Regular => 'f',
            InodeKind::Directory => 'd',
            InodeKind::Symlink => 'l',
            InodeKind::Character => 'c',
            InodeKind::Block => 'b',
            InodeKind::Fifo => 'p',
            InodeKind::Socket => 's',
            InodeKind::Link => panic!("a root has no links to paths"),
        },
        mode: stat.mode & 0o7777,
        uid: stat.uid,
        gid: stat.gid,
        mtime: i128::from(stat.mtime.seconds) * 1_000_000_000 + i128::from(stat.mtime.nanoseconds),
        size: regular.then_some(stat.size),
        device: matches!(stat.kind, InodeKind::Character | InodeKind::Block)
            .then_some((stat.device.major, stat.device.minor)),
        link: None,
        target: root.readlink(entry.ino).ok().map(<[u8]>::to_vec),
        xattrs: root.xattrs(entry.ino).map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
        sha256: regular.then(|| Digest::of(&read(root, entry, stat.size)).hex()[..32].to_owned()),
    }
}

/// Reads a file in chunks of an odd size.
fn read(root: &ContainerFs, entry: &WalkEntry, size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = [0; 1009];
    loop {
        match root.read_at(entry.ino, bytes.len() as u64, &mut piece).unwrap() {
            0 => break,
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
    assert_eq!(bytes.len() as u64, size);
    bytes
}

#[test]
fn a_group_of_links_has_the_first_path_in_byte_order() {
    let layers = [Layer::new([Entry::directory("a"), Entry::file("a/d", "x"), Entry::hard_link("a.wh.b", "a/d")])];
    let expected = Listing::of_tree(&Tree::of_layers(&layers).unwrap());
    assert_eq!(expected.rows[&b"a/d"[..]].link.as_deref(), Some(&b"a.wh.b"[..]));
    let actual = listing(&Stack::new().root(&layers));
    if let Some(difference) = expected.difference(&actual) {
        panic!("{difference}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn roots_equal_the_model(layers in arbitrary::stack()) {
        let expected = Listing::of_tree(&Tree::of_layers(&layers).unwrap());
        let stack = Stack::new();
        let actual = listing(&stack.root(&layers));
        let mut message = String::new();
        if let Some(difference) = expected.difference(&actual) {
            write!(message, "{difference}").unwrap();
        }
        prop_assert!(message.is_empty(), "{}", message);
    }
}
