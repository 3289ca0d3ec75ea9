//! Operations for writing images of a root.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use vmroot_layer_index::InodeId;
use vmroot_model::Digest;

use crate::{ContainerFs, Extent};

impl ContainerFs {
    /// Returns all files that are not empty, in the order of their extents.
    pub fn files_in_order(&self) -> Vec<(InodeId, Extent)> {
        let mut files: Vec<_> = self.inodes().filter_map(|ino| Some((ino, self.extent(ino)?))).collect();
        files.sort_unstable_by_key(|(ino, extent)| (extent.file, extent.offset, *ino));
        files
    }

    /// Returns each inode with its first path in a walk.
    pub fn first_paths(&self) -> impl Iterator<Item = (InodeId, PathBuf)> {
        let first = self.walk().filter(|entry| entry.link_to.is_none());
        first.map(|entry| (entry.ino, PathBuf::from(OsStr::from_bytes(&entry.path))))
    }

    /// Returns the UUID of an image of this root: a UUID of version 8 (RFC 9562, section 5.8).
    ///
    /// It is made from the SHA-256 of the image's form, the chain id of the root, and the options that change the
    /// image.
    pub fn image_uuid(&self, form: &str, options: &str) -> [u8; 16] {
        uuid(form, self.chain_id(), options)
    }

    /// Returns the latest modification time in the root, in seconds since 1970, clamped to 32 bits.
    ///
    /// It serves as the creation time of images, so that they do not depend on the time of writing.
    pub fn latest_mtime(&self) -> u32 {
        let times = self.inodes().map(|ino| self.stat(ino).mtime.seconds);
        times.max().map_or(0, |seconds| seconds.clamp(0, u32::MAX.into()) as u32)
    }
}

fn uuid(form: &str, chain_id: &Digest, options: &str) -> [u8; 16] {
    let hash = Digest::of(format!("vmroot {form} {chain_id} {options}").as_bytes());
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&hash.as_bytes()[..16]);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_of_version_8_and_depends_on_all_inputs() {
        let root = Digest::of(b"root");
        let one = uuid("erofs", &root, "");
        assert_eq!((one[6] >> 4, one[8] >> 6), (8, 2));
        assert_eq!(one, uuid("erofs", &root, ""));
        for other in [uuid("ext4", &root, ""), uuid("erofs", &Digest::of(b"x"), ""), uuid("erofs", &root, "lz4")] {
            assert_ne!(one, other);
        }
    }
}
