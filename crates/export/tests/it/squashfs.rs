//! squashfs images checked with the kernel and unsquashfs.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use tempfile::TempDir;
use vmroot_errors::ErrorKind;
use vmroot_export::{Error, Result, SquashfsCompression, SquashfsOptions, export_squashfs, write_squashfs};
use vmroot_output::{Hook, Omissions, Omitted, Report, WriteProgress};
use vmroot_test_roots::Root;
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::mounted::{Mounted, run};
use vmroot_testkit::{arbitrary, skip};

/// The fastest options.
const FAST: SquashfsOptions<'_> = SquashfsOptions {
    compression: SquashfsCompression::Lz4,
    block_size: None,
    threads: None,
    strict: false,
    hook: None,
};

fn image_of(root: &Root, options: &SquashfsOptions<'_>) -> Result<(TempDir, PathBuf, Report)> {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let path = directory.path().join("image");
    let report = export_squashfs(&root.fs, &path, options)?;
    Ok((directory, path, report))
}

/// Returns the listing of the model as squashfs can store it: with whole seconds since 1970.
fn expected(root: &Root) -> Listing {
    let mut listing = root.expected();
    for row in listing.rows.values_mut() {
        row.mtime = row.mtime.div_euclid(1_000_000_000).clamp(0, u32::MAX.into()) * 1_000_000_000;
    }
    listing
}

fn assert_same(root: &Root, image: &Path) {
    let mounted = Mounted::new(image, "squashfs", "ro");
    let mut listed = Listing::of_directory(mounted.path()).unwrap();
    // For an image without xattrs, the kernel does not support the call.
    let unsupported = BTreeMap::from([(b"ERR".to_vec(), Errno::OPNOTSUPP.raw_os_error().to_string().into_bytes())]);
    listed.rows.values_mut().filter(|row| row.xattrs == unsupported).for_each(|row| row.xattrs.clear());
    expected(root).assert_same(&listed);
}

/// Returns a layer with every kind of entry. All its times and xattrs are supported by squashfs.
fn everything() -> [Layer; 1] {
    [Layer::new([
        Entry::directory("./").mode(0o1751).owner(3, 70_000).mtime(77, 0),
        Entry::file("empty", "").owner(u32::MAX - 1, 65_536),
        Entry::file("su", "setuid").mode(0o4755).owner(0, 0).mtime(i64::from(u32::MAX), 0),
        Entry::file("large", vec![7; 300_000]).xattr("user.a", "1").xattr("security.testkit", vec![8; 5000]),
        Entry::hard_link("large too", "large"),
        Entry::sparse_file("sparse", 5 << 20, vec![(3 << 20, vec![1; 10])]),
        Entry::directory("closed").mode(0).xattr("trusted.t", ""),
        Entry::file("closed/secret", "secret").mode(0),
        Entry::char_device("null", 1, 3).mode(0o666),
        Entry::block_device("disk", 4095, 1_048_575).owner(0, 6),
        Entry::fifo("pipe"),
        Entry::symlink("link", "x".repeat(300)),
        Entry::file(b"\xff\xfe\n", "odd name"),
    ])]
}

#[test]
fn random_stacks() {
    if skip::needs_program("sqfstar") || skip::needs_root() {
        return;
    }
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(layers in arbitrary::stack())| {
        let root = Root::of(&layers);
        let (_directory, path, report) = image_of(&root, &FAST).unwrap();
        let sockets = report.omissions.listed.iter().filter(|one| one.what == Omitted::Socket).count();
        prop_assert_eq!(sockets, 0);
        assert_same(&root, &path);
    });
}

#[test]
fn image_matches_the_model_in_every_compression() {
    if skip::needs_program("sqfstar") || skip::needs_root() {
        return;
    }
    let root = Root::of(&everything());
    use SquashfsCompression as C;
    for (compression, block_size) in [(C::Zstd, None), (C::Gzip, Some(4096)), (C::Lz4, Some(1 << 20)), (C::Xz, None)] {
        let options = SquashfsOptions { compression, block_size, ..SquashfsOptions::default() };
        let (_directory, path, report) = image_of(&root, &options).unwrap();
        assert_eq!(report, Report::new(fs::metadata(&path).unwrap().len(), Omissions::default()));
        assert_same(&root, &path);
        let mounted = Mounted::new(&path, "squashfs", "ro");
        let top = fs::metadata(mounted.path()).unwrap();
        assert_eq!((top.mode() & 0o7777, top.uid(), top.gid(), top.mtime()), (0o1751, 3, 70_000, 77));
    }
}

