//! Tests of resolving paths, as in a process with this root directory.

use vmroot_container_fs::{ContainerFs, Error};
use vmroot_testkit::layer::Entry;

use crate::stack::{Stack, root_of};

fn tree() -> (Stack, ContainerFs) {
    root_of([
        Entry::directory("usr/lib"),
        Entry::file("usr/lib/x", "x"),
        Entry::symlink("lib", "usr/lib"),
        Entry::symlink("abs", "/usr/lib/x"),
        Entry::symlink("up", "../../../usr"),
        Entry::symlink("usr/here", "."),
        Entry::symlink("usr/slash", "/"),
        Entry::symlink("usr/lib/back", "../../lib/x"),
        Entry::symlink("loop", "loop2"),
        Entry::symlink("loop2", "loop"),
        Entry::symlink("dangling", "nowhere"),
        Entry::symlink("trailing", "usr/"),
        Entry::symlink("file-slash", "usr/lib/x/"),
    ])
}

fn resolved(root: &ContainerFs, path: &str) -> Result<String, Error> {
    root.resolve_path(path.as_bytes()).map(|resolved| String::from_utf8(resolved.path).unwrap())
}

#[test]
fn links_are_followed_within_the_root() {
    let (_stack, root) = tree();
    for (path, expected) in [
        ("/", "/"),
        ("", "/"),
        ("..", "/"),
        ("/../..//./usr", "/usr"),
        ("usr/lib/x", "/usr/lib/x"),
        ("/lib/x", "/usr/lib/x"),
        ("lib", "/usr/lib"),
        ("lib/", "/usr/lib"),
        ("lib/..", "/usr"),
        ("abs", "/usr/lib/x"),
        ("up/lib/x", "/usr/lib/x"),
        ("usr/here/here/lib", "/usr/lib"),
        ("usr/slash/usr/slash/lib/back", "/usr/lib/x"),
        ("trailing/lib", "/usr/lib"),
        ("usr/lib/../../usr/./lib/", "/usr/lib"),
    ] {
        assert_eq!(resolved(&root, path).unwrap(), expected, "{path}");
        let ino = root.resolve_path(path.as_bytes()).unwrap().ino;
        assert_eq!(root.resolve_path(expected.as_bytes()).unwrap().ino, ino, "{path}");
    }
}

#[test]
fn unresolvable_paths_have_the_right_error() {
    let (_stack, root) = tree();
    for path in ["nope", "usr/nope/x", "dangling", "dangling/x", "usr/lib/x\0"] {
        assert!(matches!(resolved(&root, path), Err(Error::NotFound(named)) if named == path), "{path}");
    }
    for path in ["usr/lib/x/", "usr/lib/x/y", "usr/lib/x/..", "abs/", "file-slash"] {
        assert!(matches!(resolved(&root, path), Err(Error::NotADirectory(_))), "{path}");
    }
    for path in ["loop", "loop/x"] {
        assert!(matches!(resolved(&root, path), Err(Error::TooManyLinks(_))), "{path}");
    }
}

#[test]
fn at_most_forty_links_are_followed() {
    let link = |number: u32| Entry::symlink(format!("l{number}"), format!("l{}", number + 1));
    let (_stack, root) = root_of((1..=41).map(link).chain([Entry::file("l42", "end")]));
    assert_eq!(resolved(&root, "l2").unwrap(), "/l42", "40 links");
    assert!(matches!(resolved(&root, "l1"), Err(Error::TooManyLinks(_))), "41 links");
}

#[test]
fn resolve_link_does_not_follow_the_last_link() {
    let (_stack, root) = tree();
    let kept = |path: &str| String::from_utf8(root.resolve_link(path.as_bytes()).unwrap().path).unwrap();
    assert_eq!(kept("lib"), "/lib");
    assert_eq!(kept("lib/"), "/usr/lib");
    assert_eq!(kept("lib/back"), "/usr/lib/back");
    assert_eq!(kept("loop"), "/loop");
    let link = root.resolve_link(b"dangling").unwrap().ino;
    assert_eq!(root.readlink(link).unwrap(), b"nowhere");
}

#[test]
fn thousands_of_levels_do_not_overflow_the_stack() {
    let deep = "d/".repeat(4000);
    let (_stack, root) = root_of([Entry::file(format!("{deep}f"), "deep")]);
    let resolved = root.resolve_path(format!("{deep}f").as_bytes()).unwrap();
    assert_eq!(root.stat(resolved.ino).size, 4);
    assert_eq!(root.walk().count(), 4002);
}
