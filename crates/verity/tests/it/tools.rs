//! Images, and the program `veritysetup`.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use vmroot_testkit::skip;
use vmroot_verity::{Data, Formatted, HashType, Options, Parameters, Result, RootHash, Superblock, format, verify};

/// A deterministic generator of numbers (xorshift).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// An image and the place for its tree.
pub(crate) struct Image {
    pub(crate) directory: TempDir,
}

impl Image {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let image = Self { directory: tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap() };
        fs::write(image.image(), bytes).unwrap();
        image
    }

    /// Returns an image of zeros.
    pub(crate) fn of_zeros(blocks: u64) -> Self {
        let image = Self::of(b"");
        File::options().write(true).open(image.image()).unwrap().set_len(blocks * 4096).unwrap();
        image
    }

    /// Returns an image of random blocks, one in four of them zeros.
    pub(crate) fn random(numbers: &mut Numbers, blocks: u64, block: u32) -> Self {
        let mut bytes = Vec::new();
        for _ in 0..blocks {
            let zeros = numbers.below(4) == 0;
            bytes.extend(if zeros { vec![0; block as usize] } else { numbers.bytes(block as usize) });
        }
        Self::of(&bytes)
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.directory.path().join("tree")
    }

    pub(crate) fn open(path: &Path) -> File {
        File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap()
    }

    /// Writes the tree to a file of its own.
    pub(crate) fn format(&self, parameters: &Parameters) -> Result<Formatted> {
        let (image, tree) = (Self::open(&self.image()), Self::open(&self.tree()));
        let length = image.metadata().unwrap().len();
        format(&Data::of_file(&image, length), &tree, 0, parameters, None, &Options::default())
    }

    pub(crate) fn verify(&self, root_hash: &RootHash) -> Result<Superblock> {
        let (image, tree) = (Self::open(&self.image()), Self::open(&self.tree()));
        let length = image.metadata().unwrap().len();
        verify(&Data::of_file(&image, length), &tree, 0, root_hash, &Options::default())
    }

    /// Flips a bit of a file.
    pub(crate) fn flip(path: &Path, bit: u64) {
        let file = Self::open(path);
        let mut byte = [0];
        file.read_exact_at(&mut byte, bit / 8).unwrap();
        file.write_all_at(&[byte[0] ^ (1 << (bit % 8))], bit / 8).unwrap();
    }
}

/// Returns whether a test must be skipped because `veritysetup` is not installed.
#[track_caller]
pub(crate) fn needs_veritysetup() -> bool {
    // Its directory may be missing from the search path of a user.
    !Path::new("/usr/sbin/veritysetup").exists() && skip::needs_program("veritysetup")
}

pub(crate) fn veritysetup() -> Command {
    let path = Path::new("/usr/sbin/veritysetup");
    Command::new(if path.exists() { path } else { Path::new("veritysetup") })
}

/// Writes a tree with `veritysetup`. Returns its root hash.
pub(crate) fn veritysetup_format(image: &Path, tree: &Path, formatted: &Formatted) -> String {
    let Superblock { uuid, parameters, data_blocks } = &formatted.superblock;
    let kind = if parameters.hash_type == HashType::Normal { "1" } else { "0" };
    let output = veritysetup()
        .args(["format", &format!("--format={kind}"), &format!("--hash={}", parameters.algorithm)])
        .arg(format!("--data-block-size={}", parameters.data_block))
        .arg(format!("--hash-block-size={}", parameters.hash_block))
        .arg(format!("--data-blocks={data_blocks}"))
        .arg(format!("--salt={}", parameters.salt_text()))
        .arg(format!("--uuid={uuid}"))
        .arg(format!("--hash-offset={}", formatted.offset))
        .args([image, tree])
        .output()
        .unwrap();
    let text = succeeded(output);
    let line = text.lines().find(|line| line.starts_with("Root hash:")).unwrap();
    line.rsplit(char::is_whitespace).next().unwrap().to_owned()
}

#[track_caller]
pub(crate) fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
