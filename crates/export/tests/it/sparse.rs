//! Files with holes in a tar: in full by default, and in GNU's sparse format as an option.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use vmroot_container_fs::ContainerFs;
use vmroot_export::{TarOptions, write_tar};
use vmroot_test_roots::{Root, describe, expected, look_at};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::skip;

use crate::tar::extract_with_gnu_tar;

const MEGABYTE: u64 = 1 << 20;

fn export_plain(fs: &ContainerFs) -> Vec<u8> {
    export(fs, &TarOptions::default())
}

fn export_sparse(fs: &ContainerFs) -> Vec<u8> {
    export(fs, &TarOptions { sparse: true, ..TarOptions::default() })
}

fn export(fs: &ContainerFs, options: &TarOptions<'_>) -> Vec<u8> {
    let mut tar = Vec::new();
    write_tar(fs, &mut tar, options).unwrap();
    tar
}

/// Returns a layer with holes at the start, in the middle and at the end of files, written zeros, sizes that are not a
/// multiple of a block, and names that do and do not fit in a ustar header.
fn holes() -> Layer {
    let data = |byte, length| vec![byte; length];
    let long = "n".repeat(200);
    Layer::new([
        Entry::sparse_file("dir/both", 20 * MEGABYTE, vec![(5, data(1, 10)), (19 * MEGABYTE, data(2, 5000))]),
        Entry::sparse_file("dir/end", 3 * MEGABYTE, vec![(2 * MEGABYTE, data(3, MEGABYTE as usize))]),
        Entry::sparse_file("dir/nothing", 7 * MEGABYTE, vec![]),
        Entry::sparse_file("dir/small", MEGABYTE - 1, vec![(9, data(4, 1))]),
        // Like `/var/log/lastlog` and disk images: zeros, then a few bytes.
        Entry::sparse_file("tail", 2 * MEGABYTE + 4, vec![(2 * MEGABYTE, b"tail".to_vec())]),
        Entry::sparse_file(format!("{long}/tail"), 2 * MEGABYTE + 4, vec![(2 * MEGABYTE, b"tail".to_vec())]),
        Entry::file("dir/zeros", data(0, 2 << 20)),
    ])
}

/// Extracts a tar with a program.
fn extract(tar: &Path, program: &[&str], directory: &Path) {
    fs::create_dir(directory).unwrap();
    let output = Command::new(program[0]).args(&program[1..]).arg(tar).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Returns paths, sizes and digests of the regular files below a directory.
fn files(listing: &Listing) -> Vec<String> {
    let rows = listing.rows.iter().filter_map(|(path, row)| Some((path, row.size?, row.sha256.as_ref()?)));
    rows.map(|(path, size, digest)| format!("{} {size} {digest}", path.escape_ascii())).collect()
}

const PYTHON: &str = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall('.')";

/// Commands that extract tars: GNU tar, libarchive, busybox, which supports neither PAX records nor sparse files, and
/// Python.
const READERS: [&[&str]; 4] =
    [&["tar", "-xf"], &["bsdtar", "-xf"], &["busybox", "tar", "-xf"], &["python3", "-c", PYTHON]];

#[test]
fn plain_tar_is_read_by_all_programs() {
    let layers = [holes()];
    let root = Root::of(&layers);
    let tar = export_plain(&root.fs);
    let stored: u64 = root.fs.inodes().filter_map(|ino| root.fs.extent(ino)).map(|extent| extent.length).sum();
    assert!(tar.len() as u64 > stored, "{} bytes of {stored}", tar.len());
    assert_eq!(describe(&Root::of_tars(std::slice::from_ref(&tar)).fs), describe(&root.fs));

    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("root.tar");
    fs::write(&file, &tar).unwrap();
    for program in READERS {
        if skip::needs_program(program[0]) {
            continue;
        }
        let directory = scratch.path().join(program[0]);
        extract(&file, program, &directory);
        let mut wanted = expected(&layers);
        if program[0] == "busybox" {
            // Busybox truncates a path in a PAX record and creates the file under the shortened path.
            wanted.rows.retain(|path, _| path.len() < 100);
        }
        let mut found = files(&Listing::of_directory(&directory).unwrap());
        found.retain(|line| program[0] != "busybox" || !line.starts_with("nnn"));
        assert_eq!(found, files(&wanted), "{program:?}");
    }
}

#[test]
fn sparse_tar_is_read_or_extracted_under_other_names() {
    let layers = [holes()];
    let root = Root::of(&layers);
    let tar = export_sparse(&root.fs);
    assert!(tar.len() < 3 << 20, "{} bytes", tar.len());
    assert_eq!(describe(&Root::of_tars(std::slice::from_ref(&tar)).fs), describe(&root.fs));

    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("root.tar");
    fs::write(&file, &tar).unwrap();
    let wanted = files(&expected(&layers));
    for program in READERS {
        if skip::needs_program(program[0]) {
            continue;
        }
        let directory = scratch.path().join(program[0]);
        extract(&file, program, &directory);
        let found = files(&Listing::of_directory(&directory).unwrap());
        if program[0] == "busybox" {
            // Only files that were stored in full have their real names.
            let real = found.iter().filter(|line| !line.contains("GNUSparseFile.0/") && !line.starts_with("nnn"));
            assert!(real.clone().all(|line| wanted.contains(line)), "{found:#?}");
            assert_eq!(real.count(), 1, "{found:#?}");
            for apart in ["GNUSparseFile.0/tail ", "dir/GNUSparseFile.0/both "] {
                assert!(found.iter().any(|line| line.starts_with(apart)), "{found:#?}");
            }
        } else {
            assert_eq!(found, wanted, "{program:?}");
        }
    }
}

#[test]
fn gnu_tar_restores_holes() {
    if skip::needs_root() || skip::needs_program("tar") {
        return;
    }
    let layers = [holes()];
    let tar = export_sparse(&Root::of(&layers).fs);
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("root");
    fs::create_dir(&directory).unwrap();
    extract_with_gnu_tar(&tar, &directory);
    assert!(look_at(&directory.join("dir/both")).blocks() * 512 < MEGABYTE);
    expected(&layers).assert_same(&Listing::of_directory(&directory).unwrap());
}

#[test]
fn sparse_map_has_a_size_limit() {
    let runs = (0..20_000).map(|number| (number * 8192, vec![1; 10])).collect();
    let root = Root::in_memory(&[Layer::new([Entry::sparse_file("comb", 20_000 * 8192 + 4096, runs)])]);
    let tar = export_sparse(&root.fs);
    // Pages and holes of a page alternate. There are too many holes to list, so they are written.
    assert!(tar.len() > 20_000 * 8192, "{} bytes", tar.len());
    assert_eq!(describe(&Root::of_tars(&[tar]).fs), describe(&root.fs));

    let runs = (0..20_000).map(|number| (number * 8192 + number / 1000 * 4_000_000, vec![1; 10])).collect();
    let root = Root::in_memory(&[Layer::new([Entry::sparse_file("combs", 20_000 * 8192 + 80_000_000, runs)])]);
    let tar = export_sparse(&root.fs);
    assert!(tar.len() < 20_000 * 8192 + 8_000_000, "{} bytes", tar.len());
    assert_eq!(describe(&Root::of_tars(&[tar]).fs), describe(&root.fs));
}
