//! Cases of names and links that lead out of the root, or deep into it.

use super::Case;
use crate::layer::{Encoding, Entry, Layer};

/// The number of levels of the deepest directory.
const DEPTH: usize = 4000;

fn refused(name: &'static str, entries: impl IntoIterator<Item = Entry>) -> Case {
    Case::refused(name, Layer::new(entries).to_tar(&Encoding::default()))
}

fn same(name: &'static str, entries: impl IntoIterator<Item = Entry>) -> Case {
    let layer = Layer::new(entries);
    Case::same(name, layer.to_tar(&Encoding::default()), layer.entries)
}

fn survived(name: &'static str, entries: impl IntoIterator<Item = Entry>) -> Case {
    Case::survived(name, Layer::new(entries).to_tar(&Encoding::default()))
}

pub(super) fn cases() -> Vec<Case> {
    [names(), links()].concat()
}

fn names() -> Vec<Case> {
    let deep = "d/".repeat(DEPTH);
    vec![
        refused("name that climbs out", [Entry::file("../outside", "")]),
        refused("absolute name that climbs out", [Entry::file("/../outside", "")]),
        refused("name that climbs out in the middle", [Entry::file("a/../../outside", "")]),
        refused("name that climbs and stays in", [Entry::file("a/../b", "")]),
        refused("directory ..", [Entry::directory("..")]),
        refused("whiteout that climbs out", [Entry::whiteout("../outside")]),
        refused("whiteout of nothing", [Entry::file("a/.wh.", "")]),
        refused("file below a whiteout", [Entry::file(".wh.a/b", "")]),
        refused("file for the root", [Entry::file(".", "x")]),
        refused("link for the root", [Entry::symlink("/", "a")]),
        refused("name of 256 bytes", [Entry::file("n".repeat(256), "")]),
        same("name of 255 bytes", [Entry::file("n".repeat(255), "")]),
        same("absolute name", [Entry::file("/etc/passwd", "x")]),
        survived("whiteouts of . and ..", [Entry::file("a/.wh..", ""), Entry::file("a/.wh...", "")]),
        same("four thousand levels", [Entry::file(format!("{deep}f"), "x")]),
    ]
}

fn links() -> Vec<Case> {
    vec![
        same("file through a link that climbs out", [Entry::symlink("s", "../../.."), Entry::file("s/etc/x", "x")]),
        same("file through an absolute link", [Entry::symlink("s", "/etc"), Entry::file("s/x", "x")]),
        same("file over a link", [Entry::symlink("s", "/etc/passwd"), Entry::file("s", "x")]),
        same("directory over a link", [Entry::symlink("s", "/etc"), Entry::directory("s"), Entry::file("s/x", "x")]),
        same("link to /proc/self/root", [Entry::symlink("s", "/proc/self/root/etc"), Entry::file("s/x", "x")]),
        refused("links in a circle", [Entry::symlink("a", "b"), Entry::symlink("b", "a"), Entry::file("a/x", "")]),
        refused("file below a file", [Entry::file("f", "x"), Entry::file("f/x", "x")]),
        refused("hard link that climbs out", [Entry::hard_link("h", "../../etc/passwd")]),
        refused("hard link to an absolute name that is not there", [Entry::hard_link("h", "/etc/passwd")]),
        refused("hard link to a directory", [Entry::directory("d"), Entry::hard_link("h", "d")]),
        refused("hard link to the root", [Entry::hard_link("h", "/")]),
        refused("hard link to itself", [Entry::hard_link("h", "h")]),
        refused("hard links in a circle", [Entry::hard_link("a", "b"), Entry::hard_link("b", "a")]),
        same(
            "hard link through a link that climbs out",
            [Entry::file("etc/x", "x"), Entry::symlink("s", "../../etc"), Entry::hard_link("h", "s/x")],
        ),
    ]
}
