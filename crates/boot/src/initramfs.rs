//! The initramfs with stage one, which loads modules, mounts the root and starts its init.

use std::io::Write;

use serde::Serialize;
use vmroot_export::CpioWriter;

use crate::{Module, Result};

/// The instructions for stage one: `/vmroot/stage.json` in the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stage {
    /// The paths of the modules, in the order of loading.
    pub(crate) modules: Vec<String>,
    /// The root to mount.
    pub(crate) root: StageRoot,
    /// The path of the program that is started in the root.
    pub(crate) init: String,
    /// Whether a tmpfs is overlaid on the root.
    pub(crate) overlay: bool,
}

/// The root file system that stage one mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StageRoot {
    /// The file system type, as for mount(2).
    pub(crate) fstype: String,
    /// The device, or the tag of a share.
    pub(crate) source: String,
    /// The options, as for mount(2).
    pub(crate) options: String,
    /// Whether the root is mounted read-only.
    pub(crate) read_only: bool,
}

/// Writes the archive, and flushes the writer: `init` as `/init`, the modules, and the instructions.
///
/// # Errors
/// [`Error::Export`](crate::Error::Export) if writing fails.
pub(crate) fn write(writer: &mut dyn Write, init: &[u8], modules: &[Module], stage: &Stage) -> Result<()> {
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
    Ok(archive.finish()?)
}

/// Returns the path of a module in the archive.
pub(crate) fn place_of(module: &Module) -> String {
    format!("/vmroot/modules/{}.ko", module.name)
}
