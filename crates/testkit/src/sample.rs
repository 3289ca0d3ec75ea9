//! Two layers with a sample of everything that layers can hold.

use crate::layer::{Entry, Layer};

/// Returns a lower and an upper layer for formats that can store everything: all kinds of files; unusual owners, modes,
/// times, names and xattrs; a sparse file; files that end at block boundaries and between them; links across layers; a
/// whiteout and an opaque directory.
pub fn everything() -> [Layer; 2] {
    let lower = Layer::new([
        Entry::directory("bin").mode(0o1777).owner(1, 2).mtime(1_700_000_000, 123_456_789),
        Entry::file("bin/su", "#!/bin/sh\n").mode(0o4755).owner(70_000, 4_000_000_000).mtime(-2, 999_999_999),
        Entry::file("empty", "").mode(0),
        Entry::hard_link("second name", "bin/su"),
        Entry::symlink("to/nowhere", "../../../etc/passwd"),
        Entry::symlink("long link", "x".repeat(4095)),
        Entry::char_device("null", 1, 3),
        Entry::block_device("disk", 259, 0x12345),
        Entry::fifo("pipe").mode(0o600),
        Entry::file("caps", "x")
            .xattr("security.capability", [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        Entry::file("user", "x").xattr("user.empty", "").xattr("user.nul", b"a\0b").xattr("trusted.x", [0xff; 100]),
        Entry::directory("acl")
            .mode(0o750)
            .xattr("system.posix_acl_access", access_list(1000))
            .xattr("system.posix_acl_default", access_list(2000)),
        Entry::file(b"not \xff utf-8\tor\nlines", "x"),
        Entry::file("n".repeat(255), "x"),
        Entry::sparse_file("sparse", 5 << 20, vec![(1 << 20, vec![7; 5000]), (4 << 20, vec![8; 1])]),
        Entry::file("one block", noise(1, 4096)),
        Entry::file("a block and a tail", noise(2, 4097)),
        Entry::file("a byte short of two blocks", noise(3, 2 * 4096 - 1)),
        Entry::file("blocks", noise(4, 300_000)),
        Entry::file("gone", noise(5, 20_000)),
        Entry::file("hidden/below", "x"),
    ]);
    let upper = Layer::new([
        Entry::whiteout("gone"),
        Entry::opaque("hidden"),
        Entry::file("hidden/above", "y"),
        Entry::hard_link("third name", "bin/su"),
        Entry::file("upper blocks", noise(6, 70_001)),
    ]);
    [lower, upper]
}

/// Returns an access control list in the format of getxattr(2): all rights for the owner, read and execute for one user
/// and the group, none for others (acl(5), `linux/posix_acl_xattr.h`).
pub fn access_list(user: u32) -> Vec<u8> {
    const UNDEFINED: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 5] =
        [(0x01, 7, UNDEFINED), (0x02, 5, user), (0x04, 5, UNDEFINED), (0x10, 5, UNDEFINED), (0x20, 0, UNDEFINED)];
    let entry = |(tag, permissions, id): (u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    [2_u32.to_le_bytes().to_vec(), entries.into_iter().flat_map(entry).collect()].concat()
}

/// Returns incompressible bytes, which are the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    // xorshift64*, Vigna 2016.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    std::iter::from_fn(|| Some(next().to_le_bytes())).flatten().take(length).collect()
}
