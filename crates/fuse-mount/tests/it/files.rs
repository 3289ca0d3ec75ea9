//! File contents: read(2), mmap(2), execve(2).

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use vmroot_sys::Map;
use vmroot_testkit::layer::{Content, Entry};
use vmroot_testkit::skip;

use crate::fixture::{Fixture, cannot_mount, test_bytes};

#[test]
fn reads_of_every_size_and_offset() {
    if cannot_mount() {
        return;
    }
    let bytes = test_bytes(1, (3 << 20) + 77);
    let fixture = Fixture::new([Entry::file("small", "hello"), Entry::file("large", &bytes)]);
    let mount = fixture.mount();
    assert_eq!(fs::read(mount.mountpoint().join("small")).unwrap(), b"hello");
    let file = File::open(mount.mountpoint().join("large")).unwrap();
    for (offset, length) in
        [(0, 1), (4095, 2), (1 << 20, 1 << 20), ((3 << 20) - 5, 100), (3 << 20, 77), (12345, 2 << 20)]
    {
        let mut buffer = vec![0; length];
        let count = file.read_at(&mut buffer, offset as u64).unwrap();
        assert_eq!(count, length.min(bytes.len() - offset));
        assert_eq!(buffer[..count], bytes[offset..offset + count]);
    }
    assert_eq!(file.read_at(&mut [0; 10], bytes.len() as u64).unwrap(), 0);
    assert_eq!(file.read_at(&mut [0; 10], 1 << 40).unwrap(), 0);
    assert_eq!(fs::read(mount.mountpoint().join("large")).unwrap(), bytes);
}

#[test]
fn holes_are_zeros() {
    if cannot_mount() {
        return;
    }
    let runs = vec![(5000, test_bytes(2, 9000)), (1 << 21, vec![9])];
    let content = Content::sparse(3 << 21, runs.clone());
    let fixture = Fixture::new([Entry::sparse_file("sparse", 3 << 21, runs)]);
    let mount = fixture.mount();
    assert!(fs::read(mount.mountpoint().join("sparse")).unwrap() == content.expand());
}

#[test]
fn many_readers_at_once() {
    if cannot_mount() {
        return;
    }
    const FILES: u32 = 16;
    let content = |number: u32| test_bytes(number * 1000, 100_000 * number as usize);
    let fixture = Fixture::new((0..FILES).map(|number| Entry::file(format!("{number}"), content(number))));
    let mount = fixture.mount();
    thread::scope(|scope| {
        for reader in 0..8 {
            let mountpoint = mount.mountpoint();
            scope.spawn(move || {
                for number in (0..FILES).map(|number| (number + 2 * reader) % FILES) {
                    let mut bytes = Vec::new();
                    File::open(mountpoint.join(format!("{number}"))).unwrap().read_to_end(&mut bytes).unwrap();
                    assert!(bytes == content(number), "file {number}");
                }
            });
        }
    });
}

/// Returns the number of pages of a file that are in the page cache.
fn resident_pages(path: &Path) -> u64 {
    let output = Command::new("fincore").args(["--noheadings", "--output", "PAGES"]).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn reading_a_directory_prefetches_the_next_files() {
    if cannot_mount() || skip::needs_program("fincore") {
        return;
    }
    const FILES: u32 = 200;
    let content = |number: u32| test_bytes(number, 1000 + 37 * number as usize);
    let fixture = Fixture::new((0..FILES).map(|number| Entry::file(format!("{number:03}"), content(number))));
    let mount = fixture.mount();
    // The kernel only accepts pages of inodes that it knows, so the files are listed first.
    let paths: Vec<_> = fs::read_dir(mount.mountpoint()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(paths.iter().all(|path| path.is_file()));
    let read = |number: usize| assert!(fs::read(&paths[number]).unwrap() == content(number as u32), "file {number}");
    (0..3).for_each(read);
    let start = Instant::now();
    while resident_pages(&paths[5]) == 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing was sent");
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(resident_pages(&paths[FILES as usize - 1]), 0);
    (3..FILES as usize).for_each(read);
    (0..FILES as usize).rev().for_each(read);
}

#[test]
fn a_file_can_be_mapped() {
    if cannot_mount() {
        return;
    }
    let bytes = test_bytes(3, 5 << 20);
    let fixture = Fixture::new([Entry::file("file", &bytes)]);
    let mount = fixture.mount();
    let map = Map::open(&File::open(mount.mountpoint().join("file")).unwrap()).unwrap();
    // Backwards, so that readahead does not help.
    for page in (0..map.len()).step_by(4096).rev() {
        assert_eq!(map[page..page + 4096], bytes[page..page + 4096]);
    }
}

#[test]
fn programs_run_from_the_mount() {
    if cannot_mount() {
        return;
    }
    let program = fs::read("/bin/cat").unwrap();
    let fixture = Fixture::new([
        Entry::file("cat", &program).mode(0o755),
        Entry::file("script", "#!/bin/sh\necho run: $1\n").mode(0o755),
        Entry::file("no program", &program).mode(0o644),
    ]);
    let mount = fixture.mount();
    let script = Command::new(mount.mountpoint().join("script")).arg("x").output().unwrap();
    assert_eq!(script.stdout, b"run: x\n");
    let cat = Command::new(mount.mountpoint().join("cat")).arg(mount.mountpoint().join("script")).output().unwrap();
    assert_eq!(cat.stdout, fs::read(mount.mountpoint().join("script")).unwrap());
    assert!(Command::new(mount.mountpoint().join("no program")).output().is_err());
}
