//! Files and directories on top of a root.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use vmroot::changes::Owner;
use vmroot::{Addition, ContainerFs, ErrorKind, ExtendedRoot, InodeId, Top};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::skip;

use crate::roots::{put, root_of, scratch, show, text};

fn copy(source: impl AsRef<Path>, destination: &str) -> Addition {
    let (source, destination) = (source.as_ref().to_owned(), destination.as_bytes().to_vec());
    Addition::Copy { source, destination, mode: None, owner: None }
}

fn image() -> Layer {
    Layer::new([
        Entry::directory("usr").mode(0o711).owner(5, 6),
        Entry::file("usr/bin/sh", "sh"),
        Entry::symlink("bin", "usr/bin"),
        Entry::symlink("abs", "/usr"),
        Entry::symlink("loop", "loop"),
        Entry::symlink("out", "../../../.."),
        Entry::symlink("dangling", "srv/later"),
        Entry::symlink("etc/resolv.conf", "../run/resolv.conf"),
        Entry::file("etc/motd", "old"),
        Entry::fifo("pipe"),
    ])
}

fn add(additions: &[Addition]) -> vmroot::Result<ExtendedRoot> {
    let at = scratch();
    put(&Top { additions: additions.to_vec(), ..Top::default() }, root_of(&[image()]).0, at.path())
}

fn added(additions: &[Addition]) -> ContainerFs {
    add(additions).unwrap().into_root()
}

