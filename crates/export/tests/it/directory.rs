//! Exporting to a directory as root.

use std::fs;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use vmroot_export::{DirectoryOptions, Error, export_directory};
use vmroot_output::{Hook, Omissions, Omitted, Report, WriteProgress};
use vmroot_test_roots::{Root, expected, look_at};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::{arbitrary, skip};

fn export(root: &Root, target: &Path) -> Report {
    let report = export_directory(&root.fs, target, &DirectoryOptions::default()).unwrap();
    assert_eq!(report.omissions, Omissions::default());
    report
}

#[test]
fn random_stacks() {
    if skip::needs_root() {
        return;
    }
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(layers in arbitrary::stack(), threads in 1_usize..4, across in prop::bool::weighted(0.8))| {
        let root = if across { Root::in_memory(&layers) } else { Root::of(&layers) };
        let target = tempfile::tempdir().unwrap();
        let options = DirectoryOptions { threads: NonZeroUsize::new(threads), ..DirectoryOptions::default() };
        let report = export_directory(&root.fs, target.path(), &options).unwrap();
        prop_assert_eq!(report.omissions, Omissions::default());
        expected(&layers).assert_same(&Listing::of_directory(target.path()).unwrap());
    });
}

#[test]
fn target_gets_the_attributes_of_the_root_directory() {
    if skip::needs_root() {
        return;
    }
    let layer =
        Layer::new([Entry::directory("./").mode(0o1751).owner(3, 70_000).mtime(-5, 7).xattr("user.root", "yes")]);
    let scratch = tempfile::tempdir().unwrap();
    for (name, made_before) in [("missing", false), ("empty", true)] {
        let target = scratch.path().join(name);
        if made_before {
            fs::create_dir(&target).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o2777)).unwrap();
        }
        let report = export(&Root::of(std::slice::from_ref(&layer)), &target);
        assert_eq!(report.bytes, 0);
        let metadata = look_at(&target);
        assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o1751, 3, 70_000));
        assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (-5, 7));
        assert_eq!(rustix::fs::getxattr(&target, "user.root", &mut [0_u8; 8][..]).unwrap(), 3);
    }
}

#[test]
fn special_mode_bits_and_capabilities_are_kept() {
    if skip::needs_root() {
        return;
    }
    // Version 2, effective, cap_net_raw (linux/capability.h).
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let layers = [Layer::new([
        Entry::file("su", "x").mode(0o4755).owner(5, 6),
        Entry::file("wall", "x").mode(0o2755).owner(0, 5),
        Entry::file("ping", "x").mode(0o755).owner(7, 7).xattr("security.capability", capability),
        Entry::directory("tmp").mode(0o1777).owner(1, 1),
        Entry::directory("shared").mode(0o2775).owner(0, 50),
        Entry::directory("closed").mode(0),
        Entry::file("closed/inside", "x").mode(0),
    ])];
    let target = tempfile::tempdir().unwrap();
    export(&Root::of(&layers), target.path());
    expected(&layers).assert_same(&Listing::of_directory(target.path()).unwrap());
}

#[test]
fn holes_are_kept() {
    let megabyte = 1 << 20;
    let runs = vec![(0, vec![1; 4096]), (8 * megabyte, vec![2; 5000])];
    let layers = [Layer::new([
        Entry::sparse_file("both", 32 * megabyte, runs.clone()),
        Entry::sparse_file("end", 8 * megabyte + 5000, runs),
        Entry::sparse_file("nothing", 64 * megabyte, vec![]),
        Entry::file("full", vec![3; 100_000]),
    ])];
    let target = tempfile::tempdir().unwrap();
    let root = Root::of(&layers);
    let options = DirectoryOptions::default();
    let report = export_directory(&root.fs, target.path(), &options).unwrap();
    assert_eq!(report.bytes, 32 * megabyte + 8 * megabyte + 5000 + 64 * megabyte + 100_000);
    for (name, size, most) in
        [("both", 32 * megabyte, 64 << 10), ("end", 8 * megabyte + 5000, 64 << 10), ("nothing", 64 * megabyte, 0)]
    {
        let metadata = look_at(&target.path().join(name));
        assert_eq!(metadata.len(), size, "{name}");
        assert!(metadata.blocks() * 512 <= most, "{name} takes {} blocks", metadata.blocks());
    }
    let bytes = fs::read(target.path().join("both")).unwrap();
    assert!(bytes[..4096].iter().all(|&byte| byte == 1));
    assert!(bytes[8 << 20..(8 << 20) + 5000].iter().all(|&byte| byte == 2));
    assert_eq!(bytes.iter().filter(|&&byte| byte != 0).count(), 4096 + 5000);
    assert_eq!(fs::read(target.path().join("full")).unwrap(), vec![3; 100_000]);
}

