//! Tests of [`OutputFile`].

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;

use vmroot_output::{Error, OutputFile};

#[test]
fn file_appears_only_on_commit() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("out.tar");
    let mut file = OutputFile::create(&path).unwrap();
    file.write_all(b"half").unwrap();
    assert!(!path.exists());
    drop(file);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);

    let mut file = OutputFile::create(&path).unwrap();
    file.write_all(b"whole").unwrap();
    file.commit().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"whole");

    let mut file = OutputFile::create(&path).unwrap();
    file.write_all(b"another").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"whole");
    file.commit().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"another");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[test]
fn link_target_is_replaced_and_device_is_written() {
    let scratch = tempfile::tempdir().unwrap();
    let (path, link) = (scratch.path().join("real"), scratch.path().join("link"));
    fs::write(&path, "old").unwrap();
    symlink("real", &link).unwrap();
    let mut file = OutputFile::create(&link).unwrap();
    file.write_all(b"new").unwrap();
    file.commit().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::read_link(&link).unwrap().to_str(), Some("real"));

    let mut file = OutputFile::create("/dev/null".as_ref()).unwrap();
    file.write_all(b"gone").unwrap();
    file.commit().unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());

    assert!(OutputFile::create(scratch.path()).is_err());
    let error = OutputFile::create(&scratch.path().join("missing/file")).unwrap_err();
    assert!(error.to_string().contains("missing/file"), "{error}");
}

#[test]
fn errors_of_the_writer_name_the_file_once() {
    let mut file = OutputFile::create("/dev/full".as_ref()).unwrap();
    let error = file.write(b"a").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(error.to_string(), "cannot write /dev/full");
    let error = Error::on("write", "elsewhere")(error);
    assert_eq!((error.path.to_str(), error.source.raw_os_error()), (Some("/dev/full"), Some(28)));
    let written = file.write_with(|writer| {
        writer.write_all(b"buffered").unwrap();
        Ok::<_, Error>(())
    });
    assert_eq!(written.unwrap_err().path.to_str(), Some("/dev/full"));
}
