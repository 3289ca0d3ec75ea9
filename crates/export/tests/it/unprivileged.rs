//! Exporting without privileges.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{Gid, Uid, lgetxattr};
use rustix::io::Errno;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use vmroot_export::{DirectoryOptions, OVERRIDE_STAT, export_directory};
use vmroot_output::{Omitted, Report};
use vmroot_test_roots::{Root, look_at};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::skip;

const NOBODY: u32 = 65_534;

/// Exports as user nobody, on a thread of its own. Threads that it starts have the same user.
fn export_as_nobody(root: &Root, target: &Path, rootless: bool) -> Report {
    let export = || {
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        set_thread_groups(&[]).unwrap();
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
        export_directory(&root.fs, target, &DirectoryOptions { rootless, ..DirectoryOptions::default() })
    };
    thread::scope(|scope| scope.spawn(export).join().unwrap()).unwrap()
}

/// Returns a directory that is writable for user nobody.
fn scratch() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
    scratch
}

fn layers() -> [Layer; 1] {
    [Layer::new([
        Entry::directory("./").owner(0, 0),
        Entry::file("su", "setuid").mode(0o4755).owner(0, 0),
        Entry::file("mine", "mine").mode(0o4750).owner(NOBODY, NOBODY),
        Entry::file("secret", "secret").mode(0).owner(0, 42).xattr("user.kept", "1").xattr("trusted.lost", "2"),
        Entry::file("ping", "ping").mode(0o755).owner(0, 0).xattr("security.testkit", "3"),
        Entry::directory("closed").mode(0).owner(NOBODY, NOBODY).mtime(77, 8),
        Entry::directory("closed/deep").mode(0o555).owner(NOBODY, NOBODY).mtime(78, 9),
        Entry::file("closed/deep/file", "inside").mode(0o444).owner(NOBODY, NOBODY),
        Entry::char_device("null", 1, 3).mode(0o666).owner(0, 0),
        Entry::hard_link("zero-names", "null"),
        Entry::block_device("disk", 259, 65_536).mode(0o660).owner(0, 6),
        Entry::fifo("pipe").mode(0o640).owner(NOBODY, NOBODY),
        Entry::symlink("link", "su").owner(0, 0).mtime(5, 6),
    ])]
}

fn xattr(path: &Path, name: &str) -> Option<String> {
    let mut value = [0; 256];
    match lgetxattr(path, name, &mut value[..]) {
        Ok(length) => Some(String::from_utf8(value[..length].to_vec()).unwrap()),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => None,
        Err(errno) => panic!("{}: {errno}", path.display()),
    }
}

#[test]
fn refusals_are_reported_and_the_rest_is_exported() {
    if skip::needs_root() {
        return;
    }
    let scratch = scratch();
    let target = scratch.path().join("root");
    let report = export_as_nobody(&Root::of(&layers()), &target, false);

    let refused: Vec<_> =
        report.omissions.listed.iter().map(|refusal| (refusal.path.clone(), refusal.what.clone())).collect();
    let owner = |path: &str, gid| (PathBuf::from(path), Omitted::Owner { uid: 0, gid });
    let expected = [
        owner(".", 0),
        (PathBuf::from("disk"), Omitted::Device),
        owner("link", 0),
        (PathBuf::from("null"), Omitted::Device),
        owner("ping", 0),
        (PathBuf::from("ping"), Omitted::Xattr("security.testkit".into())),
        owner("secret", 42),
        (PathBuf::from("secret"), Omitted::Xattr("trusted.lost".into())),
        owner("su", 0),
        (PathBuf::from("su"), Omitted::Mode(0o4755)),
        (PathBuf::from("zero-names"), Omitted::Device),
    ];
    assert_eq!(refused, expected);
    assert_eq!(report.omissions.total, expected.len() as u64);
    assert_eq!(report.omissions.listed[1].to_string(), "disk: device (Operation not permitted)");

    let at = |path: &str| target.join(path);
    let mode = |path: &str| look_at(&at(path)).mode() & 0o7777;
    assert_eq!(mode("su"), 0o755, "without its owner the file must not be setuid");
    assert_eq!(mode("mine"), 0o4750);
    assert_eq!((mode("secret"), mode("closed"), mode("closed/deep")), (0, 0, 0o555));
    assert_eq!(fs::read(at("closed/deep/file")).unwrap(), b"inside");
    assert_eq!(look_at(&at("closed")).mtime(), 77);
    assert_eq!((look_at(&at("closed/deep")).mtime(), look_at(&at("closed/deep")).mtime_nsec()), (78, 9));
    assert_eq!((look_at(&at("link")).mtime(), look_at(&at("link")).mtime_nsec()), (5, 6));
    assert_eq!(xattr(&at("secret"), "user.kept").as_deref(), Some("1"));
    assert!(look_at(&at("pipe")).file_type().is_fifo());
    assert!(!at("null").exists() && !at("zero-names").exists());
}

