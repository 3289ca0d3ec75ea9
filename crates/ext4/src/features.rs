//! Names of the features of a superblock, as dumpe2fs(8) prints them.

use std::borrow::Cow;

const COMPAT: [(u32, &str); 13] = [
    (0x1, "dir_prealloc"),
    (0x2, "imagic_inodes"),
    (0x4, "has_journal"),
    (0x8, "ext_attr"),
    (0x10, "resize_inode"),
    (0x20, "dir_index"),
    (0x40, "lazy_bg"),
    (0x80, "snapshot_bitmap"),
    (0x100, "exclude_bitmap"),
    (0x200, "sparse_super2"),
    (0x400, "fast_commit"),
    (0x800, "stable_inodes"),
    (0x1000, "orphan_file"),
];
const INCOMPAT: [(u32, &str); 16] = [
    (0x1, "compression"),
    (0x2, "filetype"),
    (0x4, "needs_recovery"),
    (0x8, "journal_dev"),
    (0x10, "meta_bg"),
    (0x40, "extent"),
    (0x80, "64bit"),
    (0x100, "mmp"),
    (0x200, "flex_bg"),
    (0x400, "ea_inode"),
    (0x1000, "dirdata"),
    (0x2000, "metadata_csum_seed"),
    (0x4000, "large_dir"),
    (0x8000, "inline_data"),
    (0x1_0000, "encrypt"),
    (0x2_0000, "casefold"),
];
const RO_COMPAT: [(u32, &str); 17] = [
    (0x1, "sparse_super"),
    (0x2, "large_file"),
    (0x4, "btree_dir"),
    (0x8, "huge_file"),
    (0x10, "uninit_bg"),
    (0x20, "dir_nlink"),
    (0x40, "extra_isize"),
    (0x80, "snapshot"),
    (0x100, "quota"),
    (0x200, "bigalloc"),
    (0x400, "metadata_csum"),
    (0x800, "replica"),
    (0x1000, "read-only"),
    (0x2000, "project"),
    (0x4000, "shared_blocks"),
    (0x8000, "verity"),
    (0x1_0000, "orphan_present"),
];

/// Returns the names of the bits of a set: `compat`, `incompat` or `ro_compat`. An unknown bit has a name such as
/// `incompat_0x80000`.
pub(super) fn names(set: &'static str, bits: u32) -> Vec<Cow<'static, str>> {
    let known: &[(u32, &'static str)] = match set {
        "compat" => &COMPAT,
        "incompat" => &INCOMPAT,
        _ => &RO_COMPAT,
    };
    let bits = (0..u32::BITS).map(|bit| 1 << bit).filter(|bit| bits & bit != 0);
    let name = |bit: u32| match known.iter().find(|(known, _)| *known == bit) {
        Some((_, name)) => Cow::Borrowed(*name),
        None => Cow::Owned(format!("{set}_{bit:#x}")),
    };
    bits.map(name).collect()
}
