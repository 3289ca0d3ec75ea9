//! Images with compressed files.

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::process::Command;

use proptest::prelude::*;
use vmroot_erofs::{ErofsCompression, ErofsOptions, Error, write_erofs};
use vmroot_test_roots::Root;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::sample::noise;
use vmroot_testkit::{arbitrary, skip};

use super::fixture::{ABOVE_4_GIB, Mounted, above_4_gib, assert_above_4_gib, cannot_mount, listing, run};

const BOTH: [ErofsCompression; 2] = [ErofsCompression::LZ4, ErofsCompression::ZSTD];

fn image(root: &Root, compression: ErofsCompression, threads: usize) -> PathBuf {
    let path = root.files().join(format!("{compression:?}-{threads}"));
    let options =
        ErofsOptions { compression: Some(compression), threads: NonZeroUsize::new(threads), ..ErofsOptions::default() };
    let file = File::create(&path).unwrap();
    let report = write_erofs(&root.fs, &file, &options).unwrap();
    assert_eq!(report.bytes, file.metadata().unwrap().len());
    path
}

fn assert_same_as_model(root: &Root) {
    let expected = root.expected();
    for compression in BOTH {
        expected.assert_same(&listing(&image(root, compression, 2), &[]));
    }
}

/// Returns text that other algorithms compress to about a third.
fn text(seed: u64, length: usize) -> Vec<u8> {
    let noise = noise(seed, length / 3 + 8);
    let word =
        |byte: u8| format!("{:x}-{} ", u32::from(byte) * 37 % 1013, "lorem ipsum dolor".repeat(usize::from(byte % 4)));
    let mut text = Vec::with_capacity(length + 100);
    for byte in noise {
        text.extend_from_slice(word(byte).as_bytes());
        if text.len() >= length {
            break;
        }
    }
    text.resize(length, b'.');
    text
}

/// Returns text, noise, zeros, or a mixture of them.
fn contents(kind: u8, seed: u64, length: usize) -> Vec<u8> {
    match kind {
        0 => text(seed, length),
        1 => noise(seed, length),
        2 => vec![0; length],
        _ => {
            (0..length.div_ceil(20_000)).flat_map(|part| contents(part as u8 % 3, seed, 20_000)).take(length).collect()
        }
    }
}

#[test]
fn every_length_around_blocks() {
    if cannot_mount() {
        return;
    }
    let lengths =
        [1, 2, 100, 4095, 4096, 4097, 5000, 8191, 8192, 8193, 12_287, 12_288, 70_000, 131_072, 131_073, 400_001];
    let files = (0..4).flat_map(|kind| {
        lengths.map(|length| {
            let file = Entry::file(format!("{kind}/{length}"), contents(kind, length as u64, length));
            // Different xattrs move the start of the indexes.
            (0..length % 5).fold(file, |file, one| file.xattr(format!("user.{one}"), noise(3, one * 4 + length % 7)))
        })
    });
    assert_same_as_model(&Root::of_entries(files));
}

#[test]
fn more_than_one_segment() {
    if cannot_mount() {
        return;
    }
    let files = (0..4).flat_map(|kind| {
        [(2 << 20) - 1, 2 << 20, (2 << 20) + 1, (5 << 20) + 4097]
            .map(|length| Entry::file(format!("{kind}/{length}"), contents(kind, length as u64, length)))
    });
    assert_same_as_model(&Root::of_entries(files));
}

fn file() -> impl Strategy<Value = (u8, u64, usize)> {
    (0..4_u8, any::<u64>(), prop_oneof![1..5000_usize, 4000..200_000_usize])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_files(files in proptest::collection::vec(file(), 1..30), level in 1..10_u8, threads in 1..4_usize) {
        if !cannot_mount() {
            let entry = |(name, (kind, seed, length))| Entry::file(format!("{name}"), contents(kind, seed, length));
            let root = Root::of_entries((0..).zip(files).map(entry));
            let expected = root.expected();
            for compression in [ErofsCompression::Lz4 { level }, ErofsCompression::Zstd { level }] {
                expected.assert_same(&listing(&image(&root, compression, threads), &[]));
            }
        }
    }

    #[test]
    fn stacks_of_layers(layers in arbitrary::stack()) {
        if !cannot_mount() {
            assert_same_as_model(&Root::of(&layers));
        }
    }
}