#[test]
fn rootless_export_records_attributes() {
    if skip::needs_root() {
        return;
    }
    let scratch = scratch();
    let target = scratch.path().join("root");
    let report = export_as_nobody(&Root::of(&layers()), &target, true);
    // A symbolic link cannot have a `user.*` xattr.
    let refused: Vec<_> = report.omissions.listed.iter().map(|refusal| &refusal.path).collect();
    assert_eq!(refused, [Path::new("link")]);

    let at = |path: &str| target.join(path);
    let stat = |path: &str| xattr(&at(path), OVERRIDE_STAT).unwrap();
    assert_eq!(stat(""), "0:0:0755:dir");
    assert_eq!(stat("su"), "0:0:4755:file");
    assert_eq!(stat("secret"), "0:42:0000:file");
    assert_eq!(stat("closed/deep"), format!("{NOBODY}:{NOBODY}:0555:dir"));
    assert_eq!(stat("null"), "0:0:0666:char-1-3");
    assert_eq!(stat("disk"), "0:6:0660:block-259-65536");
    assert_eq!(stat("pipe"), format!("{NOBODY}:{NOBODY}:0640:pipe"));
    assert_eq!(xattr(&at("secret"), "user.kept").as_deref(), Some("1"));
    assert_eq!(xattr(&at("secret"), "user.vmroot.trusted.lost").as_deref(), Some("2"));
    assert_eq!(xattr(&at("ping"), "user.vmroot.security.testkit").as_deref(), Some("3"));

    for path in ["su", "null", "disk", "pipe", "secret", "closed/deep/file"] {
        let metadata = look_at(&at(path));
        assert!(metadata.is_file(), "{path}");
        assert_eq!((metadata.uid(), metadata.gid()), (NOBODY, NOBODY));
        assert_eq!(metadata.mode() & 0o6600, 0o600, "{path} is readable for the exporter and not setuid");
    }
    assert_eq!(look_at(&at("closed")).mode() & 0o7777, 0o700);
    assert_eq!(look_at(&at("null")).ino(), look_at(&at("zero-names")).ino());
    assert_eq!(look_at(&at("null")).len(), 0);
}

#[test]
fn image_cannot_forge_recorded_attributes() {
    if skip::needs_root() {
        return;
    }
    let forged = Entry::file("file", "x")
        .mode(0o755)
        .owner(9, 9)
        .xattr(OVERRIDE_STAT, "0:0:4755:file")
        .xattr("user.vmroot.security.capability", "forged");
    let scratch = scratch();
    let target = scratch.path().join("root");
    let report = export_as_nobody(&Root::of(&[Layer::new([forged])]), &target, true);
    assert_eq!(report.omissions.total, 2);
    assert_eq!(xattr(&target.join("file"), OVERRIDE_STAT).as_deref(), Some("9:9:0755:file"));
    assert_eq!(xattr(&target.join("file"), "user.vmroot.security.capability"), None);
}

#[test]
fn target_of_another_user_is_filled() {
    if skip::needs_root() {
        return;
    }
    let scratch = scratch();
    let layer = Layer::new([Entry::directory("./").mode(0o700), Entry::file("file", "x").owner(NOBODY, NOBODY)]);
    let report = export_as_nobody(&Root::of(&[layer]), scratch.path(), false);
    let refused: Vec<_> = report.omissions.listed.iter().map(|refusal| refusal.what.clone()).collect();
    assert_eq!(refused, [Omitted::Owner { uid: 0, gid: 0 }, Omitted::Mode(0o700), Omitted::Time]);
    assert_eq!(fs::read(scratch.path().join("file")).unwrap(), b"x");
}
