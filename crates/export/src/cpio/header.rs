//! The header of an entry: `070701`, thirteen numbers of eight hexadecimal digits, and the name (the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst`).

use vmroot_container_fs::Device;
use vmroot_output::display_path;

use crate::stream::Stream;
use crate::{Error, Result};

/// The alignment of names and data in bytes.
const ALIGNMENT: usize = 4;
/// The longest path in bytes. The kernel silently skips entries whose path has more than 4096 with its NUL.
const MAX_PATH: u64 = 4095;
/// The name of the last entry of an archive.
const TRAILER: &[u8] = b"TRAILER!!!";

/// The numbers of a header.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Header {
    pub(super) ino: u32,
    /// Includes the bits of the file type.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) nlink: u32,
    pub(super) mtime: u32,
    /// The number of bytes of data.
    pub(super) size: u32,
    /// The number of a device.
    pub(super) device: Device,
}

impl Header {
    /// Writes header and name. The caller then writes `size` bytes and calls [`pad`].
    pub(super) fn write(&self, path: &[u8], output: &mut Stream<'_>) -> Result<()> {
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

    fn write_named(&self, name: &[u8], output: &mut Stream<'_>) -> Result<()> {
        let Device { major, minor } = self.device;
        let name_size = name.len() as u32 + 1;
        output.write(b"070701")?;
        let before_size = [self.ino, self.mode, self.uid, self.gid, self.nlink, self.mtime, self.size];
        // All entries are on device 0:0. This magic number has no checksums.
        for number in before_size.into_iter().chain([0, 0, major, minor, name_size, 0]) {
            output.write(format!("{number:08x}").as_bytes())?;
        }
        output.write(name)?;
        output.write(&[0])?;
        pad(output)
    }
}

/// Pads the data of an entry.
pub(super) fn pad(output: &mut Stream<'_>) -> Result<()> {
    output.pad(ALIGNMENT)
}

/// Ends the archive, and flushes the writer.
pub(super) fn finish(mut output: Stream<'_>) -> Result<()> {
    Header { nlink: 1, ..Header::default() }.write_named(TRAILER, &mut output)?;
    output.finish()
}