/// C libraries skip directory entries with the inode number 0, which removed files have.
#[test]
fn the_root_directory_has_an_inode_number() {
    if cannot_mount() {
        return;
    }
    let root = Root::of_entries([Entry::directory("directory")]);
    for compression in BOTH {
        let mounted = Mounted::new(&image(&root, compression, 1), &[]);
        let number = |path: &str| fs::metadata(mounted.path().join(path)).unwrap().ino();
        assert_eq!(number("."), number("directory/.."));
        assert!(number(".") > 0 && number(".") != number("directory"));
    }
}

/// Reading pieces back to front starts decoding at arbitrary places.
#[test]
fn a_file_can_be_read_from_any_offset() {
    if cannot_mount() {
        return;
    }
    let bytes = contents(3, 5, 3 << 20);
    let root = Root::of_entries([Entry::file("file", bytes.clone())]);
    for compression in BOTH {
        let mounted = Mounted::new(&image(&root, compression, 2), &[]);
        let file = File::open(mounted.path().join("file")).unwrap();
        let mut piece = vec![0; 9000];
        for start in (0..bytes.len() - piece.len()).step_by(77_777).rev() {
            file.read_exact_at(&mut piece, start as u64).unwrap();
            assert!(piece == bytes[start..start + piece.len()]);
        }
    }
}

#[test]
fn a_sparse_file_above_4_gib() {
    if cannot_mount() {
        return;
    }
    let root = Root::of_entries([above_4_gib()]);
    for compression in BOTH {
        let image = image(&root, compression, 2);
        assert!(fs::metadata(&image).unwrap().len() < ABOVE_4_GIB / 100);
        assert_above_4_gib(&Mounted::new(&image, &[]));
    }
}

#[test]
fn incompressible_files_are_stored_as_they_are() {
    let entries =
        [100, 5000, 8192, 100_000, (5 << 20) + 77].map(|length| Entry::file(format!("{length}"), noise(1, length)));
    let root = Root::of_entries(entries);
    let plain = root.files().join("plain");
    write_erofs(&root.fs, &File::create(&plain).unwrap(), &ErofsOptions::default()).unwrap();
    let size = fs::metadata(plain).unwrap().len();
    for compression in BOTH {
        let image = image(&root, compression, 2);
        // The superblock has its own block.
        assert!((size..=size + 4096).contains(&fs::metadata(&image).unwrap().len()));
        if compression == ErofsCompression::LZ4 && !skip::needs_program("dump.erofs") {
            for length in [5000, 8192, 100_000, (5 << 20) + 77] {
                let text = run(Command::new("dump.erofs").arg(format!("--path=/{length}")).arg(&image));
                assert!(text.contains("Layout: 0") || text.contains("Layout: 2"), "{text}");
            }
        }
    }
}

#[test]
fn compressed_files_use_fewer_blocks() {
    if cannot_mount() {
        return;
    }
    let root = Root::of_entries([Entry::file("text", text(1, 1 << 20)), Entry::file("zeros", vec![0; 1 << 20])]);
    for compression in BOTH {
        let mounted = Mounted::new(&image(&root, compression, 2), &[]);
        let used = |name: &str| fs::metadata(mounted.path().join(name)).unwrap().blocks() * 512;
        assert!(used("text") < (1 << 20) / 2, "{} bytes", used("text"));
        assert!(used("zeros") <= 64 << 10, "{} bytes", used("zeros"));
    }
}

fn mixed() -> [Layer; 2] {
    let file = |number: u64| {
        let length = usize::try_from(number * 7919 % 60_000).unwrap();
        Entry::file(format!("dir{}/{number}", number % 13), contents(number as u8 % 4, number, length))
    };
    [
        Layer::new((0..300).map(file).chain([Entry::file("large", contents(3, 1, 9 << 20))])),
        Layer::new((300..400).map(|number| file(number).xattr("user.same", "value").owner(number as u32, 70_000))),
    ]
}