/// Creates `tree/{file,sub/{deep,link}}` and `file`.
fn sources() -> tempfile::TempDir {
    let sources = scratch();
    let path = |name: &str| sources.path().join(name);
    fs::create_dir_all(path("tree/sub")).unwrap();
    fs::write(path("tree/file"), "tree's").unwrap();
    fs::write(path("tree/sub/deep"), "deep").unwrap();
    symlink("deep", path("tree/sub/link")).unwrap();
    fs::write(path("file"), "file").unwrap();
    for (name, mode) in
        [("tree", 0o750), ("tree/sub", 0o755), ("tree/file", 0o640), ("tree/sub/deep", 0o600), ("file", 0o755)]
    {
        fs::set_permissions(path(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    sources
}

#[test]
fn file_gets_the_path_that_cp_would_give_it() {
    let sources = sources();
    let file = sources.path().join("file");
    for (destination, path) in [
        ("/etc/new", "/etc/new"),
        ("/etc", "/etc/file"),
        ("/etc/", "/etc/file"),
        ("/", "/file"),
        ("/srv/a/b/", "/srv/a/b/file"),
        ("/srv/a/b", "/srv/a/b"),
        ("/etc/motd", "/etc/motd"),
        // Links before the last component are followed within the image.
        ("/bin", "/usr/bin/file"),
        ("/bin/new", "/usr/bin/new"),
        ("/abs/bin/../lib/new", "/usr/lib/new"),
        ("/out/out/etc/new", "/etc/new"),
        ("/dangling/", "/srv/later/file"),
        // A link to no directory is replaced.
        ("/etc/resolv.conf", "/etc/resolv.conf"),
        ("/dangling", "/dangling"),
        ("/pipe", "/pipe"),
    ] {
        let root = added(&[copy(&file, destination)]);
        assert_eq!(show(&root, path), "Regular 755 0:0", "{destination}");
        assert_eq!(text(&root, path), "file", "{destination}");
    }
    let root = added(&[copy(&file, "/srv/a/b/")]);
    assert_eq!(
        (show(&root, "/srv"), show(&root, "/srv/a/b")),
        ("Directory 755 0:0".into(), "Directory 755 0:0".into())
    );
    assert_eq!(
        show(&added(&[copy(&file, "/usr/x")]), "/usr"),
        "Directory 711 5:6",
        "existing directories are unchanged"
    );
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    let time = time.duration_since(std::time::UNIX_EPOCH).unwrap();
    let stat = root.stat(root.resolve_path(b"/srv/a/b/file").unwrap().ino);
    assert_eq!((stat.mtime.seconds as u64, stat.mtime.nanoseconds), (time.as_secs(), time.subsec_nanos()));
}

#[test]
fn directory_gets_the_path_that_cp_would_give_it_and_merges() {
    let sources = sources();
    let tree = sources.path().join("tree");
    let root = added(&[copy(&tree, "/opt"), copy(&tree, "/usr"), copy(tree.join("."), "/new")]);
    assert_eq!(show(&root, "/opt"), "Directory 750 0:0", "a new name");
    assert_eq!(text(&root, "/opt/sub/link"), "deep");
    assert_eq!(text(&root, "/usr/tree/file"), "tree's", "into an existing directory");
    assert_eq!((show(&root, "/new"), show(&root, "/new/file")), ("Directory 750 0:0".into(), "Regular 640 0:0".into()));

    // Merged into the image's directories, which are unchanged, even if a link leads to them.
    fs::create_dir(tree.join("usr")).unwrap();
    fs::create_dir(tree.join("bin")).unwrap();
    fs::write(tree.join("bin/tool"), "tool").unwrap();
    let root = added(&[copy(tree.join("."), "/")]);
    assert_eq!(show(&root, "/usr"), "Directory 711 5:6");
    assert_eq!(show(&root, "/bin"), "Symlink 777 0:0 -> usr/bin");
    assert_eq!((text(&root, "/usr/bin/tool"), text(&root, "/bin/sh")), ("tool".into(), "sh".into()));
}

#[test]
fn later_additions_replace_and_use_earlier_ones() {
    let sources = sources();
    let (file, tree) = (sources.path().join("file"), sources.path().join("tree"));
    let bytes = |destination: &str, bytes: &str| Addition::File {
        destination: destination.into(),
        mode: 0o600,
        bytes: bytes.into(),
    };
    let root = added(&[
        copy(&file, "/etc/motd"),
        bytes("/etc/motd", "last"),
        copy(&tree, "/made"),
        copy(&file, "/made"),
        copy(tree.join("sub/link"), "/made/way"),
        bytes("/made/deep", "through"),
        copy(&file, "/made/way"),
        bytes("/sbin/init", "init"),
        bytes("bin/relative", "relative"),
    ]);
    assert_eq!((text(&root, "/etc/motd"), show(&root, "/etc/motd")), ("last".into(), "Regular 600 0:0".into()));
    assert_eq!(text(&root, "/made/file"), "file");
    assert_eq!((text(&root, "/made/way"), text(&root, "/made/deep")), ("file".into(), "through".into()));
    assert_eq!((text(&root, "/sbin/init"), text(&root, "/usr/bin/relative")), ("init".into(), "relative".into()));
    let init = root.resolve_path(b"/sbin/init").unwrap().ino;
    assert_eq!(root.stat(init).mtime, vmroot::Timestamp::default());
    assert_ne!(init, InodeId::ROOT);
}

#[test]
fn modes_and_owners_are_applied() {
    let sources = sources();
    let tree = sources.path().join("tree");
    let with = |mode, owner| Addition::Copy { source: tree.clone(), destination: b"/t".to_vec(), mode, owner };
    let root = added(&[with(Some(0o4640), Some(Owner { uid: 7, gid: 8 }))]);
    assert_eq!(show(&root, "/t"), "Directory 750 7:8", "directories get the search bits of the read bits");
    assert_eq!(
        (show(&root, "/t/file"), show(&root, "/t/sub/deep")),
        ("Regular 4640 7:8".into(), "Regular 4640 7:8".into())
    );
    assert_eq!(show(&root, "/t/sub/link"), "Symlink 777 7:8 -> deep");
    assert_eq!(show(&added(&[with(None, Some(Owner { uid: 7, gid: 8 }))]), "/t/file"), "Regular 640 7:8");
    if skip::needs_root() {
        return;
    }
    let file = sources.path().join("file");
    let set = |uid, mode| {
        chown(&file, Some(uid), Some(uid)).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    };
    set(1000, 0o6755);
    assert_eq!(
        show(&added(&[copy(&file, "/f")]), "/f"),
        "Regular 755 0:0",
        "setuid is dropped if another user owned the file"
    );
    set(0, 0o6755);
    assert_eq!(show(&added(&[copy(&file, "/f")]), "/f"), "Regular 6755 0:0");
}

#[test]
fn hard_links_within_one_source_are_kept() {
    let sources = sources();
    let path = |name: &str| sources.path().join(name);
    fs::hard_link(path("tree/file"), path("tree/twin")).unwrap();
    let mode = |source, destination: &str, mode| Addition::Copy {
        source,
        destination: destination.into(),
        mode: Some(mode),
        owner: None,
    };
    let root = added(&[
        mode(path("tree"), "/one", 0o600),
        mode(path("tree/file"), "/two", 0o644),
        mode(path("tree/twin"), "/three", 0o755),
    ]);
    let ino = |path: &str| root.resolve_path(path.as_bytes()).unwrap().ino;
    assert_eq!(ino("/one/file"), ino("/one/twin"));
    assert_eq!(root.stat(ino("/one/file")).nlink, 2);
    assert_eq!((show(&root, "/two"), show(&root, "/three")), ("Regular 644 0:0".into(), "Regular 755 0:0".into()));
}

#[test]
fn errors_name_source_and_destination() {
    let sources = sources();
    let path = |name: &str| sources.path().join(name);
    fs::write(path(".wh.x"), "").unwrap();
    fs::create_dir_all(path("clash/etc/motd")).unwrap();
    fs::create_dir_all(path("other")).unwrap();
    fs::write(path("other/usr"), "").unwrap();
    for (source, destination, reason) in [
        ("missing", "/x", "No such file"),
        ("file", "/etc/motd/", "\"/etc/motd\" is not a directory"),
        ("file", "/etc/motd/x", "\"/etc/motd\" is not a directory"),
        ("file", "/loop/x", "more than 40 symbolic links"),
        ("tree", "/etc/motd", "\"/etc/motd\" is not a directory"),
        ("clash/.", "/", "\"/etc/motd\" is not a directory"),
        ("other/.", "/", "\"/usr\" is a directory"),
        (".wh.x", "/", "means a deletion"),
        ("file/", "/", "Not a directory"),
    ] {
        let source = format!("{}/{source}", sources.path().display());
        let error = add(&[copy(&source, destination)]).unwrap_err();
        let message = error.full_message();
        assert!(message.contains(reason), "{message}");
        assert!(message.starts_with(&format!("{source} to {destination}: ")), "{message}");
        let is_missing = reason == "No such file";
        assert_eq!(error.kind(), if is_missing { ErrorKind::NotFound } else { ErrorKind::Other }, "{message}");
    }
    let file = Addition::File { destination: b"/usr".to_vec(), mode: 0o644, bytes: Vec::new() };
    assert_eq!(add(&[file]).unwrap_err().full_message(), "/usr: \"/usr\" is a directory");
}
