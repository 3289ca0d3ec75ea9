//! POSIX access control lists, in the format of xattrs and in that of ext4 on disk.
//!
//! Xattrs have entries of eight bytes (`posix_acl_xattr_entry` in the kernel's `posix_acl_xattr.h`). In ext4, entries
//! without an id are shorter (`ext4_acl_entry_short` in `fs/ext4/acl.h`).

const TAG_USER: u16 = 0x02;
const TAG_GROUP: u16 = 0x08;
/// The tags of entries without an id: the owner, the owning group, the mask, and others.
const TAGS_WITHOUT_ID: [u16; 4] = [0x01, 0x04, 0x10, 0x20];

/// The id of entries without an id, in an xattr (`ACL_UNDEFINED_ID`).
const NO_ID: [u8; 4] = [0xff; 4];

const VERSION_IN_XATTR: u32 = 2;
const VERSION_ON_DISK: u32 = 1;

/// Converts a list from the format of an xattr to that of ext4 on disk.
///
/// Returns `None` if `value` is not a valid list.
pub fn to_disk(value: &[u8]) -> Option<Vec<u8>> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION_IN_XATTR || entries.is_empty() || entries.len() % 8 != 0 {
        return None;
    }
    let mut disk = VERSION_ON_DISK.to_le_bytes().to_vec();
    for entry in entries.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        if tag == TAG_USER || tag == TAG_GROUP {
            disk.extend_from_slice(entry);
        } else if TAGS_WITHOUT_ID.contains(&tag) {
            disk.extend_from_slice(&entry[..4]);
        } else {
            return None;
        }
    }
    Some(disk)
}

/// Converts a list from the format of ext4 on disk to that of an xattr.
///
/// Returns `None` if `disk` is not a valid list.
pub fn from_disk(disk: &[u8]) -> Option<Vec<u8>> {
    let (version, mut entries) = disk.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION_ON_DISK || entries.is_empty() {
        return None;
    }
    let mut value = VERSION_IN_XATTR.to_le_bytes().to_vec();
    while !entries.is_empty() {
        let (start, rest) = entries.split_first_chunk::<4>()?;
        value.extend_from_slice(start);
        let tag = u16::from_le_bytes([start[0], start[1]]);
        entries = if tag == TAG_USER || tag == TAG_GROUP {
            let (id, rest) = rest.split_first_chunk::<4>()?;
            value.extend_from_slice(id);
            rest
        } else if TAGS_WITHOUT_ID.contains(&tag) {
            value.extend_from_slice(&NO_ID);
            rest
        } else {
            return None;
        };
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_without_an_id_are_shortened() {
        let list = [
            &[2, 0, 0, 0][..],
            &[1, 0, 6, 0, 255, 255, 255, 255],
            &[2, 0, 4, 0, 0xe8, 3, 0, 0],
            &[4, 0, 4, 0, 255, 255, 255, 255],
            &[16, 0, 4, 0, 255, 255, 255, 255],
            &[32, 0, 0, 0, 255, 255, 255, 255],
        ];
        let disk = [
            &[1, 0, 0, 0][..],
            &[1, 0, 6, 0],
            &[2, 0, 4, 0, 0xe8, 3, 0, 0],
            &[4, 0, 4, 0],
            &[16, 0, 4, 0],
            &[32, 0, 0, 0],
        ];
        assert_eq!(to_disk(&list.concat()), Some(disk.concat()));
        assert_eq!(from_disk(&disk.concat()), Some(list.concat()));
    }

    #[test]
    fn invalid_lists_on_disk_give_none() {
        for disk in
            [&[][..], &[1, 0, 0, 0], &[2, 0, 0, 0, 1, 0, 6, 0], &[1, 0, 0, 0, 2, 0, 6, 0], &[1, 0, 0, 0, 3, 0, 6, 0]]
        {
            assert_eq!(from_disk(disk), None);
        }
    }

    #[test]
    fn invalid_lists_give_none() {
        let entry = [1, 0, 6, 0, 255, 255, 255, 255];
        let version = |version: u8| [version, 0, 0, 0];
        for value in [
            &[][..],
            &[2, 0],
            &version(2),
            &[&version(1)[..], &entry].concat(),
            &[&version(2)[..], &entry[..7]].concat(),
        ] {
            assert_eq!(to_disk(value), None);
        }
        assert_eq!(to_disk(&[&version(2)[..], &[3, 0, 6, 0, 0, 0, 0, 0]].concat()), None);
    }
}
