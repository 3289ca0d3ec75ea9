//! Tests of operations on inodes, and of their errors.

use rustix::io::Errno;
use vmroot_container_fs::{ContainerFs, Error, InodeId};
use vmroot_model::Digest;
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::layer::Entry;

use crate::stack::{Stack, root_of};

fn names(root: &ContainerFs, directory: InodeId, cookie: u64) -> Vec<String> {
    let entries = root.readdir(directory, cookie).unwrap();
    entries.map(|entry| entry.name.escape_ascii().to_string()).collect()
}

#[test]
fn directories_are_listed_in_byte_order_and_from_any_cookie() {
    let (_stack, root) = root_of(["b", "a", "B", "a.b", "\u{e4}", "aa"].map(|name| Entry::file(name, name)));
    let all = names(&root, InodeId::ROOT, 0);
    assert_eq!(all, ["B", "a", "a.b", "aa", "b", r"\xc3\xa4"]);
    let cookies: Vec<u64> = root.readdir(InodeId::ROOT, 0).unwrap().map(|entry| entry.next).collect();
    for (position, cookie) in cookies.into_iter().enumerate() {
        assert_eq!(names(&root, InodeId::ROOT, cookie), all[position + 1..], "after {}", all[position]);
    }
    assert!(names(&root, InodeId::ROOT, u64::MAX).is_empty());
    assert_eq!(root.child_count(InodeId::ROOT), 6);
}

#[test]
fn existing_names_are_found_and_no_others() {
    let names: Vec<String> = (0..500).map(|number| format!("file-{number}")).collect();
    let (_stack, root) = root_of(names.iter().map(|name| Entry::file(name, name)));
    for name in &names {
        let ino = root.lookup(InodeId::ROOT, name.as_bytes()).unwrap();
        let mut bytes = vec![0; 64];
        let count = root.read_at(ino, 0, &mut bytes).unwrap();
        assert_eq!(&bytes[..count], name.as_bytes());
    }
    for name in ["", "file-", "file-500", "file-0/", "file", "zzz", "file-00", ".", ".."] {
        assert!(matches!(root.lookup(InodeId::ROOT, name.as_bytes()), Err(Error::NotFound(_))), "{name:?}");
    }
}

#[test]
fn errors_have_the_errno_of_system_calls() {
    let (_stack, root) = root_of([Entry::file("f", "x"), Entry::directory("d"), Entry::symlink("l", "f")]);
    let ino = |name: &str| root.lookup(InodeId::ROOT, name.as_bytes()).unwrap();
    assert_eq!(root.lookup(ino("f"), b"x").unwrap_err().errno(), Errno::NOTDIR);
    assert_eq!(root.lookup(InodeId::ROOT, b"x").unwrap_err().errno(), Errno::NOENT);
    assert_eq!(root.readdir(ino("f"), 0).err().unwrap().errno(), Errno::NOTDIR);
    assert_eq!(root.readlink(ino("f")).unwrap_err().errno(), Errno::INVAL);
    assert_eq!(root.read_at(ino("d"), 0, &mut [0]).unwrap_err().errno(), Errno::ISDIR);
    assert_eq!(root.read_at(ino("l"), 0, &mut [0]).unwrap(), 0);
    assert_eq!(root.inode_id(u64::from(root.inode_count())), None);
    assert_eq!(root.inode_id(0), Some(InodeId::ROOT));
}

#[test]
fn reads_end_at_the_end_of_the_file() {
    let (_stack, root) = root_of([Entry::file("f", "0123456789"), Entry::file("empty", "")]);
    let file = root.lookup(InodeId::ROOT, b"f").unwrap();
    let mut bytes = [0; 8];
    assert_eq!(root.read_at(file, 7, &mut bytes).unwrap(), 3);
    assert_eq!(&bytes[..3], b"789");
    for offset in [10, 11, u64::MAX] {
        assert_eq!(root.read_at(file, offset, &mut bytes).unwrap(), 0);
    }
    assert_eq!(root.read_at(file, 0, &mut []).unwrap(), 0);
    let empty = root.lookup(InodeId::ROOT, b"empty").unwrap();
    assert_eq!((root.extent(empty), root.content_digest(empty)), (None, None));
    assert_eq!(root.extent(file).unwrap().length, 10);
}

#[test]
fn errors_name_a_missing_or_short_contents_file() {
    let (stack, root) = root_of([Entry::file("f", vec![7; 9000])]);
    let diff_id: Digest = root.contents().next().unwrap().diff_id;
    drop(root);
    let open = || ContainerFs::open_files(&stack.path().join("root.idx"), &|diff_id| stack.contents(diff_id));
    let contents = Stack::contents(&stack, &diff_id);
    std::fs::set_permissions(&contents, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::OpenOptions::new().write(true).open(&contents).unwrap().set_len(4096).unwrap();
    let error = open().unwrap_err();
    assert!(error.full_message().contains(&diff_id.hex()) && error.full_message().contains("4096"), "{error}");
    std::fs::remove_file(&contents).unwrap();
    assert!(matches!(open().unwrap_err(), Error::Contents { path, .. } if path == contents));
}
