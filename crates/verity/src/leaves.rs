//! The digests of a file's blocks, kept in a file of their own.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ring::digest;
use vmroot_output::Run;

use crate::geometry::Geometry;
use crate::work::Tree;
use crate::{Data, Error, KnownRange, Options, Parameters, Result, SUPERBLOCK, Superblock, Uuid};

/// The first bytes of a file of leaves. The rest of its header has the fields of a superblock, at the same offsets.
const MAGIC: &[u8; 8] = b"vmrleaf1";
/// The length of the checksum at the end: SHA-256 of all bytes before it.
const CHECKSUM: usize = 32;
/// The number of bytes that are read at once.
const PIECE: usize = 256 << 10;

/// The digests of the blocks of a file, the lowest level of a tree over it. `docs/formats/leaves.md` has the format.
#[derive(Debug)]
pub struct Leaves {
    file: File,
    parameters: Parameters,
    count: u64,
}

impl Leaves {
    /// Hashes the blocks of a file of `length` bytes, and writes their digests to the empty file `to`, which must be open
    /// for reading and writing.
    ///
    /// The bytes depend only on the file and the parameters.
    ///
    /// # Errors
    /// - The errors of [`Parameters::check`].
    /// - [`Error::Empty`] or [`Error::PartialBlock`] if the file has no whole number of blocks.
    /// - [`Error::Image`] or [`Error::Tree`] if `from` cannot be read, or `to` cannot be written.
    /// - [`Error::Cancelled`] if the hook cancelled the work.
    pub fn create(from: &File, length: u64, to: File, parameters: &Parameters, options: &Options<'_>) -> Result<Self> {
        parameters.check()?;
        let block = parameters.data_block;
        if length == 0 {
            return Err(Error::Empty);
        }
        if !length.is_multiple_of(block.into()) {
            return Err(Error::PartialBlock { length, block });
        }
        let leaves = Self { file: to, parameters: parameters.clone(), count: length / u64::from(block) };
        leaves.file.set_len(0).map_err(Error::Tree)?;
        leaves.file.write_all_at(&leaves.header(), 0).map_err(Error::Tree)?;
        leaves.for_each_piece(from, length, options, |bytes, at| leaves.file.write_all_at(bytes, at))?;
        let checksum = leaves.checksum()?;
        leaves.file.write_all_at(checksum.as_ref(), leaves.end()).map_err(Error::Tree)?;
        Ok(leaves)
    }

