//! A good layer for the fuzz targets, and changes to bytes that are good.
//!
//! A fuzzer that begins with nothing does not find a whole index or tar. So targets also take their input as changes.

use vmroot_testkit::layer::{Encoding, Entry, Layer};

/// The bytes of a change: an offset of four and the new byte.
const CHANGE: usize = 5;

/// Returns the tar of a layer that has an entry of each kind.
pub fn tar() -> Vec<u8> {
    let layer = Layer::new([
        Entry::directory("directory").xattr("user.name", "value"),
        Entry::file("directory/file", [7; 5000]).mode(0o4755).owner(1000, 70_000),
        Entry::file("directory/small", "text").mtime(-1, 5).xattr("security.capability", [1; 20]),
        Entry::sparse_file("sparse", 1 << 20, vec![(4096, vec![1; 512]), (65_536, vec![2; 512])]),
        Entry::hard_link("link", "directory/file"),
        Entry::symlink("symlink", "directory/file"),
        Entry::char_device("null", 1, 3),
        Entry::block_device("disk", 8, 0),
        Entry::fifo("fifo"),
        Entry::file("directory/".to_owned() + &"long".repeat(50), "name"),
        Entry::whiteout("gone"),
        Entry::opaque("directory"),
    ]);
    layer.to_tar(&Encoding::default())
}

/// Applies the changes of an input to good bytes.
pub fn change(good: &[u8], input: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for change in input.chunks_exact(CHANGE) {
        let offset = u32::from_le_bytes([change[0], change[1], change[2], change[3]]) as usize;
        let length = bytes.len();
        bytes[offset % length] = change[4];
    }
    bytes
}

/// Returns a SIF file with this root file system.
pub fn sif(root: &[u8]) -> Vec<u8> {
    const HEADER: usize = 128;
    const DESCRIPTOR: usize = 585;
    let mut bytes = vec![0; HEADER + DESCRIPTOR];
    let mut put = |offset: usize, field: &[u8]| bytes[offset..][..field.len()].copy_from_slice(field);
    put(32, b"SIF_MAGIC\0");
    put(42, b"01\0");
    put(45, b"02\0");
    // One descriptor, after the header.
    put(88, &1u64.to_le_bytes());
    put(96, &(HEADER as u64).to_le_bytes());
    // A partition that is in use, at its offset and with its size: a squashfs, which is the primary one.
    put(HEADER, &0x4004u32.to_le_bytes());
    put(HEADER + 4, &[1]);
    put(HEADER + 17, &((HEADER + DESCRIPTOR) as u64).to_le_bytes());
    put(HEADER + 25, &(root.len() as u64).to_le_bytes());
    put(HEADER + 201, &1u32.to_le_bytes());
    put(HEADER + 205, &2u32.to_le_bytes());
    bytes.extend_from_slice(root);
    bytes
}
