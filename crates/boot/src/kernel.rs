//! The kernel: what it is for, and its version.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use vmroot_compress::{Decoder, Limits};

use crate::{Architecture, Error, Result};

/// Bytes at the front that tell the forms of kernels apart, and hold the version of a bzImage.
const HEAD: usize = 64 << 10;
/// How far the version is looked for, in bytes of the decompressed kernel.
const MAX_KERNEL: u64 = 256 << 20;
/// What every kernel has in front of its version.
const BANNER: &[u8] = b"Linux version ";
/// The longest version: `__NEW_UTS_LEN` of uname(2).
const LONGEST: usize = 64;

/// A kernel in one of the forms that machine monitors start: bzImage and vmlinux for x86-64; Image, Image.gz and the
/// EFI zboot image for arm64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The file.
    pub path: PathBuf,
    /// What it runs on.
    pub architecture: Architecture,
    /// What `uname -r` will say, where the file tells.
    pub version: Option<String>,
    /// Whether it is an ELF file, which some monitors insist on.
    pub is_elf: bool,
}

impl Kernel {
    /// Looks at the kernel in a file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotAKernel`], and [`Error::Compressed`] for one whose compression is broken.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = BufReader::new(File::open(path).map_err(Error::io("open", path))?);
        let head = head(&mut file).map_err(Error::io("read", path))?;
        let kernel = |architecture, version, is_elf| Ok(Self { path: path.to_owned(), architecture, version, is_elf });
        match Form::of(&head) {
            Form::BzImage => kernel(Architecture::X86_64, bzimage_version(&head), false),
            Form::Elf(architecture) => kernel(architecture, scan(path, head.chain(file))?, true),
            Form::Image => kernel(Architecture::Aarch64, scan(path, head.chain(file))?, false),
            Form::Packed(start) => {
                let mut packed = head.chain(file);
                io::copy(&mut packed.by_ref().take(start), &mut io::sink()).map_err(Error::io("read", path))?;
                let limits = Limits { max_output: MAX_KERNEL, ..Limits::default() };
                let plain = Decoder::new(packed, &limits);
                let mut plain = plain.map_err(|source| Error::Compressed { path: path.to_owned(), source })?;
                let head = self::head(&mut plain).map_err(decoding(path))?;
                match Form::of(&head) {
                    Form::Image => kernel(Architecture::Aarch64, scan(path, head.chain(plain))?, false),
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
    /// Compressed, from this offset on.
    Packed(u64),
    Unknown,
}

impl Form {
    fn of(head: &Head) -> Self {
        let head = &head.bytes;
        // Documentation/arch/x86/boot.rst: the header's signature.
        if head.get(0x202..0x206) == Some(b"HdrS") {
            return Self::BzImage;
        }
        // Documentation/arch/arm64/booting.rst: the magic number at 56.
        if head.get(56..60) == Some(b"ARM\x64") {
            return Self::Image;
        }
        // drivers/firmware/efi/libstub/zboot-header.S: "zimg" at 4, the payload's offset at 8.
        if head.starts_with(b"MZ") && head.get(4..8) == Some(b"zimg") {
            return head[8..].first_chunk().map_or(Self::Unknown, |at| Self::Packed(u32::from_le_bytes(*at).into()));
        }
        if head.starts_with(&[0x1f, 0x8b]) {
            return Self::Packed(0);
        }
        // ELF, 64 bits, little endian; e_machine at 18.
        match (head.starts_with(b"\x7fELF\x02\x01"), head.get(18..20)) {
            (true, Some([62, 0])) => Self::Elf(Architecture::X86_64),
            (true, Some([183, 0])) => Self::Elf(Architecture::Aarch64),
            _ => Self::Unknown,
        }
    }
}

/// The first bytes of a file, still to be read with what follows.
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

/// `kernel_version` of the header: an offset, less 0x200, of a text that begins with the version.
fn bzimage_version(head: &Head) -> Option<String> {
    let offset = u16::from_le_bytes(*head.bytes.get(0x20e..)?.first_chunk()?);
    let text = head.bytes.get(0x200 + usize::from(offset)..).filter(|_| offset != 0)?;
    version_in(text)
}

/// The word that a text begins with.
fn version_in(text: &[u8]) -> Option<String> {
    let length = text.iter().take(LONGEST + 1).position(|byte| !byte.is_ascii_graphic())?;
    (length > 0).then(|| String::from_utf8_lossy(&text[..length]).into_owned())
}

/// Looks for the banner of a kernel that is not compressed.
fn scan(path: &Path, mut kernel: impl Read) -> Result<Option<String>> {
    let mut window = Vec::new();
    let mut searched = 0;
    while searched < MAX_KERNEL {
        let count = kernel.by_ref().take(1 << 20).read_to_end(&mut window).map_err(decoding(path))?;
        // The text is there twice: once as a format whose version is a "%s".
        let mut versions = window.find_iter(BANNER).filter_map(|at| version_in(&window[at + BANNER.len()..]));
        if let Some(version) = versions.find(|version| version.starts_with(|first: char| first.is_ascii_digit())) {
            return Ok(Some(version));
        }
        if count == 0 {
            break;
        }
        searched += count as u64;
        let kept = window.len().min(BANNER.len() + LONGEST);
        window.drain(..window.len() - kept);
    }
    Ok(None)
}

/// An error of the decoder, or of the disk below it, from reading.
fn decoding(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::Compressed { path: path.to_owned(), source: error.into() }
}
