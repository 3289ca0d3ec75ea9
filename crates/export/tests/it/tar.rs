//! Exporting to a tar.

use std::fs;
use std::io::{Cursor, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use vmroot_compress::{Compression, Decoder, EncoderOptions, Limits};
use vmroot_container_fs::ContainerFs;
use vmroot_export::{DirectoryOptions, Error, TarOptions, export_directory, write_tar};
use vmroot_output::{Hook, Omitted, Report, WriteProgress};
use vmroot_test_roots::{Root, describe, expected, look_at};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::{arbitrary, skip};

use crate::forged::with_sockets;

fn export(fs: &ContainerFs) -> (Vec<u8>, Report) {
    let mut tar = Vec::new();
    let report = write_tar(fs, &mut tar, &TarOptions::default()).unwrap();
    assert_eq!(report.bytes, tar.len() as u64);
    assert_eq!(tar.len() % 512, 0);
    (tar, report)
}

/// Extracts a tar with GNU tar, which must not print anything.
pub(crate) fn extract_with_gnu_tar(tar: &[u8], directory: &Path) {
    let file = directory.with_extension("tar");
    fs::write(&file, tar).unwrap();
    let output = Command::new("tar")
        .args(["--extract", "--numeric-owner", "--same-owner", "--same-permissions", "--xattrs", "--xattrs-include=*"])
        .args(["--delay-directory-restore", "--warning=no-timestamp", "--file"])
        .args([file.as_path(), "--directory".as_ref(), directory])
        .output()
        .unwrap();
    fs::remove_file(&file).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn random_stacks() {
    if skip::needs_root() || skip::needs_program("tar") {
        return;
    }
    let config = ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(layers in arbitrary::stack())| {
        let root = Root::in_memory(&layers);
        let (tar, _) = export(&root.fs);
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("root");
        fs::create_dir(&directory).unwrap();
        extract_with_gnu_tar(&tar, &directory);
        expected(&layers).assert_same(&Listing::of_directory(&directory).unwrap());

        let again = Root::of_tars(std::slice::from_ref(&tar));
        prop_assert_eq!(describe(&again.fs), describe(&root.fs));
        prop_assert!(export(&again.fs).0 == tar, "the bytes depend only on the root");
    });
}

#[test]
fn values_beyond_ustar() {
    let long = |length: usize| "n".repeat(length);
    let deep = |count: usize| vec![long(200); count].join("/");
    let layer = Layer::new([
        Entry::directory("./").mode(0o1755).owner(1, 2).mtime(3, 4).xattr("user.root", b"\0\xff=\n"),
        Entry::file(deep(6), "deep"),
        Entry::hard_link("link", deep(6)),
        Entry::file(format!("{}/{}", long(155), long(100)), "just split"),
        Entry::file(format!("{}/{}", long(155), long(101)), "not split"),
        Entry::directory(long(100)).mode(0o2750),
        Entry::symlink("short", long(100)),
        Entry::symlink("long", long(4000)),
        Entry::file(b"\xff\xfe\n\t", "bytes").owner(2_097_151, 2_097_152),
        Entry::file([&b"\xff"[..], &[b'x'; 200]].concat(), "long bytes").owner(u32::MAX - 1, 0),
        Entry::file("early", "").mtime(-1, 1),
        Entry::file("late", "").mtime(1 << 33, 0),
        Entry::char_device("c", 4095, 1_048_575),
        Entry::block_device("b", 0, 1),
        Entry::fifo("p"),
        Entry::file("xattrs", "")
            .xattr("user.a%3Db", "=")
            .xattr("user.%253D", "%")
            .xattr("user.large", vec![b'x'; 60_000]),
    ]);
    let root = Root::of(&[layer]);
    let (tar, _) = export(&root.fs);
    assert_eq!(describe(&Root::of_tars(&[tar]).fs), describe(&root.fs));
}

#[test]
fn gnu_tar_reads_escaped_xattr_names() {
    if skip::needs_root() || skip::needs_program("tar") {
        return;
    }
    // The escaped names that GNU tar writes.
    let file = Entry::file("file", "").xattr("user.a%3Db", "=").xattr("user.%253D", "%").xattr("user.%", "plain");
    let layers = [Layer::new([file])];
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("root");
    fs::create_dir(&directory).unwrap();
    extract_with_gnu_tar(&export(&Root::of(&layers).fs).0, &directory);
    let listing = Listing::of_directory(&directory).unwrap();
    let names: Vec<_> = listing.rows[&b"file"[..]].xattrs.keys().map(|name| name.as_slice()).collect();
    assert_eq!(names, [&b"user.%"[..], b"user.%3D", b"user.a=b"]);
}

#[test]
fn compressed_tar_decodes_to_the_plain_tar() {
    let root = Root::of(&[Layer::new((0..50).map(|number| Entry::file(format!("file-{number}"), [number; 9999])))]);
    let (plain, _) = export(&root.fs);
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        for threads in [0, 2] {
            let options = EncoderOptions { compression, level: None, threads };
            let options = TarOptions { compression: Some(options), ..TarOptions::default() };
            let mut bytes = Vec::new();
            let report = write_tar(&root.fs, &mut bytes, &options).unwrap();
            assert_eq!(report.bytes, bytes.len() as u64);
            assert_eq!(Compression::sniff(&bytes), compression);
            let mut decoded = Vec::new();
            Decoder::new(Cursor::new(bytes), &Limits::default()).unwrap().read_to_end(&mut decoded).unwrap();
            assert!(decoded == plain);
        }
    }
    let options = EncoderOptions { compression: Compression::Xz, level: None, threads: 0 };
    let options = TarOptions { compression: Some(options), ..TarOptions::default() };
    let refused = write_tar(&root.fs, &mut Vec::new(), &options);
    assert!(matches!(refused, Err(Error::Compression(_))));
}

