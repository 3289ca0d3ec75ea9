//! The description of a hash tree, for `--json` and `--config-out`.

use std::path::Path;

use serde::Serialize;
use vmroot::verity::{Formatted, RootHash, Superblock};

/// A hash tree, with everything that opens it by the device-mapper.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TreeRecord {
    /// The root hash, if it is known.
    pub(crate) root_hash: Option<String>,
    /// The file of the tree. `None` if the tree follows its image.
    file: Option<String>,
    /// The place of the superblock in bytes.
    hash_offset: u64,
    /// The number of the first hash block of the tree.
    hash_start: u64,
    algorithm: &'static str,
    hash_type: u32,
    data_block_size: u32,
    hash_block_size: u32,
    data_blocks: u64,
    /// The salt in hexadecimal digits, or `-`.
    salt: String,
    uuid: String,
}

impl TreeRecord {
    /// Describes a tree that was written to `file`, or after its image.
    pub(crate) fn new(formatted: &Formatted, file: Option<&Path>) -> Self {
        Self::of(&formatted.superblock, Some(&formatted.root_hash), file, formatted.offset)
    }

    /// Describes the tree of a superblock at `offset` bytes of a file.
    pub(super) fn of(superblock: &Superblock, root_hash: Option<&RootHash>, file: Option<&Path>, offset: u64) -> Self {
        let parameters = &superblock.parameters;
        Self {
            root_hash: root_hash.map(RootHash::to_string),
            file: file.map(|file| file.to_string_lossy().into_owned()),
            hash_offset: offset,
            hash_start: superblock.hash_start(offset).unwrap_or_default(),
            algorithm: parameters.algorithm.name(),
            hash_type: parameters.hash_type.number(),
            data_block_size: parameters.data_block,
            hash_block_size: parameters.hash_block,
            data_blocks: superblock.data_blocks,
            salt: parameters.salt_text(),
            uuid: superblock.uuid.to_string(),
        }
    }

    /// Returns the parameters and the root hash, without the place of the tree.
    pub(crate) fn without_place(&self) -> anyhow::Result<serde_json::Value> {
        let mut json = serde_json::to_value(self)?;
        if let Some(members) = json.as_object_mut() {
            ["file", "hashOffset", "hashStart", "uuid"].iter().for_each(|name| drop(members.remove(*name)));
        }
        Ok(json)
    }

    /// Returns the superblock as text.
    pub(super) fn to_text(&self) -> String {
        format!(
            "uuid             {}\nhash type        {}\ndata blocks      {}\ndata block size  {}\nhash block size  {}\n\
             hash offset      {}\nhash start       {}\nalgorithm        {}\nsalt             {}\n",
            self.uuid,
            self.hash_type,
            self.data_blocks,
            self.data_block_size,
            self.hash_block_size,
            self.hash_offset,
            self.hash_start,
            self.algorithm,
            self.salt
        )
    }
}
