//! Directories of this machine as layers.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};
use tempfile::TempDir;
use vmroot_changes::Error;
use vmroot_changes::{HostWalk, LayerOptions, Marks, Tree as _, export_layer, write_layer};
use vmroot_export::{DirectoryOptions, export_directory};
use vmroot_output::{Hook, Report, WriteProgress};
use vmroot_test_roots::{Root, describe, remove};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::{arbitrary, skip};

fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn export(directory: &Path, options: &LayerOptions<'_>) -> (Vec<u8>, Report) {
    let mut tar = Vec::new();
    let report = write_layer(directory, &mut tar, options).unwrap();
    assert_eq!(report.bytes, tar.len() as u64);
    (tar, report)
}

const WITH_ROOT: LayerOptions<'_> = LayerOptions {
    with_root: true,
    whiteout_files: false,
    marks: Marks::Upper,
    sparse: false,
    compression: None,
    strict: false,
    hook: None,
};

#[test]
fn exported_root_round_trips() {
    if skip::needs_root() {
        return;
    }
    let config = ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(layers in arbitrary::stack())| {
        let root = Root::in_memory(&layers);
        let scratch = scratch();
        let directory = scratch.path().join("root");
        export_directory(&root.fs, &directory, &DirectoryOptions::default()).unwrap();
        let (tar, _) = export(&directory, &WITH_ROOT);
        let again = Root::of_tars(std::slice::from_ref(&tar));
        prop_assert_eq!(describe(&again.fs), describe(&root.fs));
        prop_assert!(export(&directory, &WITH_ROOT).0 == tar);
    });
}

#[test]
fn deep_and_wide_trees_need_few_descriptors() {
    let deep = vec!["d"; 4000].join("/");
    let entries = (0..60).map(|number| {
        let path = vec!["x"; number].join("/");
        Entry::file(format!("x/{path}/{number}"), number.to_string())
    });
    let root = Root::in_memory(&[Layer::new(entries.chain([Entry::file(format!("{deep}/bottom"), "deep")]))]);
    let scratch = scratch();
    let directory = scratch.path().join("root");
    export_directory(&root.fs, &directory, &DirectoryOptions::default()).unwrap();
    let mut most = 0;
    for entry in HostWalk::of_directory(&directory).unwrap() {
        let entry = entry.unwrap();
        if entry.path.len() % 64 == 0 {
            most = most.max(fs::read_dir("/proc/self/fd").unwrap().count());
        }
    }
    // Includes the descriptors of other tests in this process.
    assert!(most < 300, "{most}");
    let paths = |root: &Root| root.fs.walk().map(|entry| entry.path).collect::<Vec<_>>();
    assert!(paths(&Root::of_tars(&[export(&directory, &WITH_ROOT).0])) == paths(&root));
    remove(&directory);
}

#[test]
fn directory_replaced_by_a_link_is_an_error() {
    let scratch = scratch();
    let place = |levels: usize| scratch.path().join(vec!["d"; levels].join("/"));
    fs::create_dir_all(place(60)).unwrap();
    for level in 1..60 {
        fs::write(place(level).join("z"), "").unwrap();
    }
    let mut walk = HostWalk::of_directory(scratch.path()).unwrap();
    // The walk goes down to the end. Upper directories are closed by then.
    assert!(walk.by_ref().take(61).all(|entry| entry.is_ok()));
    fs::rename(place(10), scratch.path().join("moved")).unwrap();
    symlink(scratch.path().join("moved"), place(10)).unwrap();
    let (whole, failed): (Vec<_>, Vec<_>) = walk.partition(Result::is_ok);
    assert!(whole.len() > 20, "{}", whole.len());
    let message = failed.into_iter().next().unwrap().err().unwrap().full_message();
    assert!(message.contains("d/z: "), "{message}");
}

