//! The initramfs with stage one, which loads modules, mounts the root and starts its init.

use std::io::Write;

use vmroot_container_fs::Device;
use vmroot_export::CpioWriter;
use vmroot_guest_config::{MODULES, STAGE, Stage};

use crate::{Module, Result};

/// Writes the archive, and flushes the writer: `init` as `/init`, the modules, and the instructions.
///
/// # Errors
/// [`Error::Export`](crate::Error::Export) if writing fails.
pub(crate) fn write(writer: &mut dyn Write, init: &[u8], modules: &[Module], stage: &Stage) -> Result<()> {
    let mut archive = CpioWriter::new(writer);
    archive.add_directory(b"dev", 0o755)?;
    // The kernel opens it for the first process, before anything is mounted.
    archive.add_device(b"dev/console", 0o020_600, Device { major: 5, minor: 1 })?;
    archive.add_directory(b"vmroot", 0o755)?;
    archive.add_directory(in_archive(MODULES), 0o755)?;
    archive.add_file(b"init", 0o755, init)?;
    let document = serde_json::to_vec(stage).expect("a stage has no keys but strings");
    archive.add_file(in_archive(STAGE), 0o644, &document)?;
    for module in modules {
        archive.add_file(in_archive(&place_of(module)), 0o644, &module.bytes)?;
    }
    Ok(archive.finish()?)
}

/// Returns the path of a module in the archive.
pub(crate) fn place_of(module: &Module) -> String {
    format!("{MODULES}/{}.ko", module.name)
}

/// Returns the name that the archive has for a path of the initramfs.
fn in_archive(path: &str) -> &[u8] {
    path.trim_start_matches('/').as_bytes()
}
