//! An empty journal (jbd2; kernel documentation, "Journal (jbd2)"). Its integers are big-endian.

use super::format::{BLOCK, GROUP};

/// Returns the number of blocks of the journal for a file system of `blocks` blocks, as mke2fs chooses it. The kernel
/// rejects journals of fewer than 1024 blocks.
pub(super) fn blocks_for(blocks: u64) -> u64 {
    const MEBI: u64 = 1 << 20;
    match blocks {
        ..GROUP => 1024,
        GROUP..262_144 => 4096,
        262_144..524_288 => 8192,
        524_288..4_194_304 => 16_384,
        4_194_304..8_388_608 => 32_768,
        8_388_608..16_777_216 => 65_536,
        16_777_216..33_554_432 => 131_072,
        _ => MEBI / 4,
    }
}

/// Returns the first block of an empty journal of `blocks` blocks.
pub(super) fn superblock(blocks: u64, uuid: &[u8; 16]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    // Magic, type (superblock, version 2), sequence; then block size, length, first block of the log, first sequence,
    // start of the log (none), and an error number.
    let fields = [0xc03b_3998, 4, 0, BLOCK as u32, blocks as u32, 1, 1, 0, 0];
    for (place, field) in block.chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&u32::to_be_bytes(field));
    }
    block[48..64].copy_from_slice(uuid);
    // Number of file systems that use the journal.
    block[64..68].copy_from_slice(&1_u32.to_be_bytes());
    block
}