#[test]
fn zeros_at_the_end_are_kept() {
    if skip::needs_program("sqfstar") || skip::needs_root() {
        return;
    }
    // sqfstar fails at a sparse entry whose file ends in zeros and whose size is not a multiple of 512.
    let sizes = [1 << 20, (1 << 20) + 1, (9 << 17) + 513, 3 << 20].into_iter();
    let root = Root::of_entries(sizes.flat_map(|size| {
        let data = [vec![], vec![(0, vec![1; 700])], vec![(size - 1, vec![1])], vec![(70_000, vec![1; 5])]];
        data.into_iter().enumerate().map(move |(n, runs)| Entry::sparse_file(format!("{size}.{n}"), size, runs))
    }));
    let (_directory, path, _) = image_of(&root, &FAST).unwrap();
    assert_same(&root, &path);
}

#[test]
fn unsquashfs_reads_the_image() {
    if skip::needs_program("sqfstar") {
        return;
    }
    let (_directory, path, _) = image_of(&Root::of(&everything()), &FAST).unwrap();
    let listed = run(Command::new("unsquashfs").args(["-lln", "-UTC"]).arg(&path));
    let line = |path: &str| listed.lines().find(|line| line.ends_with(path)).unwrap_or_else(|| panic!("{listed}"));
    assert!(line(" squashfs-root").starts_with("drwxr-x--t 3/70000 "), "{listed}");
    assert!(line("/su").starts_with("-rwsr-xr-x 0/0 ") && line("/su").contains(" 2106-02-07 06:28 "), "{listed}");
    assert!(line("/pipe").starts_with("prw-r--r-- 0/0 "), "{listed}");
    let summary = run(Command::new("unsquashfs").args(["-s", "-UTC"]).arg(&path));
    assert!(summary.contains("2106"), "created at the time of the latest file: {summary}");
}

/// Writes the image as user nobody, on a thread of its own.
fn image_as_nobody(root: &Root) -> (TempDir, PathBuf, Report) {
    let as_nobody = || {
        let nobody = 65_534;
        let (uid, gid) = (Uid::from_raw(nobody), Gid::from_raw(nobody));
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        set_thread_groups(&[]).unwrap();
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
        let path = directory.path().join("image");
        let report = write_squashfs(&root.fs, &path, &FAST).unwrap();
        (directory, path, report)
    };
    thread::scope(|scope| scope.spawn(as_nobody).join().unwrap())
}

#[test]
fn bytes_do_not_depend_on_user_time_and_processors() {
    if skip::needs_program("sqfstar") || skip::needs_root() {
        return;
    }
    let plain = [Layer::new([Entry::file("only", "x").owner(5, 6)])];
    for layers in [everything(), plain] {
        let root = Root::of(&layers);
        let (_directory, path, _) = image_of(&root, &FAST).unwrap();
        let first = fs::read(path).unwrap();
        thread::sleep(Duration::from_millis(1100));
        let (_directory, path, _) = image_as_nobody(&root);
        assert!(first == fs::read(&path).unwrap(), "as nobody");
        assert_same(&root, &path);
        for processors in [1, 3] {
            let options = SquashfsOptions { threads: NonZeroUsize::new(processors), ..FAST };
            let (_directory, path, _) = image_of(&root, &options).unwrap();
            assert!(first == fs::read(path).unwrap(), "{processors} processors");
        }
    }
}

#[test]
fn owner_table_of_several_blocks_is_kept() {
    if skip::needs_program("sqfstar") || skip::needs_root() {
        return;
    }
    // A block holds 2048 owners. One more, of the root directory, needs a second block.
    for count in [2046, 2048, 6000] {
        let files = (0..count).map(|number| Entry::file(number.to_string(), "").owner(100 + number, 100 + number));
        let with_xattrs = [Entry::file("x", "").owner(100, 100).xattr("user.kept", vec![1; 3000])];
        let top = [Entry::directory("./").owner(7, 8)];
        let root = Root::of(&[Layer::new(top.into_iter().chain(files).chain(with_xattrs))]);
        let (_directory, path, _) = image_as_nobody(&root);
        assert_same(&root, &path);
        let mounted = Mounted::new(&path, "squashfs", "ro");
        let top = fs::metadata(mounted.path()).unwrap();
        assert_eq!((top.uid(), top.gid()), (7, 8));
    }
}

