//! Exporting to a cpio.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use vmroot_compress::{Compression, Decoder, EncoderOptions, Limits};
use vmroot_container_fs::{ContainerFs, Device};
use vmroot_export::{CpioOptions, CpioWriter, Error, export_cpio, write_cpio};
use vmroot_output::{Hook, LISTED_OMISSIONS, Report, WriteProgress};
use vmroot_test_roots::{Root, expected};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::{arbitrary, skip};

use crate::forged::{with_size, with_sockets};

fn export(fs: &ContainerFs) -> (Vec<u8>, Report) {
    let mut cpio = Vec::new();
    let report = write_cpio(fs, &mut cpio, &CpioOptions::default()).unwrap();
    assert_eq!(report.bytes, cpio.len() as u64);
    assert_eq!(cpio.len() % 4, 0);
    (cpio, report)
}

/// Extracts an archive with GNU cpio.
fn extract_with_gnu_cpio(cpio: &[u8]) -> Listing {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("cpio");
    command.args(["--extract", "--preserve-modification-time", "--quiet", "--no-absolute-filenames"]);
    let mut child = command.current_dir(directory.path()).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // GNU cpio closes the pipe at the trailer. Its output and exit status are checked below.
    let _ = child.stdin.take().unwrap().write_all(cpio);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    without_unrestored_times(Listing::of_directory(directory.path()).unwrap())
}

/// Clears the times that GNU cpio does not restore: those of directories, and of symbolic links.
fn without_unrestored_times(mut listing: Listing) -> Listing {
    listing.rows.values_mut().filter(|row| matches!(row.kind, 'd' | 'l')).for_each(|row| row.mtime = 0);
    listing
}

/// Removes the parts that a cpio cannot hold.
fn without_unsupported_parts(mut listing: Listing) -> Listing {
    for row in listing.rows.values_mut() {
        row.xattrs.clear();
        row.mtime = row.mtime.div_euclid(1_000_000_000).clamp(0, u32::MAX.into()) * 1_000_000_000;
        row.link = row.link.take().filter(|_| row.kind != 'l');
    }
    without_unrestored_times(listing)
}

#[test]
fn random_stacks() {
    if skip::needs_root() || skip::needs_program("cpio") {
        return;
    }
    let config = ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(layers in arbitrary::stack())| {
        let root = Root::in_memory(&layers);
        let (cpio, _) = export(&root.fs);
        let wanted = expected(&layers);
        without_unsupported_parts(wanted.clone()).assert_same(&extract_with_gnu_cpio(&cpio));
        prop_assert!(export(&root.fs).0 == cpio);
    });
}

#[test]
fn difficult_entries() {
    let layers = [Layer::new([
        Entry::file("TRAILER!!!", "not the end"),
        Entry::directory("dir/TRAILER!!!"),
        Entry::file("hard/a", "content"),
        Entry::hard_link("hard/b", "hard/a"),
        Entry::hard_link("c", "hard/a"),
        Entry::file("empty", ""),
        Entry::hard_link("no bytes either", "empty"),
        Entry::fifo("p"),
        Entry::hard_link("q", "p"),
        Entry::symlink("s", "x".repeat(4095)),
        Entry::char_device("dev/null", 1, 3).mode(0o666),
        Entry::block_device("dev/b", 4095, 1_048_575),
        Entry::file(b"\xff\n", "x").owner(u32::MAX - 1, 65_536).mode(0o6755),
        Entry::file(format!("{}/{}", "n".repeat(255), "m".repeat(255)), "odd length"),
    ])];
    let root = Root::of(&layers);
    let (cpio, _) = export(&root.fs);
    let occurs = |wanted: &[u8]| cpio.windows(wanted.len()).filter(|bytes| *bytes == wanted).count();
    // Three names share one copy of the bytes.
    assert_eq!(occurs(b"content"), 1);
    assert_eq!((occurs(b"\0\0./TRAILER!!!\0"), occurs(b"TRAILER!!!\0")), (0, 3));
    assert!(cpio.ends_with(b"00000000TRAILER!!!\0\0\0\0"));
    if skip::needs_root() || skip::needs_program("cpio") {
        return;
    }
    without_unsupported_parts(expected(&layers)).assert_same(&extract_with_gnu_cpio(&cpio));
}

