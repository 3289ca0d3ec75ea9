//! Building a layer of a million entries in bounded memory.

use std::fs;
use std::io::{self, BufReader, Read};
use std::process::Command;

use vmroot_layer_index::{BuildOptions, Index, build};
use vmroot_testkit::tar_builder::{Header, Magic, typeflag};

const ENTRIES: u32 = 1_000_000;
/// The limit in bytes for a whole pull, of which building is a part.
const MEMORY: u64 = 200 << 20;
/// The environment variable that is set in the measured process.
const CHILD: &str = "VMROOT_TEST_MILLION";

/// A tar of a million files in a thousand directories, generated while it is read. Every tenth file has one byte.
struct Entries {
    next: u32,
    block: Vec<u8>,
}

impl Read for Entries {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.block.is_empty() {
            if self.next == ENTRIES {
                return Ok(0);
            }
            let size = u64::from(self.next.is_multiple_of(10));
            let name = format!("directory-{:03}/file-{:07}", self.next % 1000, self.next);
            let header = Header::new(Magic::Ustar, typeflag::FILE).name(name.as_bytes()).size(size);
            self.block = header.to_block().to_vec();
            self.block.resize(512 * (1 + size as usize), 0);
            self.next += 1;
        }
        let count = buffer.len().min(self.block.len());
        buffer[..count].copy_from_slice(&self.block[..count]);
        self.block.drain(..count);
        Ok(count)
    }
}

/// Returns the peak memory of this process in bytes.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Runs in a process of its own, since peak memory is measured for a whole process.
#[test]
fn a_million_entries_in_bounded_memory() {
    if std::env::var_os(CHILD).is_none() {
        let name = "million::a_million_entries_in_bounded_memory";
        let child = Command::new(std::env::current_exe().unwrap()).args(["--exact", name]).env(CHILD, "1").output();
        let child = child.unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let tar = BufReader::with_capacity(1 << 20, Entries { next: 0, block: Vec::new() });
    let built = build(tar, directory.path(), &BuildOptions::default()).unwrap();
    let memory = peak_memory();
    assert!(memory < MEMORY, "{} MiB", memory >> 20);
    let index = Index::open(&built.publish().unwrap()).unwrap();
    assert_eq!(index.inode_count(), 1 + 1000 + ENTRIES);
    assert_eq!(index.child_count(index.inode_id(1).unwrap()), 1000);
}
