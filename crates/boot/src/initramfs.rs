//! The archive that a kernel starts stage one from: it loads modules, mounts the root and starts its init.

use std::io::Write;

use serde::Serialize;
use vmroot_export::CpioWriter;

use crate::{Module, Result};

/// What stage one does, `/vmroot/stage.json` in its archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stage {
    /// Paths of the modules, in the order of loading.
    pub(crate) modules: Vec<String>,
    /// What becomes the root.
    pub(crate) root: StageRoot,
    /// What is started there.
    pub(crate) init: String,
    /// Whether a tmpfs is laid over the root.
    pub(crate) overlay: bool,
}

/// What stage one mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StageRoot {
    /// As in mount(2).
    pub(crate) fstype: String,
    /// A device, or the tag of a share.
    pub(crate) source: String,
    /// As in mount(2).
    pub(crate) options: String,
    /// Whether it is mounted read-only.
    pub(crate) read_only: bool,
}

/// Writes the archive: `init` as `/init`, the modules, and what to do with them.
///
/// # Errors
/// [`Error::Export`](crate::Error::Export), for what writing says.
pub(crate) fn write<W: Write>(writer: W, init: &[u8], modules: &[Module], stage: &Stage) -> Result<W> {
    let mut archive = CpioWriter::new(writer);
    archive.add_directory(b"dev", 0o755)?;
    // The kernel opens it for the first process, before anything is mounted.
    archive.add_device(b"dev/console", 0o020_600, (5, 1))?;
    archive.add_directory(b"vmroot", 0o755)?;
    archive.add_directory(b"vmroot/modules", 0o755)?;
    archive.add_file(b"init", 0o755, init)?;
    let document = serde_json::to_vec(stage).expect("a stage has no keys but strings");
    archive.add_file(b"vmroot/stage.json", 0o644, &document)?;
    for module in modules {
        archive.add_file(place_of(module).trim_start_matches('/').as_bytes(), 0o644, &module.bytes)?;
    }
    Ok(archive.finish()?.0)
}

/// Where the archive has a module.
pub(crate) fn place_of(module: &Module) -> String {
    format!("/vmroot/modules/{}.ko", module.name)
}
