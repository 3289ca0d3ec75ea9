//! Superblocks are read as they are written, and hostile ones are errors.

use proptest::prelude::*;
use vmroot_verity::{Error, Parameters, SUPERBLOCK, Superblock, Uuid};

fn superblock() -> Superblock {
    Superblock { uuid: Uuid([7; 16]), parameters: Parameters::default(), data_blocks: 9 }
}

#[test]
fn a_superblock_is_read_as_it_was_written() {
    let bytes = superblock().to_bytes();
    assert_eq!(Superblock::parse(&bytes, 0).unwrap(), superblock());
    assert_eq!(superblock().uuid.to_string(), "07070707-0707-0707-0707-070707070707");
}

#[test]
fn fields_out_of_range_are_errors() {
    let with = |at: usize, value: &[u8]| {
        let mut bytes = superblock().to_bytes();
        bytes[at..at + value.len()].copy_from_slice(value);
        Superblock::parse(&bytes, 512).unwrap_err().to_string()
    };
    assert_eq!(with(0, b"V"), "no superblock of dm-verity at byte 512");
    assert_eq!(with(8, &[2]), "a superblock of dm-verity with version 2");
    assert_eq!(with(12, &[2]), "a superblock of dm-verity with hash type 2");
    assert_eq!(with(32, b"crc32\0"), "a superblock of dm-verity with hash algorithm crc32");
    assert_eq!(with(64, &[1]), "blocks of 4097 bytes: the size is a power of two from 512 to 524288");
    assert_eq!(with(68, &[0; 4]), "blocks of 0 bytes: the size is a power of two from 512 to 524288");
    assert_eq!(with(72, &[0; 8]), "a superblock of dm-verity with number of blocks 0");
    assert_eq!(with(72, &[255; 8]), format!("a superblock of dm-verity with number of blocks {}", u64::MAX));
    assert_eq!(with(80, &[1, 1]), "a salt of 257 bytes: the limit is 256");
}

#[test]
fn a_file_without_a_superblock_is_named() {
    let file = tempfile::tempfile().unwrap();
    assert!(matches!(Superblock::read(&file, 0), Err(Error::NoSuperblock { offset: 0 })));
    file.set_len(4096).unwrap();
    assert!(matches!(Superblock::read(&file, 512), Err(Error::NoSuperblock { offset: 512 })));
    assert!(matches!(Superblock::read(&file, 100), Err(Error::Offset { offset: 100 })));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), SUPERBLOCK), valid in 0..SUPERBLOCK) {
        bytes[..valid].copy_from_slice(&superblock().to_bytes()[..valid]);
        let bytes: [u8; SUPERBLOCK] = bytes.try_into().unwrap();
        if let Ok(read) = Superblock::parse(&bytes, 0) {
            prop_assert_eq!(Superblock::parse(&read.to_bytes(), 0).unwrap(), read);
        }
    }
}