#[test]
fn bytes_do_not_depend_on_threads_or_paths() {
    let (one, other) = (Root::of(&mixed()), Root::of(&mixed()));
    for compression in BOTH {
        let bytes = fs::read(image(&one, compression, 1)).unwrap();
        assert!(bytes == fs::read(image(&one, compression, 2)).unwrap());
        assert!(bytes == fs::read(image(&one, compression, 5)).unwrap());
        assert!(bytes == fs::read(image(&other, compression, 3)).unwrap());
    }
}

#[test]
fn the_uuid_depends_on_the_options() {
    let root = Root::of_entries([Entry::file("file", text(1, 10_000))]);
    let uuid = |compression| fs::read(image(&root, compression, 1)).unwrap()[1024 + 48..][..16].to_vec();
    let lz4 = uuid(ErofsCompression::LZ4);
    assert_ne!(lz4, uuid(ErofsCompression::ZSTD));
    assert_ne!(lz4, uuid(ErofsCompression::Lz4 { level: 9 }));
    // Levels above the highest are clamped.
    assert_eq!(uuid(ErofsCompression::Lz4 { level: 9 }), uuid(ErofsCompression::Lz4 { level: 200 }));
}

/// fsck.erofs decodes all files with an implementation other than the kernel's.
#[test]
fn fsck_extracts_the_same_contents() {
    if skip::needs_program("fsck.erofs") || skip::needs_program("dump.erofs") {
        return;
    }
    let root = Root::of(&mixed());
    let image = image(&root, ErofsCompression::LZ4, 2);
    let out = root.files().join("out");
    run(Command::new("fsck.erofs").arg(format!("--extract={}", out.display())).arg(&image));
    for entry in root.fs.walk().filter(|entry| root.fs.extent(entry.ino).is_some()) {
        let path = out.join(std::str::from_utf8(&entry.path).unwrap());
        let mut bytes = vec![0; root.fs.stat(entry.ino).size as usize];
        root.fs.read_at(entry.ino, 0, &mut bytes).unwrap();
        assert!(fs::read(&path).unwrap() == bytes, "{}", path.display());
    }
    let features = run(Command::new("dump.erofs").arg("-s").arg(&image));
    assert!(features.contains("sb_csum mtime 0padding"), "{features}");
}

#[test]
fn images_are_at_most_5_percent_larger_than_those_of_mkfs() {
    if cannot_mount() || skip::needs_program("mkfs.erofs") {
        return;
    }
    let root =
        Root::of_entries((0..200).map(|number| Entry::file(format!("{number}"), text(number, number as usize * 999))));
    let ours = image(&root, ErofsCompression::LZ4, 2);
    let theirs = root.files().join("by-mkfs");
    let mounted = Mounted::new(&ours, &[]);
    run(Command::new("mkfs.erofs").arg("-zlz4hc").arg(&theirs).arg(mounted.path()));
    let size = |path| fs::metadata(path).unwrap().len();
    assert!(size(&ours) <= size(&theirs) * 105 / 100, "{} bytes, {} by mkfs.erofs", size(&ours), size(&theirs));
}

#[test]
fn the_hook_and_errors_end_the_export() {
    let root = Root::of(&mixed());
    for compression in BOTH {
        let options = ErofsOptions {
            compression: Some(compression),
            threads: NonZeroUsize::new(2),
            hook: Some(vmroot_output::Hook::new(&|_| ControlFlow::Break(()))),
            ..ErofsOptions::default()
        };
        let file = File::create(root.files().join("stopped")).unwrap();
        assert!(matches!(write_erofs(&root.fs, &file, &options), Err(Error::Cancelled)));
        let options = ErofsOptions { hook: None, ..options };
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert!(matches!(write_erofs(&root.fs, &full, &options), Err(Error::Write(_))));
    }
    let contents = root.fs.contents().next().unwrap().path.clone();
    fs::set_permissions(&contents, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    File::options().write(true).open(&contents).unwrap().set_len(1 << 20).unwrap();
    for compression in BOTH {
        let options = ErofsOptions { compression: Some(compression), ..ErofsOptions::default() };
        let file = File::create(root.files().join("broken")).unwrap();
        assert!(matches!(write_erofs(&root.fs, &file, &options), Err(Error::Root(_))));
    }
}
