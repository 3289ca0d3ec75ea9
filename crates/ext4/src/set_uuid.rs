//! Changes the UUID of a file system.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::format::incompatible;
use crate::grow::read_shape_of;
use crate::shape::{SUPERBLOCK_OFFSET, Sums};
use crate::{Error, GrowthRefusal, Result};

/// Gives the file system of a file another UUID.
///
/// Only superblocks are written. Checksums of all other metadata begin with the old UUID, so its seed is kept in the
/// superblock (`metadata_csum_seed`), which Linux 4.4 and e2fsprogs 1.43 and later support. The file system must not be
/// mounted.
///
/// # Errors
/// - [`Error::NotExt4`]: there is no ext4 file system, or its superblock is damaged.
/// - [`Error::Growth`]: its journal must be replayed first, or its checksums are of an older kind (`uninit_bg`), for
///   which all descriptors would have to be written.
/// - [`Error::Read`], [`Error::Write`]: the file cannot be read or written.
pub fn set_uuid(file: &File, uuid: [u8; 16]) -> Result<()> {
    let mut shape = read_shape_of(file)?;
    if shape.record.incompatible & incompatible::RECOVER != 0 {
        return Err(GrowthRefusal::Dirty.into());
    }
    match shape.sums {
        Sums::None => {}
        Sums::Crc16(_) => return Err(GrowthRefusal::Features("uninit_bg".to_owned()).into()),
        Sums::Crc32c(seed) => {
            shape.record.checksum_seed = seed.value().into();
            shape.record.incompatible = (shape.record.incompatible.get() | incompatible::CSUM_SEED).into();
        }
    }
    shape.record.uuid = uuid;
    let write = |bytes: &[u8], offset| file.write_all_at(bytes, offset).map_err(Error::Write);
    for group in shape.superblock_groups(shape.groups()).into_iter().skip(1) {
        write(&shape.superblock(group), shape.group_start(group) * shape.block())?;
    }
    write(&shape.superblock(0), SUPERBLOCK_OFFSET)?;
    file.sync_data().map_err(Error::Write)
}
