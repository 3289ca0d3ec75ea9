//! Hash algorithms, and digests of salted blocks.

use std::fmt;

use ring::digest;

use crate::{HashType, Parameters};

/// A hash algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-1, for trees that exist. It does not resist collisions.
    Sha1,
    /// SHA-256, the default of `veritysetup`.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    /// Returns the name in superblocks and in tables of the device-mapper.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the algorithm of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Returns the length of a digest in bytes.
    pub fn digest_length(self) -> usize {
        self.implementation().output_len()
    }

    fn implementation(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Digests blocks with a salt.
#[derive(Clone)]
pub(crate) struct Digester<'a> {
    /// The state before a block: with the salt, for [`HashType::Normal`].
    start: digest::Context,
    /// The bytes after a block: the salt, for [`HashType::ChromeOs`].
    end: &'a [u8],
    /// A block of zeros and its digest. Images have many such blocks, and comparing is faster than hashing.
    zeros: Vec<u8>,
    zero_digest: Option<digest::Digest>,
}

impl<'a> Digester<'a> {
    /// Returns a digester of blocks of `block` bytes.
    pub(crate) fn new(parameters: &'a Parameters, block: u32) -> Self {
        let mut start = digest::Context::new(parameters.algorithm.implementation());
        let end = match parameters.hash_type {
            HashType::Normal => {
                start.update(&parameters.salt);
                &[][..]
            }
            HashType::ChromeOs => &parameters.salt,
        };
        let mut digester = Self { start, end, zeros: vec![0; block as usize], zero_digest: None };
        digester.zero_digest = Some(digester.hash(&digester.zeros));
        digester
    }

    /// Returns the digest of a block.
    pub(crate) fn digest(&self, block: &[u8]) -> digest::Digest {
        match self.zero_digest {
            Some(digest) if block == self.zeros => digest,
            _ => self.hash(block),
        }
    }

    fn hash(&self, block: &[u8]) -> digest::Digest {
        let mut context = self.start.clone();
        context.update(block);
        context.update(self.end);
        context.finish()
    }
}