#[test]
fn hook_receives_all_bytes_and_cancels() {
    let entries = (0..20).map(|number| Entry::file(format!("{number}"), vec![1; 1 << 20]));
    let holes = Entry::sparse_file("holes", 12 << 20, vec![(0, vec![1])]);
    let root = Root::of(&[Layer::new(entries.chain([holes, Entry::hard_link("link", "0")]))]);
    let most = AtomicU64::new(0);
    let hook = |progress: WriteProgress| {
        assert_eq!(progress.total_bytes, 32 << 20);
        most.fetch_max(progress.bytes, Ordering::Relaxed);
        ControlFlow::Continue(())
    };
    write_tar(&root.fs, &mut std::io::sink(), &TarOptions { hook: Some(Hook::new(&hook)), ..TarOptions::default() })
        .unwrap();
    assert_eq!(most.into_inner(), 32 << 20);
    let stop = |_: WriteProgress| ControlFlow::Break(());
    let stopped = write_tar(
        &root.fs,
        &mut std::io::sink(),
        &TarOptions { hook: Some(Hook::new(&stop)), ..TarOptions::default() },
    );
    assert!(matches!(stopped, Err(Error::Cancelled)));
}

#[test]
fn sockets_are_omitted_and_reported() {
    let root = Root::of(&[Layer::new([
        Entry::fifo("run/socket"),
        Entry::hard_link("z", "run/socket"),
        Entry::file("a", "a"),
    ])]);
    let index = root.files().join("sockets.idx");
    fs::write(&index, with_sockets(fs::read(root.files().join("root.idx")).unwrap())).unwrap();
    let fs = ContainerFs::open_files(&index, &|_| root.contents_of(0)).unwrap();
    let (tar, report) = export(&fs);
    assert_eq!(report.omissions.total, 2);
    let listed: Vec<_> = report.omissions.listed.iter().map(|omission| (&omission.path, &omission.what)).collect();
    assert_eq!(listed, [(&"run/socket".into(), &Omitted::Socket), (&"z".into(), &Omitted::Socket)]);
    let strict = TarOptions { strict: true, ..TarOptions::default() };
    let mut written = Vec::new();
    let error = write_tar(&fs, &mut written, &strict).unwrap_err();
    assert!(matches!(&error, Error::Incomplete(incomplete) if incomplete.omissions.total == 2), "{error}");
    assert!(written.is_empty(), "nothing is written");
    let paths: Vec<_> = describe(&Root::of_tars(&[tar]).fs).into_keys().collect();
    assert_eq!(paths, [&b""[..], b"a", b"run"]);

    let target = tempfile::tempdir().unwrap();
    export_directory(&fs, target.path(), &DirectoryOptions::default()).unwrap();
    assert!(look_at(&target.path().join("run/socket")).file_type().is_socket());
}
