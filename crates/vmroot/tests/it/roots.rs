//! Roots for tests of layers and files on top, and descriptions of the results.

use std::path::Path;

use tempfile::TempDir;
use vmroot::layer_index::build;
use vmroot::{BuildOptions, Cancel, ContainerFs, Digest, ExtendedRoot, ExtraLayer, InodeKind, Limits, Top, TopOptions};
use vmroot_testkit::layer::{Encoding, Layer};
use vmroot_testkit::listing::Listing;

/// Creates a temporary directory, in memory if possible.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Builds the root of layers. The directory holds its files.
pub(crate) fn root_of(layers: &[Layer]) -> (ContainerFs, TempDir) {
    let files = scratch();
    let extra = layers.iter().map(|layer| {
        let built = build(&layer.to_tar(&Encoding::default())[..], files.path(), &BuildOptions::default()).unwrap();
        let index = built.publish().unwrap();
        ExtraLayer { contents: index.with_extension("contents"), index }
    });
    let extra: Vec<_> = extra.collect();
    (ContainerFs::of_layers(&extra, &Digest::of(b"a root")).unwrap(), files)
}

pub(crate) fn options(directory: &Path) -> TopOptions {
    TopOptions {
        directory: directory.to_owned(),
        limits: Limits::default(),
        build: BuildOptions::default(),
        cancel: Cancel::new(),
    }
}

pub(crate) fn put(top: &Top, root: ContainerFs, at: &Path) -> vmroot::Result<ExtendedRoot> {
    Ok(top.put_on(root, &options(at))?)
}

/// Lists a root as the kernel shows its export to a directory. Requires root.
pub(crate) fn listing(root: &ContainerFs) -> Listing {
    let scratch = scratch();
    let directory = scratch.path().join("root");
    let report = vmroot::export::export_directory(root, &directory, &Default::default()).unwrap();
    assert_eq!(report.omissions.total, 0, "{:?}", report.omissions);
    Listing::of_directory(&directory).unwrap()
}

/// Describes a path as `kind mode uid:gid [-> target]`. A link at its end is not followed.
pub(crate) fn show(root: &ContainerFs, path: &str) -> String {
    let Ok(resolved) = root.resolve_link(path.as_bytes()) else { return "nothing".to_owned() };
    let stat = root.stat(resolved.ino);
    let target = match stat.kind {
        InodeKind::Symlink => format!(" -> {}", String::from_utf8_lossy(root.readlink(resolved.ino).unwrap())),
        _ => String::new(),
    };
    format!("{:?} {:o} {}:{}{target}", stat.kind, stat.mode & 0o7777, stat.uid, stat.gid)
}

/// Reads a file as text.
pub(crate) fn text(root: &ContainerFs, path: &str) -> String {
    let ino = root.resolve_path(path.as_bytes()).unwrap_or_else(|error| panic!("{path}: {error}")).ino;
    let mut bytes = vec![0; root.stat(ino).size as usize];
    root.read_at(ino, 0, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}
