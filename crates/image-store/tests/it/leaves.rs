//! Digests of contents: kept beside a layer, reused, verified, and collected with it.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use vmroot_container_fs::ContainerFs;
use vmroot_image_store::{FindingState, Image};
use vmroot_verity::Parameters;

use crate::fixture::{Fixture, image, no_progress};

fn root(fixture: &Fixture, image: &Image) -> ContainerFs {
    fixture.store.root(image, &no_progress()).unwrap()
}

/// Returns the files of digests with their times, sorted.
fn files(fixture: &Fixture) -> Vec<(PathBuf, SystemTime)> {
    let entries = fs::read_dir(fixture.cache().join("layers/v1")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|it| it == "leaves")).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::metadata(path).unwrap().modified().unwrap())).collect()
}

#[test]
fn digests_are_kept_at_the_first_use_and_then_reused() {
    let fixture = Fixture::new();
    let pulled = fixture.pull(&fixture.serve(&image("a"), "v1")).unwrap();
    let root = root(&fixture, &pulled);
    assert_eq!(files(&fixture), [], "a pull does not hash for hash trees");
    let kept = fixture.store.leaves(&root).unwrap();
    let written = files(&fixture);
    let with_bytes: Vec<_> = root.contents().filter(|contents| contents.length > 0).collect();
    assert!(!with_bytes.is_empty());
    assert_eq!(written.len(), with_bytes.len());
    for contents in with_bytes {
        let leaves = kept.of(&contents.path).unwrap();
        assert_eq!(leaves.count() * 4096, contents.length);
        assert!(leaves.are_for(&Parameters::default()));
    }
    fixture.another().leaves(&root).unwrap();
    assert_eq!(files(&fixture), written, "the files are used as they are");
}

#[test]
fn damaged_digests_are_found_by_verify_and_replaced_by_the_next_use() {
    let fixture = Fixture::new();
    let pulled = fixture.pull(&fixture.serve(&image("a"), "v1")).unwrap();
    let root = root(&fixture, &pulled);
    fixture.store.leaves(&root).unwrap();
    assert_eq!(fixture.verify(), []);
    let files = files(&fixture);
    let path = &files[0].0;
    let whole = fs::read(path).unwrap();
    let mut damaged = whole.clone();
    damaged[600] ^= 1;
    let replace = |bytes: &[u8]| {
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    };
    replace(&damaged);
    let found = fixture.verify();
    assert!(found.iter().any(|it| it.path == *path && it.state == FindingState::Damaged), "{found:?}");
    fixture.store.leaves(&root).unwrap();
    assert_eq!(fs::read(path).unwrap(), whole);
    assert_eq!(fixture.verify(), []);
    replace(&damaged);
    assert!(fixture.repair().iter().any(|it| it.path == *path && it.is_settled()));
    assert!(!path.exists());
    assert_eq!(fixture.verify(), []);
}

#[test]
fn digests_are_collected_with_their_layer_and_counted() {
    let fixture = Fixture::new();
    let pulled = fixture.pull(&fixture.serve(&image("a"), "v1")).unwrap();
    let before = fixture.store.usage().unwrap().layers;
    fixture.store.leaves(&root(&fixture, &pulled)).unwrap();
    let count = files(&fixture).len() as u64;
    assert_eq!(fixture.store.usage().unwrap().layers.files, before.files + count);
    fixture.store.remove(&pulled).unwrap();
    drop(pulled);
    fixture.store.collect().unwrap();
    assert_eq!(files(&fixture), []);
}