#[test]
fn omissions_are_reported() {
    let many = (0..LISTED_OMISSIONS + 5).map(|number| Entry::file(format!("{number:04}"), "").xattr("user.x", "y"));
    let layer = Layer::new(many.chain([
        Entry::file("early", "").mtime(-1, 999_999_999),
        Entry::file("late", "").mtime(i64::from(u32::MAX) + 1, 0),
        Entry::file("latest", "").mtime(u32::MAX.into(), 0),
        Entry::file("between", "").mtime(5, 1),
        Entry::directory("./").mtime(6, 2),
    ]));
    let (cpio, report) = export(&Root::of(&[layer]).fs);
    let omissions = report.omissions;
    // The xattrs, and the times of `early` and `late`.
    assert_eq!((omissions.total, omissions.listed.len()), (LISTED_OMISSIONS as u64 + 7, LISTED_OMISSIONS));
    assert_eq!(omissions.listed[0].to_string(), "0000: xattr \"user.x\" (a cpio has none)");
    // The times of `.` and `between`.
    assert_eq!(omissions.cut_times, 2);
    assert!(cpio.starts_with(b"07070100000001000041ed0000000000000000000000020000000600000000"), "the root is first");
    if skip::needs_program("cpio") {
        return;
    }
    let listing = extract_with_gnu_cpio(&cpio);
    let time = |path: &[u8]| listing.rows[path].mtime / 1_000_000_000;
    assert_eq!((time(b"early"), time(b"late"), time(b"latest")), (0, u32::MAX.into(), u32::MAX.into()));
    assert_eq!(time(b"between"), 5);
}

#[test]
fn sockets_are_kept() {
    let root = Root::of(&[Layer::new([Entry::fifo("run/socket"), Entry::hard_link("z", "run/socket")])]);
    let index = root.files().join("sockets.idx");
    fs::write(&index, with_sockets(fs::read(root.files().join("root.idx")).unwrap())).unwrap();
    let (cpio, _) = export(&ContainerFs::open_files(&index, &|_| root.contents_of(0)).unwrap());
    if skip::needs_program("cpio") {
        return;
    }
    let listing = extract_with_gnu_cpio(&cpio);
    assert_eq!((listing.rows[&b"run/socket"[..]].kind, listing.rows[&b"z"[..]].kind), ('s', 's'));
}

#[test]
fn too_large_files_and_paths_are_rejected() {
    let limit = u64::from(u32::MAX);
    let root = Root::of(&[Layer::new([Entry::file("var/large", "x")])]);
    let large = |size| {
        let (bytes, length) = with_size(fs::read(root.files().join("root.idx")).unwrap(), size);
        let index = root.files().join("large.idx");
        fs::write(&index, bytes).unwrap();
        set_length(&root.contents_of(0), length);
        ContainerFs::open_files(&index, &|_| root.contents_of(0)).unwrap()
    };
    let report = write_cpio(&large(limit), &mut io::sink(), &CpioOptions::default()).unwrap();
    assert!(report.bytes > limit);

    let mut written = Vec::new();
    let error = write_cpio(&large(limit + 1), &mut written, &CpioOptions::default()).unwrap_err();
    assert_eq!(error.full_message(), "var/large: 4294967296 bytes; a cpio holds at most 4294967295");
    assert_eq!(written, b"");

    let deep = |last: &[String]| {
        let path = [&vec!["d".repeat(255); 15][..], last].concat().join("/");
        Root::of(&[Layer::new([Entry::file(path, "")])])
    };
    export(&deep(&["e".repeat(255)]).fs);
    let root = deep(&["e".to_owned(), "f".repeat(254)]);
    let error = write_cpio(&root.fs, &mut io::sink(), &CpioOptions::default()).unwrap_err().full_message();
    assert!(error.ends_with("f: 4096 bytes of path; a cpio holds at most 4095"), "{error}");
}

#[test]
fn compressed_cpio_suits_the_kernel() {
    let files = (0..50).map(|number| Entry::file(format!("file-{number}"), vec![number; 99_999]));
    let root = Root::of(&[Layer::new(files)]);
    let (plain, _) = export(&root.fs);
    for (compression, level) in [(Compression::Gzip, None), (Compression::Zstd, None), (Compression::Zstd, Some(22))] {
        for threads in [0, 2] {
            let options = EncoderOptions { compression, level, threads };
            let options = CpioOptions { compression: Some(options), ..CpioOptions::default() };
            let mut bytes = Vec::new();
            let report = write_cpio(&root.fs, &mut bytes, &options).unwrap();
            assert_eq!(report.bytes, bytes.len() as u64);
            let mut decoded = Vec::new();
            Decoder::new(&bytes[..], &Limits::default()).unwrap().read_to_end(&mut decoded).unwrap();
            assert!(decoded == plain);
            match compression {
                // Of the optional header fields, the kernel skips only the file name.
                Compression::Gzip => assert_eq!(bytes[..4], [0x1f, 0x8b, 8, 0]),
                _ => assert!(window(&bytes) <= 128 << 20, "the kernel's limit"),
            }
            // A single member or frame, because the kernel does not unpack an archive in several.
            let magic = &bytes[..if compression == Compression::Gzip { 3 } else { 4 }];
            assert_eq!(bytes.windows(magic.len()).filter(|window| *window == magic).count(), 1);
        }
    }
}