    /// Opens a file of leaves, and checks its header, its length and its checksum.
    ///
    /// # Errors
    /// - [`Error::NotLeaves`] if the file is not one of leaves, or is damaged.
    /// - [`Error::Tree`] if it cannot be read.
    pub fn open(file: File) -> Result<Self> {
        let mut bytes = [0; SUPERBLOCK];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Error::NotLeaves),
            Err(error) => return Err(Error::Tree(error)),
        }
        let Some(fields) = bytes.strip_prefix(MAGIC) else { return Err(Error::NotLeaves) };
        let superblock = Superblock::of_fields(fields).map_err(|_| Error::NotLeaves)?;
        let leaves = Self { file, parameters: superblock.parameters, count: superblock.data_blocks };
        let length = leaves.file.metadata().map_err(Error::Tree)?.len();
        let mut stored = [0; CHECKSUM];
        if bytes != leaves.header() || length != leaves.end() + CHECKSUM as u64 {
            return Err(Error::NotLeaves);
        }
        leaves.file.read_exact_at(&mut stored, leaves.end()).map_err(Error::Tree)?;
        if leaves.checksum()?.as_ref() == stored { Ok(leaves) } else { Err(Error::NotLeaves) }
    }

    /// Returns whether these are the digests of a file of `length` bytes. All blocks of the file are hashed.
    ///
    /// # Errors
    /// [`Error::Image`] or [`Error::Tree`] if a file cannot be read, [`Error::Cancelled`] if the hook cancelled the work.
    pub fn verify(&self, from: &File, length: u64, options: &Options<'_>) -> Result<bool> {
        if length != self.count.saturating_mul(self.parameters.data_block.into()) {
            return Ok(false);
        }
        let differs = |error: &io::Error| error.kind() == io::ErrorKind::InvalidData;
        let compared = self.for_each_piece(from, length, options, |bytes, at| {
            let mut stored = vec![0; bytes.len()];
            self.file.read_exact_at(&mut stored, at)?;
            if stored == bytes { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
        });
        match compared {
            Ok(()) => Ok(true),
            Err(Error::Tree(error)) if differs(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the number of digests.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns whether a tree with these parameters has the same digests. The size of hash blocks does not matter.
    pub fn are_for(&self, parameters: &Parameters) -> bool {
        let own = &self.parameters;
        (own.algorithm, own.hash_type, own.data_block)
            == (parameters.algorithm, parameters.hash_type, parameters.data_block)
            && own.salt == parameters.salt
    }

    /// Reads digests, from the one with the number `first` on.
    pub(crate) fn read(&self, first: u64, digests: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(digests, self.place(first)).map_err(Error::Tree)
    }

    fn header(&self) -> [u8; SUPERBLOCK] {
        let superblock =
            Superblock { uuid: Uuid([0; 16]), parameters: self.parameters.clone(), data_blocks: self.count };
        let mut bytes = superblock.to_bytes();
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        bytes
    }

    /// Returns the place of a digest in the file.
    fn place(&self, number: u64) -> u64 {
        SUPERBLOCK as u64 + number.saturating_mul(self.parameters.algorithm.digest_length() as u64)
    }

    fn end(&self) -> u64 {
        self.place(self.count)
    }

    /// Hashes a file, and calls `each` with digests and their place, from several threads.
    fn for_each_piece(
        &self,
        from: &File,
        length: u64,
        options: &Options<'_>,
        each: impl Fn(&[u8], u64) -> io::Result<()> + Sync,
    ) -> Result<()> {
        let geometry = Geometry::one_level(&self.parameters, self.count);
        let data = Data::of_file(from, length);
        let tree = Tree { parameters: &self.parameters, geometry: &geometry, data: &data, file: &self.file };
        let length = self.parameters.algorithm.digest_length();
        tree.for_each_block(
            0,
            options,
            |_| true,
            |index, block| {
                let first = index * geometry.per_block;
                let count = geometry.per_block.min(self.count - first) as usize;
                let digests: Vec<u8> =
                    block.chunks(geometry.slot).take(count).flat_map(|slot| &slot[..length]).copied().collect();
                each(&digests, self.place(first)).map_err(Error::Tree)
            },
        )
    }

    fn checksum(&self) -> Result<digest::Digest> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0)).map_err(Error::Tree)?;
        let mut reader = file.take(self.end());
        let mut context = digest::Context::new(&digest::SHA256);
        let mut buffer = vec![0; PIECE];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(context.finish()),
                Ok(count) => context.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Tree(error)),
            }
        }
    }
}

/// The leaves of several files, by the paths of the files.
#[derive(Debug, Default)]
pub struct KeptLeaves(Vec<(PathBuf, Leaves)>);

impl KeptLeaves {
    /// Adds the leaves of a file.
    pub fn insert(&mut self, path: PathBuf, leaves: Leaves) {
        self.0.push((path, leaves));
    }

    /// Returns the ranges of an image that has runs of blocks of the files `paths`, by their numbers.
    pub fn ranges<'a>(&'a self, runs: &[Run], paths: &[&Path], block: u32) -> Vec<KnownRange<'a>> {
        let leaves: Vec<Option<&Leaves>> = paths.iter().map(|path| self.of(path)).collect();
        let range = |run: &Run| {
            let leaves = (*leaves.get(run.file as usize)?)?;
            let is_whole = run.from.is_multiple_of(block.into());
            is_whole.then(|| KnownRange {
                start: run.to,
                length: run.length,
                leaves,
                first: run.from / u64::from(block),
            })
        };
        runs.iter().filter_map(range).collect()
    }

    /// Returns the leaves of a file.
    pub fn of(&self, path: &Path) -> Option<&Leaves> {
        self.0.iter().find(|(known, _)| known == path).map(|(_, leaves)| leaves)
    }
}
