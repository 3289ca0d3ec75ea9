//! Tests that GNU tar reads the written tars of layers.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use vmroot_testkit::layer::{Dialect, Encoding, Entry, Kind, Layer, XattrForm};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::model::Tree;
use vmroot_testkit::overlay::Overlay;
use vmroot_testkit::tar_builder::SparseForm;
use vmroot_testkit::{arbitrary, skip};

fn assert_gnu_tar_agrees(layers: &[Layer], encoding: &Encoding) {
    let directory = tempfile::tempdir().unwrap();
    let tars: Vec<PathBuf> = (0..layers.len()).map(|number| directory.path().join(format!("{number}.tar"))).collect();
    for (layer, tar) in layers.iter().zip(&tars) {
        fs::write(tar, layer.to_tar(encoding)).unwrap();
    }
    let model = Listing::of_tree(&Tree::of_layers(layers).unwrap());
    let overlay = Overlay::of_tars(&tars).unwrap_or_else(|error| panic!("{encoding:?}: {error}"));
    model.assert_same(&overlay.listing().unwrap());
}

/// Returns the layer with a unique name for every entry, because GNU tar replaces files by other rules than those of
/// layers. Hard links refer to the first file.
fn with_unique_names(layer: Layer) -> Layer {
    let mut target: Option<Vec<u8>> = None;
    let mut entries = Vec::new();
    for (number, mut entry) in layer.entries.into_iter().enumerate() {
        // When GNU tar reads a directory named `x/.`, the directory exists already and gets no xattrs.
        let ends_with_dot = entry.name.split(|byte| *byte == b'/').rfind(|part| !part.is_empty()) == Some(b".");
        if ends_with_dot || entry.name.windows(4).any(|part| part == b".wh.") {
            continue;
        }
        // Only GNU tar makes a directory of a file whose name ends with a slash.
        if let Kind::File(_) = entry.kind {
            while entry.name.ends_with(b"/") {
                entry.name.pop();
            }
        }
        entry.name = [format!("{number:02}/").as_bytes(), &entry.name].concat();
        match (&mut entry.kind, &target) {
            (Kind::HardLink(_), None) => continue,
            (Kind::HardLink(name), Some(target)) => *name = target.clone(),
            (Kind::File(_), None) => target = Some(entry.name.clone()),
            _ => {}
        }
        entries.push(entry);
    }
    Layer::new(entries)
}

#[test]
fn random_layers_in_every_dialect() {
    if skip::needs_root() || skip::needs_program("tar") {
        return;
    }
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(layer in arbitrary::layer(), encoding in arbitrary::encoding())| {
        // GNU tar does not know libarchive's xattrs.
        let xattrs = if encoding.xattrs == XattrForm::Libarchive { XattrForm::Both } else { encoding.xattrs };
        assert_gnu_tar_agrees(&[with_unique_names(layer)], &Encoding { xattrs, ..encoding });
    });
}

#[test]
fn sparse_files_in_every_form_and_dialect() {
    if skip::needs_root() || skip::needs_program("tar") {
        return;
    }
    let many = (0..100).map(|run| (run * 10_000 + 1, vec![b'x'; 513])).collect();
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(200));
    let layer = Layer::new([
        Entry::sparse_file("many-runs", 1_000_000, many),
        Entry::sparse_file("only-a-hole", 64 << 20, vec![]),
        Entry::sparse_file("ends-with-data", 100_000, vec![(99_999, b"x".to_vec())]).xattr("user.a", b"\0=\n"),
        Entry::sparse_file(long, 100_000, vec![(0, b"x".to_vec()), (50_000, b"y".to_vec())]).mtime(1, 5),
        Entry::file("after", "x"),
    ]);
    for dialect in Dialect::ALL {
        for sparse in [SparseForm::OldGnu, SparseForm::Pax00, SparseForm::Pax01, SparseForm::Pax10] {
            assert_gnu_tar_agrees(std::slice::from_ref(&layer), &Encoding { sparse, ..Encoding::of(dialect) });
        }
    }
}

#[test]
fn layers_with_markers() {
    if skip::needs_root() || skip::needs_program("tar") {
        return;
    }
    let lower = Layer::new([
        Entry::directory("etc").mode(0o750).mtime(9, 9),
        Entry::file("etc/a", "1"),
        Entry::file("etc/b", "2"),
        Entry::file("opt/x/y", "3"),
        Entry::file("var/log/z", "4"),
    ]);
    let upper = Layer::new([
        Entry::whiteout("etc/a"),
        Entry::file("etc/c", "5").mtime(1, 2),
        Entry::opaque("opt/x"),
        Entry::file("opt/x/new", "6"),
        Entry::whiteout("var"),
        Entry::file("var/kept", "7"),
    ]);
    assert_gnu_tar_agrees(&[lower, upper], &Encoding::default());
}
