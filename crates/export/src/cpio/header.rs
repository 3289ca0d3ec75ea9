//! The header of an entry: `070701`, thirteen numbers of eight hexadecimal digits, and the name (the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::io::Write;

use vmroot_output::display_path;

use crate::stream::Stream;
use crate::{Error, Result};

/// Names and data end on multiples of this many bytes.
const ALIGNMENT: usize = 4;
/// The longest path: the kernel leaves out, and says nothing, what has more with the zero byte behind it than 4096.
const MAX_PATH: u64 = 4095;
/// The name that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";

/// The numbers of an entry.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Header {
    pub(super) ino: u32,
    /// Type bits included.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) nlink: u32,
    pub(super) mtime: u32,
    /// Bytes that follow.
    pub(super) size: u32,
    /// Major and minor number of a device.
    pub(super) device: (u32, u32),
}

impl Header {
    /// Writes header and name; `size` bytes and [`pad`] are to follow.
    pub(super) fn write<W: Write>(&self, path: &[u8], output: &mut Stream<W>) -> Result<()> {
        if path.len() as u64 > MAX_PATH {
            let (path, actual) = (display_path(path), path.len() as u64);
            return Err(Error::BeyondCpio { path, unit: "bytes of path", actual, limit: MAX_PATH });
        }
        match path {
            b"" => self.write_named(b".", output),
            TRAILER => self.write_named(&[b"./", TRAILER].concat(), output),
            path => self.write_named(path, output),
        }
    }

    fn write_named<W: Write>(&self, name: &[u8], output: &mut Stream<W>) -> Result<()> {
        let (major, minor) = self.device;
        let name_size = name.len() as u32 + 1;
        output.write(b"070701")?;
        let before_size = [self.ino, self.mode, self.uid, self.gid, self.nlink, self.mtime, self.size];
        // All is on device 0:0, and there are checksums in archives of another magic only.
        for number in before_size.into_iter().chain([0, 0, major, minor, name_size, 0]) {
            output.write(format!("{number:08x}").as_bytes())?;
        }
        output.write(name)?;
        output.write(&[0])?;
        pad(output)
    }
}

/// Ends the bytes of an entry.
pub(super) fn pad<W: Write>(output: &mut Stream<W>) -> Result<()> {
    output.pad(ALIGNMENT)
}

/// Ends the archive; gives the writer back with the number of bytes.
pub(super) fn finish<W: Write>(mut output: Stream<W>) -> Result<(W, u64)> {
    Header { nlink: 1, ..Header::default() }.write_named(TRAILER, &mut output)?;
    output.finish()
}
