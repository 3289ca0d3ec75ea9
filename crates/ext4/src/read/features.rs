//! The features of a superblock that matter to a reader (kernel documentation, "Super Block").

/// `s_feature_incompat`.
pub(crate) mod incompatible {
    pub(crate) const COMPRESSION: u32 = 0x1;
    pub(crate) const RECOVER: u32 = 0x4;
    pub(crate) const JOURNAL_DEVICE: u32 = 0x8;
    pub(crate) const META_BG: u32 = 0x10;
    pub(crate) const BITS_64: u32 = 0x80;
    pub(crate) const DIRDATA: u32 = 0x1000;
    pub(crate) const CHECKSUM_SEED: u32 = 0x2000;
    pub(crate) const LARGE_DIRECTORY: u32 = 0x4000;

    /// The features that are read: filetype, recover, meta_bg, extents, 64bit, mmp, flex_bg, ea_inode, csum_seed,
    /// large_dir, inline_data, encrypt (its inodes are refused one by one) and casefold.
    pub(crate) const READ: u32 = 0x2
        | RECOVER
        | META_BG
        | 0x40
        | BITS_64
        | 0x100
        | 0x200
        | 0x400
        | CHECKSUM_SEED
        | LARGE_DIRECTORY
        | 0x8000
        | 0x1_0000
        | 0x2_0000;
}

/// `s_feature_compat` and `s_feature_ro_compat`.
pub(crate) mod read_only {
    /// Compatible: there is a journal.
    pub(crate) const HAS_JOURNAL: u32 = 0x4;
    /// Compatible: only two groups have copies of the superblock, which the superblock names.
    pub(crate) const SPARSE_SUPER2: u32 = 0x200;
    /// Compatible for readers: few groups have copies of the superblock.
    pub(crate) const SPARSE_SUPER: u32 = 0x1;
    /// Compatible for readers: bits of the block bitmap stand for clusters of blocks.
    pub(crate) const BIGALLOC: u32 = 0x200;
    /// Compatible for readers: metadata have checksums.
    pub(crate) const METADATA_CSUM: u32 = 0x400;
    /// Compatible for readers: the orphan file may list inodes.
    pub(crate) const ORPHAN_PRESENT: u32 = 0x1_0000;
}

/// `i_flags`.
pub(crate) mod inode_flags {
    pub(crate) const ENCRYPT: u32 = 0x800;
    pub(crate) const INDEX: u32 = 0x1000;
    pub(crate) const EXTENTS: u32 = 0x8_0000;
    pub(crate) const EA_INODE: u32 = 0x20_0000;
    pub(crate) const INLINE_DATA: u32 = 0x1000_0000;
}
