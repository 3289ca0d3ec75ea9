//! Tests of merging. The bytes do not depend on the order of the merges or on the reader.

use std::io::BufReader;
use std::path::Path;

use proptest::prelude::*;
use vmroot_layer_index::{BuildOptions, Error, Index, InodeId, build, dump};
use vmroot_model::Digest;
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::arbitrary;
use vmroot_testkit::layer::{Encoding, Entry, Layer};

use crate::stack::{Stack, chain_id, lookup, merged, paths};

fn index(bytes: Vec<u8>) -> Index {
    Index::from_bytes(bytes).expect("open() accepts the output of merge()")
}

fn stack_of(layers: &[&[Entry]]) -> Stack {
    let tars: Vec<_> =
        layers.iter().map(|entries| Layer::new(entries.iter().cloned()).to_tar(&Encoding::default())).collect();
    Stack::build(&tars).unwrap()
}

/// Builds a layer, and returns the bytes of `.idx` and `.contents`.
fn built(tar: impl std::io::BufRead, directory: &Path) -> (Vec<u8>, Vec<u8>) {
    let index = build(tar, directory, &BuildOptions::default()).unwrap().publish().unwrap();
    (std::fs::read(&index).unwrap(), std::fs::read(index.with_extension("contents")).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn merging_at_once_or_in_steps_gives_the_same_bytes(layers in arbitrary::stack(), cut in 0..=arbitrary::LAYERS) {
        let tars: Vec<_> = layers.iter().map(|layer| layer.to_tar(&Encoding::default())).collect();
        let stack = Stack::build(&tars).unwrap();
        let at_once = stack.merge().unwrap();

        let empty = index(merged(None, &[]).unwrap());
        let one_by_one = stack.layers.iter().fold(empty, |base, layer| index(merged(Some(&base), &[layer]).unwrap()));
        prop_assert!(at_once == merged(Some(&one_by_one), &[]).unwrap(), "one by one");

        let (lower, upper) = stack.layers.split_at(cut.min(stack.layers.len()));
        let base = index(merged(None, &lower.iter().collect::<Vec<_>>()).unwrap());
        prop_assert!(at_once == merged(Some(&base), &upper.iter().collect::<Vec<_>>()).unwrap(), "in two steps");
    }

    #[test]
    fn bytes_do_not_depend_on_the_reader(
        layer in arbitrary::stack().prop_map(|mut layers| layers.swap_remove(0)),
        encoding in arbitrary::encoding(),
        capacity in prop_oneof![1..10_usize, 500..520_usize, Just(1 << 20)],
    ) {
        let tar = layer.to_tar(&encoding);
        let directory = tempfile::tempdir().unwrap();
        let whole = built(tar.as_slice(), directory.path());
        prop_assert!(whole == built(BufReader::with_capacity(capacity, tar.as_slice()), directory.path()));
    }
}

#[test]
fn a_root_of_no_layers_is_an_empty_directory() {
    let root = index(merged(None, &[]).unwrap());
    assert!(root.is_root() && root.contents().is_empty());
    assert_eq!((root.inode_count(), root.dirent_count()), (1, 0));
    assert_eq!((root.inode(InodeId::ROOT).mode(), root.inode(InodeId::ROOT).nlink()), (0o040_755, 2));
    assert_eq!(*root.identity(), chain_id());
}

#[test]
fn an_opaque_marker_hides_children_but_not_attributes() {
    let lower: &[Entry] =
        &[Entry::directory(".").mode(0o711), Entry::directory("d").mode(0o700), Entry::file("d/f", "x")];
    let stack = stack_of(&[lower, &[Entry::opaque("d"), Entry::opaque("")]]);
    let root = stack.root().unwrap();
    assert_eq!(root.inode(InodeId::ROOT).mode() & 0o7777, 0o711);
    assert_eq!(lookup(&root, "d"), None, "the whole root is hidden, and a marker does not bring the directory back");

    let root = stack_of(&[lower, &[Entry::opaque("d")]]).root().unwrap();
    assert_eq!(root.inode(lookup(&root, "d").unwrap()).mode() & 0o7777, 0o700);
    assert_eq!(lookup(&root, "d/f"), None);

    let root = stack_of(&[lower, &[Entry::whiteout("d"), Entry::file("d/g", "")]]).root().unwrap();
    assert_eq!(root.inode(lookup(&root, "d").unwrap()).mode() & 0o7777, 0o755, "a whiteout hides attributes as well");
    assert!(lookup(&root, "d/g").is_some() && lookup(&root, "d/f").is_none());
}

/// umoci and Docker delete the target of the links, and do not create the directories of the path.
#[test]
fn a_marker_behind_a_link_creates_no_directory() {
    let names = |layers: &[&[Entry]]| {
        let paths = paths(&stack_of(layers).root().unwrap()).into_keys().map(|path| String::from_utf8(path).unwrap());
        paths.collect::<Vec<_>>()
    };
    let lower: &[Entry] = &[Entry::file("a/b", ""), Entry::file("o/c/z", ""), Entry::file("o/y", "")];
    assert_eq!(
        names(&[lower, &[Entry::symlink("a", "nowhere"), Entry::whiteout("a/b")]]),
        ["a", "o", "o/c", "o/c/z", "o/y"]
    );
    let deep = [Entry::symlink("a", "o"), Entry::whiteout("a/c/z"), Entry::whiteout("a/no/z"), Entry::opaque("a/c/d")];
    assert_eq!(names(&[lower, &deep]), ["a", "o", "o/c", "o/y"]);
    assert_eq!(names(&[lower, &[Entry::symlink("a", "o"), Entry::opaque("a")]]), ["a", "o"]);
    // Directories with entries in the same layer, in an upper layer, or in a deleted one are not affected.
    let both = [Entry::symlink("a", "x"), Entry::whiteout("a/b"), Entry::whiteout("x/c")];
    assert_eq!(names(&[lower, &both]), ["a", "o", "o/c", "o/c/z", "o/y", "x"]);
    let upper = [Entry::file("x/f", "")];
    assert_eq!(names(&[&[Entry::file("x", "")], &both[..2], &upper]), ["a", "x", "x/f"]);
    assert_eq!(names(&[&[Entry::file("x", "")], &both[..2]]), ["a", "x"], "a file below stays");
    assert_eq!(names(&[&[Entry::file("x/b", "")], &both[..2], &[Entry::whiteout("x")]]), ["a"]);
    assert_eq!(names(&[&[Entry::file("x/b", "")], &[Entry::whiteout("x")], &both[..2]]), ["a"]);
}

/// umoci links the lower file before the directory replaces it.
#[test]
fn a_hard_link_keeps_the_lower_file_that_a_directory_replaces() {
    let upper: &[Entry] = &[Entry::hard_link("kept", "f"), Entry::file("f/g", "")];
    let stack = stack_of(&[&[Entry::file("f", "bytes")], upper]);
    assert_eq!(stack.read(&stack.root().unwrap(), "kept"), b"bytes");
}

#[test]
fn the_longest_name_can_be_hidden() {
    let name = "n".repeat(255);
    let root = stack_of(&[&[Entry::file(&name, "x")], &[Entry::whiteout(&name)]]).root().unwrap();
    assert_eq!(root.dirent_count(), 0);
}

#[test]
fn a_link_whose_target_no_lower_layer_has_is_an_error_even_when_hidden() {
    let layers: [&[Entry]; 3] =
        [&[Entry::file("a", "x")], &[Entry::hard_link("d/e/b", "c")], &[Entry::whiteout("d"), Entry::file("c", "")]];
    let error = stack_of(&layers).merge().unwrap_err();
    assert_eq!(
        error.full_message(),
        "hard link \"d/e/b\": its target \"c\" is neither in its layer nor in a lower one"
    );
}

#[test]
fn links_through_links_of_every_layer_take_linear_time() {
    // Each link leads through the link of the layer below twice. Without memoisation, this takes 2^60 steps.
    let mut layers = vec![vec![Entry::directory("d"), Entry::symlink("d/s0", "."), Entry::file("d/f", "x")]];
    for number in 1..60 {
        let (below, link) = (format!("d/s{}", number - 1), format!("d/s{number}"));
        let through = format!("{below}/s{}/s0", number - 1);
        layers.push(vec![Entry::hard_link(&link, through)]);
    }
    let layers: Vec<&[Entry]> = layers.iter().map(Vec::as_slice).collect();
    let root = stack_of(&layers).root().unwrap();
    assert_eq!(lookup(&root, "d/s59"), lookup(&root, "d/s0"));
}

#[test]
fn a_root_has_the_contents_files_of_its_layers() {
    let stack = stack_of(&[&[Entry::file("a", "a")], &[Entry::file("b", "b")]]);
    let root = stack.root().unwrap();
    let expected: Vec<_> = stack.layers.iter().map(|layer| layer.contents()[0]).collect();
    assert_eq!(root.contents(), expected);
    assert!(stack.layers.iter().all(|layer| *layer.identity() == layer.contents()[0].diff_id));
    assert!(!stack.layers[0].is_root());
}

#[test]
fn sha512_diff_ids_are_supported() {
    let tar = Layer::new([Entry::file("a", "a")]).to_tar(&Encoding::default());
    let mut hasher = vmroot_model::Hasher::new(vmroot_model::Algorithm::Sha512);
    hasher.update(&tar);
    let expected = hasher.finish();
    let directory = tempfile::tempdir().unwrap();
    let options = BuildOptions { expected: Some(expected), ..BuildOptions::default() };
    let layer = Index::open(&build(tar.as_slice(), directory.path(), &options).unwrap().publish().unwrap()).unwrap();
    assert_eq!((*layer.identity(), layer.contents()[0].diff_id), (expected, expected));

    let wrong = Digest::of(b"something else");
    let options = BuildOptions { expected: Some(wrong), ..BuildOptions::default() };
    match build(tar.as_slice(), directory.path(), &options).unwrap_err() {
        Error::DiffIdMismatch { expected, actual } => assert_eq!((expected, actual), (wrong, Digest::of(&tar))),
        other => panic!("{other}"),
    }
}

#[test]
fn a_dump_has_all_fields() {
    let entries = [
        Entry::file("a\nb", "x").xattr("user.a", "1\0"),
        Entry::symlink("s", "t\tu"),
        Entry::char_device("null", 1, 3),
        Entry::whiteout("w"),
        Entry::hard_link("l", "lower"),
        Entry::opaque("d"),
        Entry::file("e/f", ""),
    ];
    let stack = stack_of(&[&entries]);
    let mut text = Vec::new();
    dump(&stack.layers[0], &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let hash = blake3::hash(b"x").to_hex();
    let expected = format!(
        ". 0 040755 0:0 0.000000000 implicit\n\
         a\\nb 1 100644 0:0 0.000000000 size 1 at 0:0 blake3:{hash} user.a=1\\0\n\
         d 2 040755 0:0 0.000000000 opaque implicit\n\
         e 3 040755 0:0 0.000000000 implicit\n\
         e/f 7 100644 0:0 0.000000000 size 0\n\
         l 4 000000 0:0 0.000000000 link to lower\n\
         null 5 020644 0:0 0.000000000 device 1:3\n\
         s 6 120777 0:0 0.000000000 -> t\\tu\n\
         w whiteout\n"
    );
    let (head, tree) = text.split_at(text.find("\n. ").unwrap() + 1);
    assert_eq!(tree, expected);
    let diff_id = stack.layers[0].identity();
    assert_eq!(head, format!("layer {diff_id} inodes 8 dirents 8\ncontents {diff_id} 4096\n"));
}