#[test]
fn target_must_be_new_or_empty() {
    let root = Root::of(&[Layer::new([Entry::file("a", "a")])]);
    let scratch = tempfile::tempdir().unwrap();
    let export = |target: &Path| export_directory(&root.fs, target, &DirectoryOptions::default());

    let full = scratch.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("precious"), "kept").unwrap();
    assert!(matches!(export(&full), Err(Error::TargetNotEmpty(path)) if path == full));
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);

    let file = scratch.path().join("file");
    fs::write(&file, "kept").unwrap();
    let error = export(&file).unwrap_err().full_message();
    assert!(error.contains("Not a directory") && error.contains("file"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"kept");

    let orphan = scratch.path().join("no/such/parent");
    assert!(export(&orphan).unwrap_err().full_message().contains("no/such/parent"));
}

#[test]
fn hook_receives_all_bytes_and_cancels() {
    let layers = [Layer::new((0..40).map(|number| Entry::file(format!("f{number}"), vec![number; 1 << 20])))];
    let root = Root::of(&layers);
    let scratch = tempfile::tempdir().unwrap();

    let most = AtomicU64::new(0);
    let hook = |progress: WriteProgress| {
        assert_eq!(progress.total_bytes, 40 << 20);
        most.fetch_max(progress.bytes, Ordering::Relaxed);
        ControlFlow::Continue(())
    };
    let options = DirectoryOptions { hook: Some(Hook::new(&hook)), sync: true, ..DirectoryOptions::default() };
    export_directory(&root.fs, &scratch.path().join("all"), &options).unwrap();
    assert_eq!(most.into_inner(), 40 << 20);

    let stop =
        |progress: WriteProgress| if progress.bytes > 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let options = DirectoryOptions { hook: Some(Hook::new(&stop)), ..DirectoryOptions::default() };
    let target = scratch.path().join("some");
    assert!(matches!(export_directory(&root.fs, &target, &options), Err(Error::Cancelled)));
    assert!(!target.exists(), "an incomplete tree is removed");
    fs::create_dir(&target).unwrap();
    assert!(matches!(export_directory(&root.fs, &target, &options), Err(Error::Cancelled)));
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "a directory that existed is kept");
}

#[test]
fn excess_hard_links_become_copies() {
    // The limits on hard links: ext4 65,000 for a file, XFS 2^31, btrfs 65,535 or fewer in a directory, tmpfs none.
    let names = 65_100;
    let links = (0..names).map(|number| Entry::hard_link(format!("d/{number}"), "first"));
    let layer = Layer::new([Entry::file("first", "bytes").mode(0o640)].into_iter().chain(links));
    let target = tempfile::tempdir().unwrap();
    let root = Root::of(&[layer]);
    let report = export_directory(&root.fs, target.path(), &DirectoryOptions::default()).unwrap();
    let mut inodes = std::collections::BTreeMap::<u64, u64>::new();
    for entry in fs::read_dir(target.path().join("d")).unwrap() {
        let metadata = entry.unwrap().metadata().unwrap();
        assert_eq!((metadata.len(), metadata.mode() & 0o7777), (5, 0o640));
        *inodes.entry(metadata.ino()).or_default() += 1;
    }
    assert_eq!(inodes.values().sum::<u64>(), names);
    let copies = report.omissions.listed.iter().filter(|refusal| refusal.what == Omitted::HardLink).count();
    assert_eq!(copies, inodes.len() - 1, "every inode but the first is a reported copy");
}

