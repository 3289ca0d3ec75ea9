//! Kernel files: their architecture and version.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use vmroot_compress::{Decoder, Limits};

use crate::{Architecture, Error, Result};

/// The number of bytes at the start of a file that identify its format and hold the version of a bzImage.
const HEAD: usize = 64 << 10;
/// The number of bytes of the decompressed kernel that are searched for the version.
const MAX_KERNEL: u64 = 256 << 20;
/// The text before the version in every kernel, which is also the first that it prints.
pub(crate) const BANNER: &[u8] = b"Linux version ";
/// The maximum length of a version: `__NEW_UTS_LEN` of uname(2).
const MAX_VERSION: usize = 64;

/// A kernel in a format that VMMs can start: bzImage or vmlinux for x86-64; Image, Image.gz or an EFI zboot
/// image for arm64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The file.
    pub path: PathBuf,
    /// The architecture that the kernel runs on.
    pub architecture: Architecture,
    /// The release as in `uname -r`, if the file contains it.
    pub version: Option<String>,
    /// Whether the file is in ELF format, which some VMMs require.
    pub is_elf: bool,
}

impl Kernel {
    /// Reads the architecture and version of the kernel in a file.
    ///
    /// # Errors
    /// - [`Error::Io`] if the file cannot be read.
    /// - [`Error::NotAKernel`] if the format is unknown.
    /// - [`Error::Compressed`] if the compressed kernel is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = BufReader::new(File::open(path).map_err(Error::io("open", path))?);
        let head = head(&mut file).map_err(Error::io("read", path))?;
        let kernel = |architecture, version, is_elf| Ok(Self { path: path.to_owned(), architecture, version, is_elf });
        match Form::of(&head) {
            Form::BzImage => kernel(Architecture::X86_64, bzimage_version(&head), false),
            Form::Elf(architecture) => kernel(architecture, find_version(path, head.chain(file))?, true),
            Form::Image => kernel(Architecture::Aarch64, find_version(path, head.chain(file))?, false),
            Form::Compressed(start) => {
                let mut compressed = head.chain(file);
                io::copy(&mut compressed.by_ref().take(start), &mut io::sink()).map_err(Error::io("read", path))?;
                let limits = Limits { max_output: MAX_KERNEL, ..Limits::default() };
                let plain = Decoder::new(compressed, &limits);
                let mut plain = plain.map_err(|source| Error::Compressed { path: path.to_owned(), source })?;
                let head = self::head(&mut plain).map_err(decoding(path))?;
                match Form::of(&head) {
                    Form::Image => kernel(Architecture::Aarch64, find_version(path, head.chain(plain))?, false),
                    _ => Err(Error::NotAKernel(path.to_owned())),
                }
            }
            Form::Unknown => Err(Error::NotAKernel(path.to_owned())),
        }
    }
}

enum Form {
    BzImage,
    Image,
    Elf(Architecture),
    /// Compressed data from this offset on.
    Compressed(u64),
    Unknown,
}

impl Form {
    fn of(head: &Head) -> Self {
        let head = &head.bytes;
        // The signature of the header (Documentation/arch/x86/boot.rst).
        if head.get(0x202..0x206) == Some(b"HdrS") {
            return Self::BzImage;
        }
        // The magic number at offset 56 (Documentation/arch/arm64/booting.rst).
        if head.get(56..60) == Some(b"ARM\x64") {
            return Self::Image;
        }
        // "zimg" at offset 4, and the payload's offset at 8 (drivers/firmware/efi/libstub/zboot-header.S).
        if head.starts_with(b"MZ") && head.get(4..8) == Some(b"zimg") {
            return head[8..]
                .first_chunk()
                .map_or(Self::Unknown, |at| Self::Compressed(u32::from_le_bytes(*at).into()));
        }
        if head.starts_with(&[0x1f, 0x8b]) {
            return Self::Compressed(0);
        }
        // ELF, 64 bits, little endian, with `e_machine` at offset 18.
        match (head.starts_with(b"\x7fELF\x02\x01"), head.get(18..20)) {
            (true, Some([62, 0])) => Self::Elf(Architecture::X86_64),
            (true, Some([183, 0])) => Self::Elf(Architecture::Aarch64),
            _ => Self::Unknown,
        }
    }
}

/// The first bytes of a file, which are still to be read together with the rest.
struct Head {
    bytes: Vec<u8>,
}

impl Head {
    fn chain<R: BufRead>(self, rest: R) -> io::Chain<io::Cursor<Vec<u8>>, R> {
        io::Cursor::new(self.bytes).chain(rest)
    }
}

fn head(reader: &mut impl Read) -> io::Result<Head> {
    let mut bytes = Vec::new();
    reader.take(HEAD as u64).read_to_end(&mut bytes)?;
    Ok(Head { bytes })
}

/// Returns the version of a bzImage. The header field `kernel_version` is the offset, less 0x200, of a text that begins
/// with it.
fn bzimage_version(head: &Head) -> Option<String> {
    let offset = u16::from_le_bytes(*head.bytes.get(0x20e..)?.first_chunk()?);
    let text = head.bytes.get(0x200 + usize::from(offset)..).filter(|_| offset != 0)?;
    version_in(text)
}

/// Returns the first word of a text.
fn version_in(text: &[u8]) -> Option<String> {
    let length = text.iter().take(MAX_VERSION + 1).position(|byte| !byte.is_ascii_graphic())?;
    (length > 0).then(|| String::from_utf8_lossy(&text[..length]).into_owned())
}

/// Searches an uncompressed kernel for the banner with the version.
fn find_version(path: &Path, mut kernel: impl Read) -> Result<Option<String>> {
    let mut window = Vec::new();
    let mut searched = 0;
    while searched < MAX_KERNEL {
        let count = kernel.by_ref().take(1 << 20).read_to_end(&mut window).map_err(decoding(path))?;
        // The banner also occurs as a format string, with "%s" for the version.
        let mut versions = window.find_iter(BANNER).filter_map(|at| version_in(&window[at + BANNER.len()..]));
        if let Some(version) = versions.find(|version| version.starts_with(|first: char| first.is_ascii_digit())) {
            return Ok(Some(version));
        }
        if count == 0 {
            break;
        }
        searched += count as u64;
        let kept = window.len().min(BANNER.len() + MAX_VERSION);
        window.drain(..window.len() - kept);
    }
    Ok(None)
}

/// Converts a read error of the decoder, or of the disk below it.
fn decoding(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::Compressed { path: path.to_owned(), source: error.into() }
}
