//! The identity of an image: a function of what is in it.

use sha2::{Digest as _, Sha256};
use vmroot_container_fs::ContainerFs;
use vmroot_model::Digest;

/// A UUID of version 8 (RFC 9562, section 5.8): the first bits of SHA-256 over the form, the root's chain id and the
/// options that change the image.
pub(crate) fn uuid(form: &str, chain_id: &Digest, options: &str) -> [u8; 16] {
    let hash = Sha256::digest(format!("vmroot {form} {chain_id} {options}"));
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&hash[..16]);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// The latest time in a root, in seconds since 1970 as far as 32 bits say it: when an image of it was made, as seen
/// from the image.
pub(crate) fn latest_second(fs: &ContainerFs) -> u32 {
    let times = fs.inodes().map(|ino| fs.stat(ino).mtime.seconds);
    times.max().map_or(0, |seconds| seconds.clamp(0, u32::MAX.into()) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_shape_of_version_8_and_depends_on_everything() {
        let root = Digest::of(b"root");
        let one = uuid("erofs", &root, "");
        assert_eq!((one[6] >> 4, one[8] >> 6), (8, 2));
        assert_eq!(one, uuid("erofs", &root, ""));
        for other in [uuid("ext4", &root, ""), uuid("erofs", &Digest::of(b"x"), ""), uuid("erofs", &root, "lz4")] {
            assert_ne!(one, other);
        }
    }
}
