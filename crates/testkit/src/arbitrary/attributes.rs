//! Strategies for modes, owners, times and xattrs, including unusual ones.

use proptest::prelude::*;
use proptest::sample::select;

use crate::layer::{Attributes, Mtime};

/// Generates attributes. `user.*` xattrs are only possible for regular files and directories.
pub(super) fn attributes(may_have_user_xattrs: bool) -> impl Strategy<Value = Attributes> {
    (mode(), owner(), owner(), mtime(), xattrs(may_have_user_xattrs))
        .prop_map(|(mode, uid, gid, mtime, xattrs)| Attributes { mode, uid, gid, mtime, xattrs })
}

fn mode() -> impl Strategy<Value = u32> {
    select(vec![0o644, 0o755, 0o600, 0, 0o777, 0o1777, 0o4755, 0o2755, 0o6711, 0o500])
}

fn owner() -> impl Strategy<Value = u32> {
    // Values around the limits of 16 bits and of seven octal digits, and the maximum: -1 means "unchanged" to chown(2).
    select(vec![0, 0, 0, 1, 1000, 65_534, 65_535, 65_536, 2_097_151, 2_097_152, u32::MAX - 1])
}

fn mtime() -> impl Strategy<Value = Mtime> {
    // Within the range of ext4 (whose first second has no nanoseconds), and beyond eleven octal digits.
    let seconds = select(vec![0, 1, 1_700_000_000, -1, -2, -86_400, i64::from(i32::MIN) + 1, 1 << 31, 1 << 33]);
    let nanoseconds = select(vec![0, 0, 1, 500_000_000, 999_999_999, 123_456_789, 120_000_000]);
    (seconds, nanoseconds).prop_map(|(seconds, nanoseconds)| Mtime { seconds, nanoseconds })
}

fn xattrs(user: bool) -> impl Strategy<Value = std::collections::BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names: Vec<&[u8]> = vec![b"trusted.t", b"trusted.\xc3\xbc", b"security.testkit"];
    if user {
        names.extend([&b"user.a"[..], b"user.b.c", b"user.% \n"]);
    }
    let values: Vec<Vec<u8>> =
        vec![b"".to_vec(), b"text".to_vec(), b"\0".to_vec(), b"a=b\n\0\xff=\n".to_vec(), vec![7; 200]];
    let pairs = (select(names), select(values)).prop_map(|(name, value)| (name.to_vec(), value));
    prop_oneof![
        6 => Just(Vec::new()),
        3 => proptest::collection::vec(pairs, 1..=3),
    ]
    .prop_map(|pairs| pairs.into_iter().collect())
}
