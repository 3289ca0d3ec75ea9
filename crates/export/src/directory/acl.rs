//! Access control lists. Linux keeps a list and the mode consistent: setting one changes the other.

/// The xattr with the access control list of a file.
pub(super) const NAME: &[u8] = b"system.posix_acl_access";

/// `POSIX_ACL_XATTR_VERSION`, the first field of a list.
const VERSION: [u8; 4] = 2_u32.to_le_bytes();
/// `ACL_USER_OBJ`: the owner.
const OWNER: u16 = 0x01;
/// `ACL_GROUP_OBJ`: the owning group.
const GROUP: u16 = 0x04;
/// `ACL_MASK`: the most that named users and groups and the owning group may have.
const MASK: u16 = 0x10;
/// `ACL_OTHER`: everyone else.
const OTHER: u16 = 0x20;

/// Returns true if an inode can have both the list and the mode. A list that is equivalent to a mode is not stored at
/// all.
pub(super) fn is_consistent(list: &[u8], mode: u32) -> bool {
    let Some(entries) = list.strip_prefix(&VERSION) else { return false };
    // `struct posix_acl_xattr_entry`: tag, permissions, id.
    let permissions = |tag: u16| {
        let mut entries = entries.chunks_exact(8);
        let entry = entries.find(|entry| entry[..2] == tag.to_le_bytes())?;
        Some(u32::from(u16::from_le_bytes([entry[2], entry[3]])))
    };
    let is_extended = entries.len() > 3 * 8;
    let group = permissions(MASK).or_else(|| permissions(GROUP));
    let mode_bits = [mode >> 6 & 7, mode >> 3 & 7, mode & 7].map(Some);
    is_extended && [permissions(OWNER), group, permissions(OTHER)] == mode_bits
}
