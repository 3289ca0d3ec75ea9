//! The hash tree of a guest's root.

use std::fs::File;
use std::path::Path;

use vmroot_container_fs::ContainerFs;
use vmroot_erofs::{ErofsMeta, erofs_devices};
use vmroot_guest_config::{StagePart, StageVerity};
use vmroot_output::Hook;
use vmroot_verity::{Algorithm, Data, Formatted, KeptLeaves, KnownRange, Options, Parameters, Part, RootHash, format};

use crate::machine::disk_name;
use crate::{Error, Result};

/// The word of the kernel's command line with the root hash.
pub(crate) const ROOT_HASH: &str = "vmroot.verity=";

/// The modules that dm-verity needs. Its module has no dependency on those of hash algorithms.
pub(crate) const DRIVER: &str = "dm_verity";
/// The modules of SHA-256, of which a kernel has some built in, and lacks others. Faster ones come last.
pub(crate) const SHA256: [&str; 4] = ["sha256_generic", "sha256_ssse3", "sha256_arm64", "sha2_ce"];

/// A hash tree that was built.
pub(crate) struct BuiltTree {
    pub(crate) root_hash: RootHash,
    /// The table for stage one.
    pub(crate) table: StageVerity,
}

/// The devices of a metadata-only image.
pub(crate) struct Devices<'a> {
    pub(crate) root: &'a ContainerFs,
    pub(crate) meta: &'a ErofsMeta,
    /// The file that precedes the contents files.
    pub(crate) head: &'a File,
    pub(crate) leaves: Option<&'a KeptLeaves>,
}

/// Returns digits in place of a root hash that is not known yet. They have its length.
pub(crate) fn placeholder() -> String {
    "0".repeat(2 * Algorithm::Sha256.digest_length())
}

/// Returns the word of the command line.
pub(crate) fn word(root_hash: &str) -> String {
    format!("{ROOT_HASH}{root_hash}")
}

/// Writes the tree after an image, in the same file, which is the only disk. The digests of the ranges `known` are not
/// computed.
pub(crate) fn append(path: &Path, known: Vec<KnownRange<'_>>, hook: Option<Hook<'_>>) -> Result<BuiltTree> {
    let failed = |error| Error::Verity { path: path.to_owned(), source: error };
    let file = File::options().read(true).write(true).open(path).map_err(Error::io("open", path))?;
    let parameters = Parameters::default();
    let length = file.metadata().map_err(Error::io("look at", path))?.len();
    let padded = length.next_multiple_of(parameters.data_block.into());
    file.set_len(padded).map_err(Error::io("write", path))?;
    let options = Options { hook, ..Options::default() };
    let data = Data::of_file(&file, padded).with_known(known);
    let built = format(&data, &file, padded, &parameters, None, &options).map_err(failed)?;
    let disk = disk_name(0);
    let hash_start = built.superblock.hash_start(padded).map_err(failed)?;
    let data = vec![StagePart { device: disk.clone(), blocks: built.superblock.data_blocks }];
    Ok(BuiltTree { table: table(&built, data, disk, hash_start), root_hash: built.root_hash })
}

/// Writes the tree over the head of a metadata-only image and its contents files to the file `path`. Returns it and its
/// length in blocks.
///
/// If `is_joined`, all are one disk, on which the tree comes last. Otherwise each is a disk of its own.
pub(crate) fn over_devices(
    devices: &Devices<'_>,
    path: &Path,
    is_joined: bool,
    hook: Option<Hook<'_>>,
) -> Result<(BuiltTree, u32)> {
    let failed = |error| Error::Verity { path: path.to_owned(), source: error };
    let Devices { root, meta, head, leaves } = *devices;
    let parameters = Parameters::default();
    let block = u64::from(parameters.data_block);
    let blocks: Vec<u64> =
        [meta.blocks].into_iter().chain(meta.devices.iter().map(|device| device.blocks)).map(u64::from).collect();
    let contents =
        erofs_devices(root).map(|contents| (&contents.file, leaves.and_then(|leaves| leaves.of(&contents.path))));
    let files = [(head, None)].into_iter().chain(contents).zip(&blocks);
    let part = |((file, leaves), blocks)| Part { file, offset: 0, length: blocks * block, leaves };
    let data = Data::new(files.map(part));
    let file = File::options().read(true).write(true).create_new(true).open(path).map_err(Error::io("write", path))?;
    let options = Options { hook, ..Options::default() };
    let built = format(&data, &file, 0, &parameters, None, &options).map_err(failed)?;
    let data_blocks = built.superblock.data_blocks;
    let first = built.superblock.hash_start(0).map_err(failed)?;
    let table = match is_joined {
        true => {
            let disk = disk_name(0);
            let data = vec![StagePart { device: disk.clone(), blocks: data_blocks }];
            table(&built, data, disk, data_blocks + first)
        }
        false => {
            let part = |(number, blocks): (usize, &u64)| StagePart { device: disk_name(number), blocks: *blocks };
            table(&built, blocks.iter().enumerate().map(part).collect(), disk_name(blocks.len()), first)
        }
    };
    let length = u32::try_from(built.end / block).unwrap_or(u32::MAX);
    Ok((BuiltTree { root_hash: built.root_hash, table }, length))
}

/// Returns the tree of a served disk, which follows the image on it.
pub(crate) fn on_disk(built: &Formatted) -> Result<BuiltTree> {
    let failed = |error| Error::Verity { path: disk_name(0).into(), source: error };
    let first = built.superblock.hash_start(0).map_err(failed)?;
    let (disk, data_blocks) = (disk_name(0), built.superblock.data_blocks);
    let data = vec![StagePart { device: disk.clone(), blocks: data_blocks }];
    Ok(BuiltTree { root_hash: built.root_hash.clone(), table: table(built, data, disk, data_blocks + first) })
}

fn table(built: &Formatted, data: Vec<StagePart>, tree: String, hash_start: u64) -> StageVerity {
    let Parameters { algorithm, hash_type, data_block, hash_block, .. } = built.superblock.parameters;
    StageVerity {
        data,
        tree,
        hash_start,
        data_blocks: built.superblock.data_blocks,
        data_block_size: data_block,
        hash_block_size: hash_block,
        algorithm: algorithm.name().to_owned(),
        hash_type: hash_type.number(),
        salt: built.superblock.parameters.salt_text(),
    }
}