#[test]
fn overlayfs_marks_are_converted() {
    if skip::needs_root() {
        return;
    }
    let scratch = scratch();
    let path = |name: &str| scratch.path().join(name);
    let mark = |name: &str, xattr: &str, value: &[u8]| {
        lsetxattr(path(name), xattr, value, XattrFlags::empty()).unwrap();
    };
    for name in ["opaque", "marked", "unmarked", "inner"] {
        fs::create_dir(path(name)).unwrap();
    }
    mknodat(CWD, path("opaque/gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    fs::hard_link(path("opaque/gone"), path("gone too")).unwrap();
    mark("opaque", "trusted.overlay.opaque", b"y");
    mark("opaque", "trusted.overlay.impure", b"y");
    mark("marked", "user.overlay.opaque", b"x");
    for (name, bytes) in
        [("marked/gone", ""), ("marked/there", "has bytes"), ("unmarked/there", ""), ("inner/file", "")]
    {
        fs::write(path(name), bytes).unwrap();
        mark(name, "user.overlay.whiteout", b"");
        mark(name, "trusted.overlay.origin", b"\0\xfb");
        mark(name, "user.own", b"kept");
    }
    mark("marked/there", "trusted.overlay.nlink", b"U-1");
    mark("inner", "trusted.overlay.overlay.opaque", b"y");
    mark("inner/file", "user.overlay.overlay.whiteout", b"");
    let (tar, _) = export(scratch.path(), &LayerOptions::default());

    let below = Layer::new(
        ["opaque/gone", "opaque/hidden", "gone too", "marked/gone", "marked/below", "unmarked/there"]
            .map(|name| Entry::file(name, "below")),
    );
    let below = below.to_tar(&Default::default());
    let root = Root::of_tars(&[below, tar]);
    let paths: Vec<_> = root.fs.walk().map(|entry| String::from_utf8(entry.path).unwrap()).collect();
    let there = ["", "inner", "inner/file", "marked", "marked/below", "marked/there", "opaque", "unmarked"];
    assert_eq!(paths, [&there[..], &["unmarked/there"]].concat());
    let xattrs = |path: &str| {
        let ino = root.fs.resolve_path(path.as_bytes()).unwrap().ino;
        root.fs.xattrs(ino).map(|(name, _)| String::from_utf8(name.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(xattrs("opaque"), Vec::<String>::new());
    assert_eq!(xattrs("unmarked/there"), ["user.own"]);
    assert_eq!(xattrs("inner"), ["trusted.overlay.opaque"], "it belongs to an inner overlay");
    assert_eq!(xattrs("inner/file"), ["user.overlay.whiteout", "user.own"]);
}

#[test]
fn xattrs_of_this_machine_are_left_out() {
    if skip::needs_root() {
        return;
    }
    let scratch = scratch();
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    symlink("file", scratch.path().join("link")).unwrap();
    let own = ["security.capability", "security.ima", "trusted.own", "user.own"];
    // Names that the file system refuses are not expected.
    let set = |path: &Path, name: &&str| {
        let value: &[u8] = match *name {
            "security.capability" => &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            _ => b"value",
        };
        lsetxattr(path, *name, value, XattrFlags::empty()).is_ok()
    };
    let expected: Vec<_> = own.into_iter().filter(|name| set(&file, name)).collect();
    for name in ["security.selinux", "security.evm", "security.SMACK64", "security.SMACK64EXEC"] {
        set(&file, &name);
    }
    assert!(set(&scratch.path().join("link"), &"trusted.own"));
    let root = Root::of_tars(&[export(scratch.path(), &LayerOptions::default()).0]);
    let names = |path: &[u8]| {
        let ino = root.fs.resolve_link(path).unwrap().ino;
        root.fs.xattrs(ino).map(|(name, _)| String::from_utf8(name.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(names(b"file"), expected);
    assert_eq!(names(b"link"), ["trusted.own"]);
}

#[test]
fn options_are_honoured() {
    let scratch = scratch();
    let path = |name: &str| scratch.path().join(name);
    fs::create_dir(path("dir")).unwrap();
    fs::write(path("dir/.wh.gone"), "").unwrap();
    let refused = write_layer(scratch.path(), &mut Vec::new(), &LayerOptions::default()).unwrap_err();
    assert!(matches!(&refused, Error::ReservedName(place) if *place == path("dir/.wh.gone")), "{refused}");
    let options = LayerOptions { whiteout_files: true, ..LayerOptions::default() };
    let (tar, _) = export(scratch.path(), &options);
    let root = Root::of_tars(&[Layer::new([Entry::file("dir/gone", "")]).to_tar(&Default::default()), tar]);
    assert_eq!(root.fs.walk().count(), 2);

    let socket = UnixListener::bind(path("dir/socket")).unwrap();
    let (_, report) = export(scratch.path(), &options);
    drop(socket);
    assert_eq!(report.omissions.total, 1);
    assert_eq!(report.omissions.listed[0].to_string(), "dir/socket: socket (a layer has no type for it)");

    let large = File::create(path("large")).unwrap();
    large.set_len(64 << 20).unwrap();
    let plain = export(scratch.path(), &options).0;
    assert!(plain.len() > 64 << 20, "every reader gets all bytes: {} bytes", plain.len());
    let sparse = export(scratch.path(), &LayerOptions { sparse: true, ..options }).0;
    assert!(sparse.len() < 1 << 20, "holes are left out: {} bytes", sparse.len());
    assert_eq!(describe(&Root::of_tars(&[plain]).fs), describe(&Root::of_tars(&[sparse]).fs));
    std::io::copy(&mut std::io::Read::take(std::io::repeat(1), 64 << 20), &mut &large).unwrap();
    let stop = |_: WriteProgress| ControlFlow::Break(());
    let stopped =
        write_layer(scratch.path(), &mut std::io::sink(), &LayerOptions { hook: Some(Hook::new(&stop)), ..options });
    assert!(matches!(stopped, Err(Error::Cancelled)));
    for missing in ["missing", "large"] {
        let error = export_layer(&path(missing), &path("layer.tar"), &options).unwrap_err().full_message();
        assert!(error.contains(&path(missing).display().to_string()), "{error}");
    }
}

#[test]
fn walk_starts_at_any_kind() {
    let scratch = scratch();
    let path = |name: &str| scratch.path().join(name);
    fs::create_dir_all(path("dir/sub")).unwrap();
    fs::write(path("dir/file"), "file").unwrap();
    symlink("dir", path("link")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    let walked = |start: &str| {
        let walk = HostWalk::new(Path::new(&format!("{}/{start}", scratch.path().display()))).unwrap();
        walk.map(|entry| entry.map(|entry| String::from_utf8(entry.path).unwrap())).collect::<Result<Vec<_>, _>>()
    };
    let whole = ["", "file", "sub"];
    for start in ["dir", "dir/", "dir/.", "link/", "link/.", "dir/sub/.."] {
        assert_eq!(walked(start).unwrap(), whole, "{start}");
    }
    for start in ["dir/file", "link", "dangling"] {
        assert_eq!(walked(start).unwrap(), [""], "{start}");
    }
    assert!(walked("missing").is_err());
    assert!(HostWalk::new(&path("dir/file").join("")).is_err());
    let mut walk = HostWalk::of_directory(&path("link")).unwrap();
    assert!(walk.next().is_some());
    walk.skip_directory();
    assert!(walk.next().is_none());
}
