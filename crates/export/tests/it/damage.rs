//! Full disks, and contents that change during an export.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use vmroot_container_fs::LayerFiles;
use vmroot_errors::ErrorKind;
use vmroot_export::{
    DirectoryOptions, Error, PrebakedSources, TarOptions, export_directory, export_prebaked, export_tar, write_tar,
};
use vmroot_test_roots::Root;
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::skip;

/// A tmpfs of four megabytes. It is unmounted when this is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(disk.path()).status();
        assert!(mounted.unwrap().success());
        disk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // An error is ignored, because the result of the test does not depend on it.
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

fn large_root() -> Root {
    let random =
        |number: u64| (0..1 << 20).map(move |at: u64| ((at * at * 31 + number) >> 5) as u8 | 1).collect::<Vec<_>>();
    Root::of(&[Layer::new((0..8).map(|number| Entry::file(format!("d/file-{number}"), random(number))))])
}

#[test]
fn full_disk_error_names_the_file() {
    if skip::needs_root() {
        return;
    }
    let (root, disk) = (large_root(), SmallDisk::mount());
    match export_directory(&root.fs, &disk.path().join("root"), &DirectoryOptions::default()) {
        Err(Error::Io(error)) => {
            assert!(error.path.to_str().unwrap().contains("d/file-"), "{error}");
            assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
        }
        other => panic!("{other:?}"),
    }

    fs::remove_dir_all(disk.path().join("root")).unwrap();
    let sources = PrebakedSources {
        root_index: root.files().join("root.idx"),
        layers: vec![LayerFiles { diff_id: root.layers[0], index: root.index_of(0), contents: root.contents_of(0) }],
    };
    let error = export_prebaked(&sources, b"{}", &disk.path().join("prebaked"), None).unwrap_err();
    assert!(matches!(&error, Error::Io(error) if error.source.kind() == io::ErrorKind::StorageFull), "{error}");
    assert!(error.full_message().contains(".contents"), "{error}");
    assert!(!disk.path().join("prebaked").exists(), "no incomplete directory remains");

    let tar = disk.path().join("root.tar");
    let error = export_tar(&root.fs, &tar, &TarOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    let message = format!("cannot write {}: No space left on device (os error 28)", tar.display());
    assert_eq!(error.full_message(), message);
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0);
}

#[test]
fn flush_error_is_reported() {
    struct LateFailure;
    impl Write for LateFailure {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::Error::other("the last straw"))
        }
    }
    let root = Root::of(&[Layer::new([Entry::file("a", "a")])]);
    let error = write_tar(&root.fs, &mut LateFailure, &TarOptions::default()).unwrap_err();
    assert_eq!(error.full_message(), "cannot write the archive: the last straw");

    let error = export_tar(&root.fs, Path::new("/dev/full"), &TarOptions::default()).unwrap_err();
    assert_eq!(error.full_message(), "cannot write /dev/full: No space left on device (os error 28)");

    let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = write_tar(&root.fs, &mut full, &TarOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::Stream(source) if source.kind() == io::ErrorKind::StorageFull), "{error}");
}

#[test]
fn truncated_contents_are_an_error() {
    let root = large_root();
    fs::set_permissions(root.contents_of(0), Permissions::from_mode(0o644)).unwrap();
    OpenOptions::new().write(true).open(root.contents_of(0)).and_then(|file: File| file.set_len(3 << 20)).unwrap();

    let scratch = tempfile::tempdir().unwrap();
    let error = export_directory(&root.fs, &scratch.path().join("root"), &DirectoryOptions::default()).unwrap_err();
    assert!(error.full_message().contains(".contents"), "{error}");
    let error = write_tar(&root.fs, &mut io::sink(), &TarOptions::default()).unwrap_err();
    assert!(error.full_message().contains(".contents"), "{error}");
}