#[test]
fn omissions_are_reported() {
    if skip::needs_program("sqfstar") || skip::needs_root() {
        return;
    }
    let list = [&[2, 0, 0, 0][..], &[1, 0, 6, 0, 255, 255, 255, 255], &[4, 0, 4, 0, 255, 255, 255, 255]].concat();
    let root = Root::of(&[Layer::new([
        Entry::directory("./").xattr("user.of.the.root", "1"),
        Entry::file("old", "x").mtime(-1, 0),
        Entry::hard_link("old too", "old"),
        Entry::file("new", "x").mtime(1 << 33, 5),
        Entry::file("between", "x").mtime(5, 999_999_999),
        Entry::file("list", "x").xattr("system.posix_acl_access", list).xattr("user.kept", "1"),
        Entry::file("strange", "x").xattr("com.example", "1").xattr("user.", "2"),
    ])]);
    let (_directory, path, report) = image_of(&root, &FAST).unwrap();
    let omissions = report.omissions;
    let lacking: Vec<_> = omissions.listed.iter().map(|one| format!("{}: {}", one.path.display(), one.what)).collect();
    let expected = [
        ".: xattr \"user.of.the.root\"",
        "list: xattr \"system.posix_acl_access\"",
        "new: modification time",
        "old: modification time",
        "strange: xattr \"com.example\"",
        "strange: xattr \"user.\"",
    ];
    assert_eq!((lacking, omissions.total, omissions.cut_times), (expected.map(str::to_owned).to_vec(), 6, 1));
    let strict = image_of(&root, &SquashfsOptions { strict: true, ..FAST }).unwrap_err();
    assert!(matches!(&strict, Error::Incomplete(incomplete) if incomplete.omissions.total == 6), "{strict}");
    let mounted = Mounted::new(&path, "squashfs", "ro");
    let time = |name: &str| fs::metadata(mounted.path().join(name)).unwrap().mtime();
    assert_eq!((time("old"), time("new"), time("between")), (0, u32::MAX.into(), 5));
    let listed = Listing::of_directory(mounted.path()).unwrap();
    assert_eq!(listed.rows[&b"list"[..]].xattrs.len(), 1);
    assert_eq!(listed.rows[&b"old too"[..]].link.as_deref(), Some(&b"old"[..]));
}

#[test]
fn empty_root() {
    if skip::needs_program("sqfstar") || skip::needs_root() {
        return;
    }
    let root = Root::of_entries([Entry::directory("./").mode(0o700).owner(9, 10).mtime(11, 0)]);
    let (_directory, path, _) = image_as_nobody(&root);
    let mounted = Mounted::new(&path, "squashfs", "ro");
    let top = fs::metadata(mounted.path()).unwrap();
    assert_eq!((top.mode() & 0o7777, top.uid(), top.gid(), top.mtime()), (0o700, 9, 10, 11));
    assert_eq!(fs::read_dir(mounted.path()).unwrap().count(), 0);
}

#[test]
fn error_keeps_the_messages_of_the_program_for_a_log() {
    if skip::needs_program("sqfstar") {
        return;
    }
    let root = Root::of(&everything());
    let error = image_of(&root, &SquashfsOptions { block_size: Some(5000), ..FAST }).unwrap_err();
    let program = matches!(&error, Error::Output { source, .. } if matches!(**source, Error::Program { .. }));
    assert!(program && error.kind() == ErrorKind::ProgramFailed, "{error}");
    assert!(error.full_message().contains("/image: sqfstar failed"), "{error}");
    let Error::Output { source, .. } = &error else { panic!("{error}") };
    let Error::Program { message, .. } = &**source else { panic!("{error}") };
    assert!(message.contains("block") && !error.full_message().contains("block"), "{message}");
    let error = write_squashfs(&root.fs, Path::new("/no/such/directory/image"), &FAST).unwrap_err();
    assert!(error.full_message().contains("No such file or directory"), "{error}");
}

#[test]
fn hook_cancels_the_export() {
    if skip::needs_program("sqfstar") {
        return;
    }
    let root = Root::of_entries((0..40).map(|number| Entry::file(number.to_string(), vec![number; 1 << 20])));
    let stop =
        |progress: WriteProgress| if progress.bytes > 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let stopped = image_of(&root, &SquashfsOptions { hook: Some(Hook::new(&stop)), ..FAST });
    assert!(matches!(stopped, Err(Error::Cancelled)));
}