/// Returns the window size of a zstd frame in bytes (RFC 8878, section 3.1.1.1).
fn window(frame: &[u8]) -> u64 {
    const SINGLE_SEGMENT: u8 = 0x20;
    assert_eq!(frame[4] & SINGLE_SEGMENT, 0, "the window size is that of the stream, not of the contents");
    let (exponent, mantissa) = (frame[5] >> 3, u64::from(frame[5] & 7));
    let base = 1 << (10 + exponent);
    base + base / 8 * mantissa
}

#[test]
fn exported_file_has_the_written_bytes_or_does_not_appear() {
    let root = Root::of(&[Layer::new([Entry::file("a", vec![1; 5 << 20])])]);
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("root.cpio");
    let stop = |_: WriteProgress| ControlFlow::Break(());
    let stopped = export_cpio(&root.fs, &path, &CpioOptions { hook: Some(Hook::new(&stop)), ..CpioOptions::default() });
    assert!(matches!(stopped, Err(Error::Cancelled)));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    let (bytes, report) = export(&root.fs);
    assert_eq!(export_cpio(&root.fs, &path, &CpioOptions::default()).unwrap(), report);
    assert!(fs::read(&path).unwrap() == bytes);
}

#[test]
fn writer_makes_a_small_archive() {
    let mut bytes = Vec::new();
    let mut archive = CpioWriter::new(&mut bytes);
    archive.add_directory(b"dev", 0o755).unwrap();
    archive.add_device(b"dev/console", 0o020_600, Device { major: 5, minor: 1 }).unwrap();
    archive.add_file(b"init", 0o755, b"#!/bin/sh\n").unwrap();
    archive.add_symlink(b"linuxrc", b"init").unwrap();
    archive.finish().unwrap();
    let header = "07070100000003000081ed000000000000000000000001000000000000000a00000000000000000000000000000000\
                  0000000500000000init\0\0#!/bin/sh\n\0\x00070701";
    assert!(bytes.windows(header.len()).any(|bytes| bytes == header.as_bytes()), "{}", bytes.escape_ascii());
    if skip::needs_root() || skip::needs_program("cpio") {
        return;
    }
    let layers = [Layer::new([
        Entry::directory("dev").mode(0o755).mtime(0, 0),
        Entry::char_device("dev/console", 5, 1).mode(0o600).mtime(0, 0),
        Entry::file("init", "#!/bin/sh\n").mode(0o755).mtime(0, 0),
        Entry::symlink("linuxrc", "init").mode(0o777).mtime(0, 0),
    ])];
    expected(&layers).assert_same(&extract_with_gnu_cpio(&bytes));
}

#[test]
fn hook_cancels_the_export() {
    let root = Root::of(&[Layer::new([Entry::file("a", vec![1; 10 << 20])])]);
    let stop = |progress: WriteProgress| {
        assert_eq!(progress.total_bytes, 10 << 20);
        ControlFlow::Break(())
    };
    let stopped =
        write_cpio(&root.fs, &mut io::sink(), &CpioOptions { hook: Some(Hook::new(&stop)), ..CpioOptions::default() });
    assert!(matches!(stopped, Err(Error::Cancelled)));
}

/// Makes a published file writable and sets its length.
fn set_length(contents: &Path, length: u64) {
    fs::set_permissions(contents, PermissionsExt::from_mode(0o644)).unwrap();
    File::options().write(true).open(contents).unwrap().set_len(length).unwrap();
}

#[test]
fn damaged_contents_error_names_the_file() {
    let root = Root::of(&[Layer::new([Entry::file("a", vec![1; 10_000])])]);
    set_length(&root.contents_of(0), 4096);
    let error = write_cpio(&root.fs, &mut io::sink(), &CpioOptions::default()).unwrap_err().full_message();
    assert!(error.starts_with(&fs::canonicalize(root.contents_of(0)).unwrap().display().to_string()), "{error}");
}
