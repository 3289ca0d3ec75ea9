//! Tests of temporary files, publication, and file systems that cannot be written.

use std::fs;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use vmroot_layer_index::{BuildOptions, BuiltLayer, Error, Index, Result, build};
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::skip;

fn tar() -> Vec<u8> {
    Layer::new([Entry::file("a", vec![b'a'; 100_000]), Entry::directory("d")]).to_tar(&Encoding::default())
}

fn build_in(directory: &Path) -> Result<BuiltLayer> {
    build(tar().as_slice(), directory, &BuildOptions::default())
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn files_have_temporary_names_until_they_are_published() {
    let directory = tempfile::tempdir().unwrap();
    let built = build_in(directory.path()).unwrap();
    let temporary = names(directory.path());
    assert!(temporary.len() == 2 && temporary.iter().all(|name| name.starts_with(".tmp-")), "{temporary:?}");
    assert_eq!((built.tar_length, built.contents_length), (tar().len() as u64, 100_000_u64.next_multiple_of(4096)));
    let (hex, index_length) = (built.diff_id.hex(), built.index_length);
    let index = built.publish().unwrap();
    assert_eq!(names(directory.path()), [format!("{hex}.contents"), format!("{hex}.idx")]);
    assert_eq!(index, directory.path().join(format!("{hex}.idx")));
    assert_eq!(fs::metadata(&index).unwrap().len(), index_length);
    for path in [index.with_extension("contents"), index] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o444);
    }
}

#[test]
fn a_dropped_layer_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    drop(build_in(directory.path()).unwrap());
    assert!(names(directory.path()).is_empty());
}

#[test]
fn publishing_again_replaces_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let first = build_in(directory.path()).unwrap();
    let second = build_in(directory.path()).unwrap();
    let index = first.publish().unwrap();
    let open = Index::open(&index).unwrap();
    fs::remove_file(index.with_extension("contents")).unwrap();
    assert_eq!(second.publish().unwrap(), index);
    assert_eq!(names(directory.path()).len(), 2);
    assert_eq!(open.inode_count(), 3, "an open index stays readable");
    assert!(Index::open(&index).is_ok() && index.with_extension("contents").exists());
}

/// A reader that fails after some bytes, as a lost connection does.
struct FailingReader<'a>(&'a [u8]);

impl Read for FailingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for FailingReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.0 {
            [] => Err(io::Error::new(io::ErrorKind::ConnectionReset, "cut")),
            rest => Ok(rest),
        }
    }

    fn consume(&mut self, count: usize) {
        self.0 = &self.0[count..];
    }
}

#[test]
fn a_read_error_has_its_offset() {
    let directory = tempfile::tempdir().unwrap();
    for length in [0, 100, 5000] {
        match build(FailingReader(&tar()[..length]), directory.path(), &BuildOptions::default()).unwrap_err() {
            Error::Stream { offset, source } => {
                assert_eq!((offset, source.to_string().as_str()), (length as u64, "cut"))
            }
            other => panic!("{other}"),
        }
        assert!(names(directory.path()).is_empty());
    }
}

#[test]
fn unwritable_directories_are_errors() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let error = build_in(&missing).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.starts_with(&missing)), "{error}");
    // Not even root can create files here.
    let error = build_in(Path::new("/proc/self")).unwrap_err();
    assert!(matches!(&error, Error::Io { .. }), "{error}");

    let built = build_in(directory.path()).unwrap();
    fs::remove_dir_all(directory.path()).unwrap();
    assert!(matches!(built.publish().unwrap_err(), Error::Io { .. }));
}

/// A mounted tmpfs. Dropping it unmounts it.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", options, "tmpfs"];
        assert!(Command::new("mount").args(mount).arg(directory.path()).status().unwrap().success());
        Self(directory)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // The error is ignored, since a failed test may be unwinding.
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn full_and_read_only_file_systems_are_errors() {
    if skip::needs_root() {
        return;
    }
    let full = |path: &Path| {
        let error = build_in(path).unwrap_err();
        assert!(matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull), "{error}");
        assert!(names(path).is_empty(), "a failed build leaves no files");
    };
    // Too small for the contents, then for the index, then for the inode of the second file.
    full(Tmpfs::mount("size=64k").0.path());
    full(Tmpfs::mount("size=100k").0.path());
    full(Tmpfs::mount("size=1m,nr_inodes=2").0.path());
    let read_only = Tmpfs::mount("size=1m,ro");
    let error = build_in(read_only.0.path()).unwrap_err();
    assert!(
        matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem),
        "{error}"
    );
}
