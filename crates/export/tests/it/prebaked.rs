//! Writing and opening prebaked directories.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use vmroot_container_fs::LayerFiles;
use vmroot_export::{Error, PrebakedSources, export_prebaked, open_prebaked};
use vmroot_test_roots::{Root, describe, look_at};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::layer::{Entry, Layer};

fn root() -> Root {
    Root::of(&[
        Layer::new([Entry::file("a", "lower"), Entry::sparse_file("holes", 16 << 20, vec![(8 << 20, vec![1; 10])])]),
        Layer::new([Entry::file("a", "upper"), Entry::symlink("b", "a"), Entry::hard_link("c", "a")]),
    ])
}

fn sources(root: &Root) -> PrebakedSources {
    let layer = |number| LayerFiles {
        diff_id: root.layers[number],
        index: root.index_of(number),
        contents: root.contents_of(number),
    };
    PrebakedSources { root_index: root.files().join("root.idx"), layers: (0..root.layers.len()).map(layer).collect() }
}

fn prebake(root: &Root, directory: &Path) {
    export_prebaked(&sources(root), b"{}\n", directory, None).unwrap();
}

#[test]
fn directory_has_the_same_root_and_no_other_files() {
    let (root, scratch) = (root(), tempfile::tempdir().unwrap());
    let directory = scratch.path().join("image");
    prebake(&root, &directory);
    assert_eq!(describe(&open_prebaked(&directory, &root.layers).unwrap()), describe(&root.fs));

    let mode = |name: &str| look_at(&directory.join(name)).mode() & 0o7777;
    assert_eq!((mode(""), mode("config.json"), mode("root.idx")), (0o755, 0o644, 0o444));
    assert_eq!(fs::read(directory.join("config.json")).unwrap(), b"{}\n");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 6);
    for source in [root.index_of(0), root.contents_of(0), root.index_of(1), root.contents_of(1)] {
        let copy = directory.join(source.file_name().unwrap());
        assert!(fs::read(&copy).unwrap() == fs::read(&source).unwrap(), "{}", copy.display());
        assert_eq!(look_at(&copy).mode() & 0o7777, 0o444);
        assert_ne!(look_at(&copy).ino(), look_at(&source).ino());
        assert!(look_at(&copy).blocks() * 512 < 1 << 20, "{} has lost its holes", copy.display());
    }
}

#[test]
fn existing_files_are_replaced_and_others_kept() {
    let (root, directory) = (root(), tempfile::tempdir().unwrap());
    prebake(&root, directory.path());
    fs::write(directory.path().join("notes"), "mine").unwrap();
    fs::set_permissions(directory.path().join("root.idx"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(directory.path().join("root.idx"), "damaged").unwrap();
    prebake(&root, directory.path());
    assert_eq!(describe(&open_prebaked(directory.path(), &root.layers).unwrap()), describe(&root.fs));
    assert_eq!(fs::read(directory.path().join("notes")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 7);
}

#[test]
fn opens_without_a_valid_root_index() {
    let (root, directory) = (root(), tempfile::tempdir().unwrap());
    prebake(&root, directory.path());
    let index = directory.path().join("root.idx");
    let other = Root::of(&[Layer::new([Entry::file("other", "other")])]);
    let opens = || assert_eq!(describe(&open_prebaked(directory.path(), &root.layers).unwrap()), describe(&root.fs));
    fs::remove_file(&index).unwrap();
    opens();
    fs::write(&index, "damaged").unwrap();
    opens();
    fs::rename(other.files().join("root.idx"), &index).unwrap();
    opens();
}

#[test]
fn error_names_the_missing_or_wrong_file() {
    let (root, directory) = (root(), tempfile::tempdir().unwrap());
    prebake(&root, directory.path());
    let in_directory = |path: std::path::PathBuf| directory.path().join(path.file_name().unwrap());

    fs::remove_file(directory.path().join("root.idx")).unwrap();
    fs::rename(in_directory(root.index_of(1)), directory.path().join("aside")).unwrap();
    let error = open_prebaked(directory.path(), &root.layers).map(|_| ()).unwrap_err();
    assert!(error.full_message().contains(&root.layers[1].hex()), "{error}");

    // One layer's index and contents under the name of another.
    fs::copy(in_directory(root.index_of(0)), in_directory(root.index_of(1))).unwrap();
    fs::remove_file(in_directory(root.contents_of(1))).unwrap();
    fs::copy(in_directory(root.contents_of(0)), in_directory(root.contents_of(1))).unwrap();
    let error = open_prebaked(directory.path(), &root.layers).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::WrongLayer { actual, .. } if actual == root.layers[0]), "{error}");

    fs::remove_file(in_directory(root.contents_of(0))).unwrap();
    let error = open_prebaked(directory.path(), &root.layers).map(|_| ()).unwrap_err();
    assert!(error.full_message().contains(".contents"), "{error}");

    let mut missing = sources(&root);
    missing.layers[0].contents = root.files().join("nothing");
    let error = export_prebaked(&missing, b"{}", directory.path(), None).unwrap_err();
    assert!(error.full_message().contains("nothing"), "{error}");
}
