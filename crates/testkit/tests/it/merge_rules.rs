//! Tests of the model against the rules of a merge, one test for each rule.

use vmroot_testkit::error::Reason;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::model::{Node, Tree};
use vmroot_testkit::{Error, Result};

fn merge(layers: &[&[Entry]]) -> Result<Tree> {
    let layers: Vec<Layer> = layers.iter().map(|entries| Layer::new(entries.iter().cloned())).collect();
    Tree::of_layers(&layers)
}

/// Returns the paths of the merged root, with a slash after directories.
fn paths(layers: &[&[Entry]]) -> Vec<String> {
    let tree = merge(layers).unwrap();
    let shown = tree.paths().into_iter().filter(|(path, _)| !path.is_empty()).map(|(path, id)| {
        let slash = if matches!(tree.inode(id).node, Node::Directory(_)) { "/" } else { "" };
        format!("{}{slash}", path.escape_ascii())
    });
    shown.collect()
}

fn content(tree: &Tree, path: &str) -> Vec<u8> {
    match tree.inode(tree.lookup(path).unwrap()).node {
        Node::File(content) => content.expand(),
        other => panic!("{path} is {other:?}"),
    }
}

fn mode(tree: &Tree, path: &str) -> u32 {
    tree.inode(tree.lookup(path).unwrap()).attributes.mode
}

