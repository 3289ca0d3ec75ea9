//! Tests of resolving users with the files of the image.

use vmroot_container_fs::{ContainerFs, Error, UserIds};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::layer::Entry;

use crate::stack::{Stack, root_of};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# a comment\nbroken:x\nweb:x:33:34:Web:/var/www:/bin/false\n\
    7:x:0:0::/root:\nseven:x:7:70::/home/seven:\nlarge:x:4000000000:4000000001::/:\n";
const GROUP: &str = "root:x:0:\n50:x:0:\nstaff:x:50:web,seven\nwww:x:34:\ndocker:x:999:seven,web\n";

fn image() -> (Stack, ContainerFs) {
    root_of([
        Entry::file("etc/passwd", PASSWD),
        Entry::file("usr/group", GROUP),
        Entry::symlink("etc/group", "../usr/group"),
    ])
}

fn ids(uid: u32, gid: u32, groups: &[u32], home: Option<&str>) -> UserIds {
    UserIds { uid, gid, groups: groups.to_vec(), home: home.map(str::to_owned) }
}

#[test]
fn names_and_ids_are_resolved() {
    let (_stack, root) = image();
    for (user, expected) in [
        ("", ids(0, 0, &[], Some("/root"))),
        ("root", ids(0, 0, &[], Some("/root"))),
        ("web", ids(33, 34, &[50, 999], Some("/var/www"))),
        ("33", ids(33, 34, &[50, 999], Some("/var/www"))),
        ("web:staff", ids(33, 50, &[], Some("/var/www"))),
        // The entry whose name is the number 7 has the id of root. A number is an id and not a name.
        ("7", ids(7, 70, &[50, 999], Some("/home/seven"))),
        ("7:50", ids(7, 50, &[], Some("/home/seven"))),
        ("web:50", ids(33, 50, &[], Some("/var/www"))),
        ("web:12345", ids(33, 12345, &[], Some("/var/www"))),
        ("1000", ids(1000, 0, &[], None)),
        ("1000:staff", ids(1000, 50, &[], None)),
        ("1000:", ids(1000, 0, &[], None)),
        (":staff", ids(0, 50, &[], Some("/root"))),
        ("large", ids(4_000_000_000, 4_000_000_001, &[], Some("/"))),
    ] {
        assert_eq!(root.resolve_user(user).unwrap(), expected, "{user:?}");
    }
}

#[test]
fn unknown_names_are_errors() {
    let (_stack, root) = image();
    assert!(matches!(root.resolve_user("nobody"), Err(Error::NoSuchUser(user)) if user == "nobody"));
    assert!(matches!(root.resolve_user("web:nobody"), Err(Error::NoSuchGroup(group)) if group == "nobody"));
    assert!(matches!(root.resolve_user("-1"), Err(Error::NoSuchUser(_))));
    assert!(matches!(root.resolve_user("4294967296"), Err(Error::NoSuchUser(_))));
}

#[test]
fn images_without_the_files_have_only_ids() {
    let (_stack, root) = root_of([]);
    assert_eq!(root.resolve_user("7:8").unwrap(), ids(7, 8, &[], None));
    assert_eq!(root.resolve_user("").unwrap(), ids(0, 0, &[], None));
    assert!(matches!(root.resolve_user("root"), Err(Error::NoSuchUser(_))));
}

#[test]
fn a_passwd_that_is_not_a_file_is_an_error() {
    let (_stack, root) = root_of([Entry::directory("etc/passwd")]);
    let error = root.resolve_user("root").unwrap_err().full_message();
    assert_eq!(error, "the image's /etc/passwd is not a regular file");
}
