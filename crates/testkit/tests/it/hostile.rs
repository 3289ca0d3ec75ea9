//! Tests of the hostile tars with the model and with GNU tar.

use std::collections::BTreeSet;
use std::fs;

use vmroot_testkit::hostile::{self, Verdict};
use vmroot_testkit::model::Tree;
use vmroot_testkit::overlay::Overlay;
use vmroot_testkit::skip;

#[test]
fn names_are_unique_and_layers_are_valid() {
    let cases = hostile::cases();
    let names: BTreeSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len());
    for case in cases {
        if let Verdict::Same(layer) = case.verdict {
            Tree::of_layers([&layer]).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        }
    }
}

/// Cases that GNU tar extracts differently: it delays symbolic links that lead out, and paths end at 4096 bytes.
const DISPUTED: &[&str] = &[
    "four thousand levels",
    "file through a link that climbs out",
    "file through an absolute link",
    "file over a link",
    "directory over a link",
    "link to /proc/self/root",
    "hard link through a link that climbs out",
];

#[test]
fn gnu_tar_agrees_on_the_valid_cases() {
    if skip::needs_root() || skip::needs_program("tar") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("case.tar");
    let mut failures = Vec::new();
    for case in hostile::cases() {
        if !matches!(case.verdict, Verdict::Same(_)) || DISPUTED.contains(&case.name) {
            continue;
        }
        fs::write(&path, &case.tar).unwrap();
        let read = Overlay::of_tars(std::slice::from_ref(&path)).and_then(|overlay| overlay.listing());
        failures.extend(case.complaint(&read));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
