//! Tests of the model against overlayfs.

use std::fs;
use std::process::Command;

use proptest::prelude::*;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::model::Tree;
use vmroot_testkit::overlay::Overlay;
use vmroot_testkit::{arbitrary, skip};

fn assert_kernel_agrees(layers: &[Layer]) {
    let model = Listing::of_tree(&Tree::of_layers(layers).unwrap());
    let overlay = Overlay::of_layers(layers).unwrap();
    model.assert_same(&overlay.listing().unwrap());
}

/// Returns a configuration with at least this many cases. `PROPTEST_CASES` can increase it.
fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: cases.max(default.cases), failure_persistence: None, ..default }
}

#[test]
fn random_stacks() {
    if skip::needs_root() {
        return;
    }
    proptest!(config(400), |(layers in arbitrary::stack())| assert_kernel_agrees(&layers));
}

#[test]
fn invalid_stacks_are_refused_by_both() {
    if skip::needs_root() {
        return;
    }
    proptest!(config(200), |(layers in arbitrary::any_stack())| {
        let model = Tree::of_layers(&layers);
        let overlay = Overlay::of_layers(&layers);
        prop_assert_eq!(model.is_ok(), overlay.is_ok(), "{:?} {:?}", model.err(), overlay.err());
    });
}

#[test]
fn cross_layer_hard_links_keep_all_names_together() {
    if skip::needs_root() {
        return;
    }
    let bottom = Layer::new([
        Entry::directory("d").mode(0o1777).mtime(5, 6),
        Entry::file("d/a", "one").mode(0o4755).xattr("user.x", b"\0\n"),
        Entry::hard_link("d/b", "d/a"),
        Entry::hard_link("gone", "d/a"),
        Entry::symlink("s", "d"),
        Entry::symlink("d/link", "a"),
    ]);
    let middle = Layer::new([
        Entry::hard_link("c", "s/a"),
        Entry::hard_link("e", "d/link"),
        Entry::whiteout("gone"),
        Entry::hard_link("again", "c"),
    ]);
    let top = Layer::new([
        Entry::file("d/a", "two"),
        Entry::hard_link("f", "gone-from-here"),
        Entry::file("gone-from-here", ""),
    ]);
    assert_kernel_agrees(&[bottom, middle, top]);
}

#[test]
fn an_opaque_root_hides_all_layers_below() {
    if skip::needs_root() {
        return;
    }
    let bottom = Layer::new([Entry::directory(".").mode(0o700), Entry::file("a/b", "1")]);
    let top = Layer::new([Entry::opaque(""), Entry::file("c", "2")]);
    assert_kernel_agrees(&[bottom.clone(), top.clone(), bottom]);
}

/// Compares with a listing by another program of the same mount, if that program is installed.
#[test]
fn listing_equals_that_of_find() {
    if skip::needs_root() || skip::needs_program("find") {
        return;
    }
    let layer = Layer::new([
        Entry::file("tab\t and\nnewline\\", "x").mode(0o4755).owner(70_000, 80_000).mtime(-5, 250_000_000),
        Entry::symlink("s", "a b").owner(1, 2),
        Entry::directory("d").mode(0o1777),
        Entry::char_device("c", 5, 1),
    ]);
    let overlay = Overlay::of_layers(&[layer]).unwrap();
    let output =
        Command::new("find").arg(overlay.path()).args(["-mindepth", "1", "-printf", "%P\\0%y %m %U %G %l\\0"]).output();
    let output = output.unwrap().stdout;
    let mut found: Vec<_> =
        output.split(|byte| *byte == 0).map(|field| String::from_utf8(field.to_vec()).unwrap()).collect();
    assert_eq!(found.pop().unwrap(), "");
    let listing = overlay.listing().unwrap();
    assert_eq!(found.len(), 2 * listing.rows.len());
    for pair in found.chunks(2) {
        let row = &listing.rows[pair[0].as_bytes()];
        let target = String::from_utf8(row.target.clone().unwrap_or_default()).unwrap();
        assert_eq!(pair[1], format!("{} {:o} {} {} {target}", row.kind, row.mode, row.uid, row.gid));
    }
}

#[test]
fn listing_text() {
    let layer = Layer::new([
        Entry::file("b \\", "x")
            .mode(0o4755)
            .owner(70_000, 8)
            .mtime(-5, 250_000_000)
            .xattr("user.b", [1, 255])
            .xattr("user.a", ""),
        Entry::hard_link("a", "b \\"),
        Entry::symlink("s", "a b"),
        Entry::block_device("d", 259, 65_536),
    ]);
    let text = Listing::of_tree(&Tree::of_layers(&[layer]).unwrap()).to_string();
    let expected = "\
. d
a f 4755 70000 8 -4750000000 1 - a - user.a=,user.b=01ff 2d711642b726b04401627ca9fbac32f5
b\\x20\\x5c f 4755 70000 8 -4750000000 1 - a - user.a=,user.b=01ff 2d711642b726b04401627ca9fbac32f5
d b 644 0 0 0 - 259:65536 - - - -
s l 777 0 0 0 - - - a\\x20b - -
";
    assert_eq!(text, expected);
}

#[test]
fn dropping_an_overlay_unmounts_it() {
    if skip::needs_root() {
        return;
    }
    let overlay = Overlay::of_layers(&[Layer::new([Entry::file("a", "x")])]).unwrap();
    let path = overlay.path().to_path_buf();
    assert_eq!(fs::read(path.join("a")).unwrap(), b"x");
    assert!(fs::write(path.join("b"), "x").is_err(), "read-only");
    drop(overlay);
    assert!(!path.exists());
    assert!(!fs::read_to_string("/proc/self/mounts").unwrap().contains(path.to_str().unwrap()));
}
