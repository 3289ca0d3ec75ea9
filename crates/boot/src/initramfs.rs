//! The archive that a kernel starts stage one from: newc cpio (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::io::{self, Write};

use serde::Serialize;

use crate::Module;

/// What stage one does, `/vmroot/stage.json` in its archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Paths of the modules, in the order of loading.
    pub modules: Vec<String>,
    /// What becomes the root.
    pub root: StageRoot,
    /// What is started there.
    pub init: String,
    /// Whether a tmpfs is laid over the root.
    pub overlay: bool,
}

/// What stage one mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StageRoot {
    /// As in mount(2).
    pub fstype: String,
    /// A device, or the tag of a share.
    pub source: String,
    /// As in mount(2).
    pub options: String,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// Writes the archive: `init` as `/init`, the modules, and what to do with them.
///
/// # Errors
/// What writing says.
pub fn write_initramfs<W: Write>(writer: W, init: &[u8], modules: &[Module], stage: &Stage) -> io::Result<W> {
    let mut archive = Archive { writer, entries: 0 };
    archive.directory("dev")?;
    // The kernel opens it for the first process, before anything is mounted.
    archive.character_device("dev/console", 5, 1)?;
    archive.directory("root")?;
    archive.directory("vmroot")?;
    archive.directory("vmroot/modules")?;
    archive.file("init", 0o755, init)?;
    archive.file("vmroot/stage.json", 0o644, &serde_json::to_vec(stage)?)?;
    for module in modules {
        archive.file(&format!("vmroot/modules/{}.ko", module.name), 0o644, &module.bytes)?;
    }
    archive.end()
}

/// Where the archive has a module.
pub(crate) fn place_of(module: &Module) -> String {
    format!("/vmroot/modules/{}.ko", module.name)
}

struct Archive<W> {
    writer: W,
    entries: u32,
}

impl<W: Write> Archive<W> {
    fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, 0o040_755, (0, 0), &[])
    }

    fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        self.entry(path, 0o100_000 | mode, (0, 0), bytes)
    }

    fn character_device(&mut self, path: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(path, 0o020_600, (major, minor), &[])
    }

    /// One entry; owners and times are zeros.
    fn entry(&mut self, path: &str, mode: u32, (major, minor): (u32, u32), bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        self.entries += 1;
        let links = 1;
        let fields = [self.entries, mode, 0, 0, links, 0, length, 0, 0, major, minor, path.len() as u32 + 1, 0];
        let mut header = String::from("070701");
        header.extend(fields.map(|field| format!("{field:08X}")));
        header.push_str(path);
        header.push('\0');
        self.padded(header.as_bytes())?;
        self.padded(bytes)
    }

    /// Headers and bytes end on multiples of four.
    fn padded(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)?;
        self.writer.write_all(&[0; 3][..bytes.len().next_multiple_of(4) - bytes.len()])
    }

    fn end(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.writer.flush()?;
        Ok(self.writer)
    }
}