fn reason(layers: &[&[Entry]]) -> Reason {
    match merge(layers).unwrap_err() {
        Error::Entry { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

fn file(name: &str) -> Entry {
    Entry::file(name, name)
}

#[test]
fn whiteout_hides_lower_layers_only_at_any_position() {
    let lower: &[Entry] = &[file("a"), file("b"), file("d/x")];
    assert_eq!(paths(&[lower, &[Entry::whiteout("a"), Entry::whiteout("d")]]), ["b"]);
    for order in [[Entry::whiteout("a"), Entry::file("a", "new")], [Entry::file("a", "new"), Entry::whiteout("a")]] {
        assert_eq!(content(&merge(&[lower, &order]).unwrap(), "a"), b"new");
    }
    assert_eq!(paths(&[&[Entry::whiteout("a"), file("a")]]), ["a"]);
}

#[test]
fn whiteout_beside_a_directory_of_the_same_name_makes_it_opaque() {
    let lower: &[Entry] = &[Entry::directory("d").mode(0o700), file("d/old")];
    for upper in [[Entry::whiteout("d"), file("d/new")], [file("d/new"), Entry::whiteout("d")]] {
        let layers: &[&[Entry]] = &[lower, &upper];
        assert_eq!(paths(layers), ["d/", "d/new"]);
        assert_eq!(mode(&merge(layers).unwrap(), "d"), 0o755, "the hidden directory's attributes are hidden too");
    }
}

#[test]
fn opaque_marker_hides_children_and_keeps_the_directory() {
    let lower: &[Entry] = &[Entry::directory("d").mode(0o700), file("d/old"), file("e")];
    for upper in [[Entry::opaque("d"), file("d/new")], [file("d/new"), Entry::opaque("d")]] {
        let layers: &[&[Entry]] = &[lower, &upper];
        assert_eq!(paths(layers), ["d/", "d/new", "e"]);
        assert_eq!(mode(&merge(layers).unwrap(), "d"), 0o700);
    }
    for root in ["", ".", "./", "/"] {
        assert_eq!(paths(&[lower, &[file("n"), Entry::opaque(root)]]), ["n"], "{root:?}");
    }
}

#[test]
fn names_that_only_look_like_markers() {
    let lower: &[Entry] = &[file("a"), file("d/x")];
    assert_eq!(paths(&[lower, &[file("d/not.a.wh..wh..opq")]]), ["a", "d/", "d/not.a.wh..wh..opq", "d/x"]);
    assert_eq!(paths(&[lower, &[file(".wh..wh.foo"), file(".wh.."), file(".wh...")]]), ["a", "d/", "d/x"]);
    assert_eq!(reason(&[&[file("d/.wh.")]]), Reason::BareWhiteout);
    assert_eq!(reason(&[&[file(".wh.d/x")]]), Reason::BelowWhiteout);
}

/// Tools write layers that record a deletion on every level: an empty `/test` must not reappear. umoci agrees in either
/// order of entries.
#[test]
fn a_marker_does_not_restore_a_deleted_directory() {
    let lower: &[Entry] = &[file("test/test"), file("test/sub/x"), file("keep")];
    for below in
        [Entry::whiteout("test/test"), Entry::opaque("test"), Entry::whiteout("test/sub/x"), Entry::opaque("test/sub")]
    {
        for upper in [[Entry::whiteout("test"), below.clone()], [below.clone(), Entry::whiteout("test")]] {
            assert_eq!(paths(&[lower, &upper]), ["keep"], "{upper:?}");
        }
    }
    for hides in [Entry::opaque("test"), Entry::opaque("")] {
        for upper in [[hides.clone(), Entry::whiteout("test/sub/x")], [Entry::whiteout("test/sub/x"), hides.clone()]] {
            assert!(!paths(&[lower, &upper]).contains(&"test/sub/".to_owned()), "{upper:?}");
        }
    }
    // A directory that has an entry, or that an entry needs, exists. Markers below it do not change that.
    let made_anew = [Entry::whiteout("test"), Entry::whiteout("test/sub/x"), file("test/new")];
    assert_eq!(paths(&[lower, &made_anew]), ["keep", "test/", "test/new"]);
}

/// Docker 20 and 28 and overlayfs agree.
#[test]
fn a_marker_where_no_layer_has_a_directory_makes_it() {
    for marker in [Entry::whiteout("no/such/x"), Entry::opaque("no/such")] {
        assert_eq!(paths(&[&[file("keep")], &[marker]]), ["keep", "no/", "no/such/"]);
    }
}

/// A directory that becomes a file, in a layer that also records the deletions in it. umoci and buildah keep the file
/// in either order of entries.
#[test]
fn a_marker_below_a_non_directory_of_its_layer_hides_nothing() {
    let lower: &[Entry] = &[file("a/b"), file("a/c/d"), file("t/b")];
    for marker in [Entry::whiteout("a/b"), Entry::opaque("a"), Entry::whiteout("a/c/d"), Entry::opaque("a/c")] {
        for other in [file("a"), Entry::fifo("a"), Entry::hard_link("a", "t/b"), Entry::symlink("a", "a")] {
            for upper in [[other.clone(), marker.clone()], [marker.clone(), other]] {
                assert_eq!(paths(&[lower, &upper]), ["a", "t/", "t/b"], "{upper:?}");
            }
        }
    }
}

/// Docker 28 and umoci follow the link only if it precedes the marker.
#[test]
fn a_marker_behind_a_link_makes_no_directory() {
    let lower: &[Entry] = &[file("a/b"), file("o/z")];
    assert_eq!(paths(&[lower, &[Entry::symlink("a", "nowhere"), Entry::whiteout("a/b")]]), ["a", "o/", "o/z"]);
    assert_eq!(paths(&[lower, &[Entry::symlink("a", "o"), Entry::whiteout("a/z")]]), ["a", "o/"]);
}

#[test]
fn a_marker_path_is_resolved_at_its_position() {
    let lower: &[Entry] = &[file("a/x"), file("b/x")];
    let (link, marker) = (Entry::symlink("a", "b"), Entry::whiteout("a/x"));
    assert_eq!(paths(&[lower, &[link.clone(), marker.clone()]]), ["a", "b/"]);
    assert_eq!(paths(&[lower, &[marker, link]]), ["a", "b/", "b/x"]);
}

#[test]
fn a_directory_deleted_and_made_again_is_empty() {
    assert_eq!(paths(&[&[file("d/x")], &[Entry::whiteout("d")], &[Entry::directory("d")]]), ["d/"]);
}

#[test]
fn kinds_replace_each_other() {
    assert_eq!(paths(&[&[file("d/x/y")], &[file("d")]]), ["d"]);
    assert_eq!(paths(&[&[file("d")], &[file("d/x")]]), ["d/", "d/x"]);
    assert_eq!(paths(&[&[file("t/x"), Entry::symlink("d", "t")], &[file("d/y")]]), ["d/", "d/y", "t/", "t/x"]);
    assert_eq!(paths(&[&[file("d/x"), Entry::fifo("d"), Entry::directory("d")]]), ["d/"]);
}

#[test]
fn later_duplicates_win() {
    let tree = merge(&[&[Entry::file("a", "1"), Entry::file("./a", "2"), Entry::file("/a", "3")]]).unwrap();
    assert_eq!(content(&tree, "a"), b"3");
    let directories = [Entry::directory("d/").xattr("user.a", "1"), file("d/x"), Entry::directory("d").mode(0o1777)];
    let tree = merge(&[&directories]).unwrap();
    assert_eq!(mode(&tree, "d"), 0o1777);
    assert!(tree.inode(tree.lookup("d").unwrap()).attributes.xattrs.is_empty());
    assert!(tree.lookup("d/x").is_some());
}

#[test]
fn later_entries_do_not_remove_markers() {
    let lower: &[Entry] = &[file("d/x"), file("d/y")];
    for marker in [Entry::opaque("d"), Entry::whiteout("d")] {
        for upper in [
            [marker.clone(), file("d"), Entry::directory("d")],
            [file("d"), marker.clone(), Entry::directory("d")],
            [file("d"), Entry::directory("d"), marker],
        ] {
            assert_eq!(paths(&[lower, &upper]), ["d/"], "{upper:?}");
        }
    }
}

#[test]
fn missing_parents_take_the_attributes_below() {
    let lower: &[Entry] = &[Entry::directory("d").mode(0o1777).owner(70_000, 5)];
    let tree = merge(&[lower, &[file("d/e/f")]]).unwrap();
    assert_eq!((mode(&tree, "d"), mode(&tree, "d/e")), (0o1777, 0o755));
    assert_eq!(mode(&merge(&[lower, &[Entry::directory("d")]]).unwrap(), "d"), 0o755);
}

#[test]
fn root_has_attributes_and_is_a_directory() {
    for name in ["", ".", "./", "/", "//."] {
        assert_eq!(mode(&merge(&[&[Entry::directory(name).mode(0o700)]]).unwrap(), ""), 0o700);
        let layers: &[&[Entry]] = &[&[Entry::symlink(name, "x")]];
        assert_eq!(reason(layers), Reason::RootNotADirectory);
    }
    assert_eq!(mode(&merge(&[&[Entry::directory(".").mode(0o700)], &[file("a")]]).unwrap(), ""), 0o700);
    assert_eq!(reason(&[&[file("./")]]), Reason::RootNotADirectory);
}

#[test]
fn a_regular_file_with_a_trailing_slash_is_a_file() {
    assert_eq!(paths(&[&[file("f/")]]), ["f"]);
    assert_eq!(reason(&[&[file("d/"), file("d/x")]]), Reason::ParentNotADirectory);
}

#[test]
fn parents_that_are_links_of_the_layer_are_followed() {
    let usr_merge = [Entry::symlink("lib", "usr/lib"), file("lib/x")];
    assert_eq!(paths(&[&usr_merge]), ["lib", "usr/", "usr/lib/", "usr/lib/x"]);
    let clamped = [Entry::symlink("a/s", "../../../b"), Entry::symlink("t", "/a/s/c"), file("t/x")];
    assert_eq!(paths(&[&clamped]), ["a/", "a/s", "b/", "b/c/", "b/c/x", "t"]);
    let hidden: &[&[Entry]] = &[&[file("usr/lib/x")], &[Entry::symlink("lib", "usr/lib"), Entry::whiteout("lib/x")]];
    assert_eq!(paths(hidden), ["lib", "usr/", "usr/lib/"]);
    assert_eq!(reason(&[&[Entry::symlink("l", "l"), file("l/x")]]), Reason::TooManyLinks);
    assert_eq!(reason(&[&[file("f"), file("f/x")]]), Reason::ParentNotADirectory);
}

#[test]
fn forty_links_and_no_more() {
    let chain = |count: usize| {
        let links = (0..count).map(|i| Entry::symlink(format!("l{i}"), format!("l{}", i + 1)));
        links.chain([Entry::directory(format!("l{count}")), file("l0/x")]).collect::<Vec<_>>()
    };
    assert!(merge(&[&chain(40)]).unwrap().lookup("l40/x").is_some());
    assert_eq!(reason(&[&chain(41)]), Reason::TooManyLinks);
}

fn same_inode(tree: &Tree, a: &str, b: &str) -> bool {
    tree.lookup(a).unwrap() == tree.lookup(b).unwrap()
}

#[test]
fn hard_links_in_a_layer() {
    assert!(same_inode(&merge(&[&[file("a"), Entry::hard_link("b", "a")]]).unwrap(), "a", "b"));
    assert!(same_inode(&merge(&[&[Entry::hard_link("b", "./a"), file("a")]]).unwrap(), "a", "b"));
    let chain = [Entry::hard_link("c", "b"), Entry::hard_link("b", "a"), file("a")];
    let tree = merge(&[&chain]).unwrap();
    assert!(same_inode(&tree, "a", "c") && same_inode(&tree, "a", "b"));
    let through_parent = [Entry::symlink("s", "d"), file("d/a"), Entry::hard_link("b", "s/a")];
    assert!(same_inode(&merge(&[&through_parent]).unwrap(), "b", "d/a"));
    let to_link = [file("a"), Entry::symlink("s", "a"), Entry::hard_link("t", "s")];
    let tree = merge(&[&to_link]).unwrap();
    assert!(same_inode(&tree, "s", "t") && !same_inode(&tree, "a", "t"));
}

#[test]
fn hard_link_to_a_later_replaced_file_keeps_the_old_inode() {
    let entries = [Entry::file("a", "old"), Entry::hard_link("b", "a"), Entry::file("a", "new")];
    let tree = merge(&[&entries]).unwrap();
    assert_eq!((content(&tree, "a"), content(&tree, "b")), (b"new".to_vec(), b"old".to_vec()));
    let inside = [Entry::file("d/f", "x"), Entry::hard_link("d", "d/f")];
    assert_eq!(content(&merge(&[&inside]).unwrap(), "d"), b"x");
}

#[test]
fn hard_links_to_lower_layers() {
    let lower: &[Entry] = &[file("a")];
    let link: &[Entry] = &[Entry::hard_link("b", "a")];
    assert!(same_inode(&merge(&[lower, link]).unwrap(), "a", "b"));
    let tree = merge(&[lower, link, &[Entry::file("a", "new")]]).unwrap();
    assert_eq!((content(&tree, "a"), content(&tree, "b")), (b"new".to_vec(), b"a".to_vec()));
    assert_eq!(paths(&[lower, link, &[Entry::whiteout("a")]]), ["b"]);
    assert_eq!(paths(&[lower, &[Entry::whiteout("a"), Entry::hard_link("b", "a")]]), ["b"]);
    let shadowed = merge(&[lower, &[Entry::hard_link("b", "a"), Entry::file("a", "new")]]).unwrap();
    assert!(same_inode(&shadowed, "a", "b"), "the layer's own a is looked at before the lower one");
}

#[test]
fn hard_links_that_lead_nowhere() {
    assert_eq!(reason(&[&[Entry::hard_link("b", "a")]]), Reason::LinkTargetMissing(b"a".to_vec()));
    assert_eq!(reason(&[&[Entry::hard_link("a", "a")]]), Reason::LinkTargetMissing(b"a".to_vec()));
    let circle = [Entry::hard_link("a", "b"), Entry::hard_link("b", "a")];
    assert_eq!(reason(&[&[file("a")], &circle]), Reason::LinkTargetMissing(b"b".to_vec()));
    assert_eq!(reason(&[&[Entry::directory("d"), Entry::hard_link("b", "d")]]), Reason::LinkToDirectory(b"d".to_vec()));
    assert_eq!(reason(&[&[file("d/x")], &[Entry::hard_link("b", "d")]]), Reason::LinkToDirectory(b"d".to_vec()));
    assert_eq!(reason(&[&[file("a"), Entry::hard_link("b", "../a")]]), Reason::DotDot);
}

#[test]
fn a_pending_hard_link_cannot_be_part_of_a_path() {
    let lower: &[Entry] = &[Entry::symlink("s", "/"), file("x")];
    let through_lower = [Entry::hard_link("d", "s"), Entry::hard_link("b", "d/x")];
    assert_eq!(reason(&[lower, &through_lower]), Reason::LinkTargetMissing(b"d/x".to_vec()));
    let through_later = [Entry::hard_link("d", "s"), Entry::hard_link("b", "d/x"), Entry::symlink("s", "."), file("x")];
    assert_eq!(reason(&[&through_later]), Reason::LinkTargetMissing(b"d/x".to_vec()));
    assert_eq!(reason(&[lower, &[Entry::hard_link("d", "s"), file("d/y")]]), Reason::ParentNotADirectory);
}

#[test]
fn names_that_leave_the_root_are_refused() {
    for name in ["..", "../a", "a/../b", "a/..", "/../a"] {
        let error = merge(&[&[file("ok"), file(name)]]).unwrap_err();
        assert_eq!(error.to_string(), format!("entry 1, {name}: has a .. component"));
    }
    let long = "n".repeat(256);
    assert_eq!(reason(&[&[file(&long)]]), Reason::NameTooLong);
    assert_eq!(paths(&[&[file(&long[1..])]]).len(), 1);
}

#[test]
fn four_thousand_levels() {
    let deep = "d/".repeat(4000);
    let layer = [Entry::file(format!("{deep}f"), "x")];
    assert_eq!(paths(&[&layer, &layer]).len(), 4001);
}
