//! The integers of a journal, which are big-endian.

use zerocopy::FromBytes;
use zerocopy::big_endian::{U16, U32, U64};

/// Returns a number of 16 bits at an offset that lies within the bytes.
pub(super) fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    U16::read_from_prefix(&bytes[offset..]).expect("the caller has checked the offset").0.get()
}

/// Returns a number of 32 bits at an offset that lies within the bytes.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    U32::read_from_prefix(&bytes[offset..]).expect("the caller has checked the offset").0.get()
}

/// Returns a number of 64 bits at an offset that lies within the bytes.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    U64::read_from_prefix(&bytes[offset..]).expect("the caller has checked the offset").0.get()
}