#[test]
fn unsupported_time_is_reported() {
    // The ranges: ext4 1901 to 2446, XFS 1901 to 2038 or 2486, btrfs and tmpfs everything. Each silently stores the
    // nearest time.
    let times = [(-(1 << 31), 1), (-(1 << 33), 0), (1 << 33, 5), (1 << 34, 0), (1 << 62, 0), (77, 7)];
    let name = |number: usize| number.to_string();
    let files = times.iter().enumerate().map(|(number, &(seconds, nanoseconds))| match number % 3 {
        0 => Entry::file(name(number), "x").mtime(seconds, nanoseconds),
        1 => Entry::directory(name(number)).mtime(seconds, nanoseconds),
        _ => Entry::symlink(name(number), "x").mtime(seconds, nanoseconds),
    });
    let root = Root::of(&[Layer::new(files)]);
    let target = tempfile::tempdir().unwrap();
    let report = export_directory(&root.fs, target.path(), &DirectoryOptions::default()).unwrap();
    for (number, &(seconds, nanoseconds)) in times.iter().enumerate() {
        let metadata = look_at(&target.path().join(name(number)));
        let reported = report
            .omissions
            .listed
            .iter()
            .filter(|refusal| refusal.path == Path::new(&name(number)) && refusal.what == Omitted::Time);
        let lost = (metadata.mtime(), metadata.mtime_nsec()) != (seconds, i64::from(nanoseconds));
        assert_eq!(reported.count(), usize::from(lost), "{seconds}.{nanoseconds}: {:?}", report.omissions);
    }
}

/// Returns an access control list in the format of getxattr(2) (`linux/posix_acl_xattr.h`), from tags and permissions.
fn access_list(entries: &[(u16, u16)]) -> Vec<u8> {
    let entry = |&(tag, permissions): &(u16, u16)| {
        let id: u32 = if tag == 2 { 1000 } else { u32::MAX };
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    [2_u32.to_le_bytes().to_vec(), entries.iter().flat_map(entry).collect()].concat()
}

#[test]
fn access_list_that_contradicts_the_mode_is_reported() {
    const NAME: &str = "system.posix_acl_access";
    if skip::needs_root() {
        return;
    }
    let lists = [
        (access_list(&[(1, 6), (2, 7), (4, 4), (0x10, 5), (0x20, 4)]), 0o654),
        (access_list(&[(1, 6), (2, 7), (4, 4), (0x10, 5), (0x20, 4)]), 0o644),
        (access_list(&[(1, 6), (2, 7), (4, 4), (0x10, 5), (0x20, 4)]), 0o055),
        (access_list(&[(1, 6), (4, 4), (0x20, 4)]), 0o644),
        (access_list(&[(1, 6), (4, 4), (0x20, 4)]), 0o600),
    ];
    let name = |number: usize| number.to_string();
    let entries = lists.iter().enumerate().flat_map(|(number, (list, mode))| {
        let directory = format!("{number}d");
        [Entry::file(name(number), "x"), Entry::directory(directory)]
            .map(|entry| entry.mode(*mode).xattr(NAME, list.as_slice()))
    });
    let root = Root::of(&[Layer::new(entries)]);
    let target = tempfile::tempdir().unwrap();
    let report = export_directory(&root.fs, target.path(), &DirectoryOptions::default()).unwrap();
    let mut contradictions = 0;
    for (number, (list, mode)) in lists.iter().enumerate() {
        for name in [name(number), format!("{number}d")] {
            let path = target.path().join(&name);
            assert_eq!(look_at(&path).mode() & 0o7777, *mode, "{name}");
            let mut value = [0; 100];
            let length = rustix::fs::getxattr(&path, NAME, &mut value[..]).unwrap_or(0);
            let reported = report.omissions.listed.iter().filter(|refusal| refusal.path == Path::new(&name)).count();
            assert_eq!(reported, usize::from(value[..length] != list[..]), "{name}: {:?}", report.omissions);
            contradictions += reported;
        }
    }
    assert_eq!(contradictions, 8);
}
