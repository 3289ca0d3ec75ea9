//! Files that are opened and read by path.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};

use vmroot_container_fs::{Error, MAX_READ};
use vmroot_testkit::layer::Entry;

use crate::stack::root_of;

#[test]
fn files_are_read_by_path() {
    let (_stack, root) = root_of([
        Entry::directory("d"),
        Entry::file("d/f", "0123456789"),
        Entry::file("empty", ""),
        Entry::symlink("link", "/d/../../d/f"),
        Entry::symlink("out", "../../../etc/hostname"),
        Entry::fifo("fifo"),
        Entry::sparse_file("huge", MAX_READ + 1, Vec::new()),
    ]);
    assert_eq!(root.read("/d/f").unwrap(), b"0123456789");
    assert_eq!(root.read(b"link").unwrap(), b"0123456789");
    assert_eq!(root.read("empty").unwrap(), b"");
    assert!(matches!(root.read("/out"), Err(Error::NotFound(path)) if path == "/out"));
    assert!(matches!(root.read("/d"), Err(Error::IsADirectory(path)) if path == "/d"));
    assert!(matches!(root.open("/d/f/"), Err(Error::NotADirectory(path)) if path == "/d/f/"));
    assert!(matches!(root.open("fifo"), Err(Error::NotAFile(path)) if path == "fifo"));
    let error = root.read("huge").unwrap_err();
    assert_eq!(error.to_string(), "\"huge\": has 1073741825 bytes; 1073741824 is the limit");
    assert_eq!(root.open("huge").unwrap().len(), MAX_READ + 1);
}

#[test]
fn open_files_have_a_position_and_outlive_the_root() {
    let (stack, root) = root_of([Entry::file("f", "0123456789"), Entry::file("empty", "")]);
    let mut file = root.open("f").unwrap();
    let mut empty = root.open("empty").unwrap();
    drop((root, stack));
    let mut text = String::new();
    assert_eq!(empty.read_to_string(&mut text).unwrap(), 0);
    assert!(empty.is_empty() && file.stat().size == 10);

    let mut two = [0; 2];
    file.read_exact(&mut two).unwrap();
    assert_eq!(&two, b"01");
    assert_eq!(file.seek(SeekFrom::End(-3)).unwrap(), 7);
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "789");
    assert_eq!(file.read_at(4, &mut two).unwrap(), 2);
    assert_eq!(&two, b"45");
    assert_eq!((file.read_at(9, &mut two).unwrap(), file.read_at(10, &mut two).unwrap()), (1, 0));
    assert_eq!(file.read_at(u64::MAX, &mut two).unwrap(), 0);
    assert_eq!(file.stream_position().unwrap(), 10);
    assert_eq!(file.seek(SeekFrom::Current(i64::MAX)).unwrap(), 10 + i64::MAX as u64);
    assert_eq!(file.read(&mut two).unwrap(), 0);
    assert!(file.seek(SeekFrom::End(-11)).is_err());
    assert_eq!(file.stream_position().unwrap(), 10 + i64::MAX as u64);
}

/// The error names the file of the image and the file of the cache.
#[test]
fn unreadable_contents_name_both_files() {
    let (stack, root) = root_of([Entry::file("a", vec![1; 5000]), Entry::file("b", vec![2; 5000])]);
    let contents = root.contents().next().unwrap().path.clone();
    OpenOptions::new().write(true).open(&contents).unwrap().set_len(0).unwrap();
    let error = root.read("/b").unwrap_err();
    assert_eq!(error.to_string(), "cannot read \"/b\" of the image");
    let Error::File { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), contents.display().to_string());
    let offset = root.extent(root.resolve_path(b"b").unwrap().ino).unwrap().offset;
    let error = root.unreadable(0, offset, std::io::ErrorKind::UnexpectedEof.into());
    assert_eq!(error.to_string(), "cannot read \"/b\" of the image");
    let error = std::io::Error::from(error);
    assert!(error.get_ref().unwrap().is::<Error>());
    drop(stack);
}
