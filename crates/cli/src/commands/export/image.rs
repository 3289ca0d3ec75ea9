//! Forms that a kernel mounts.

use std::io::Write;
use std::path::{Path, PathBuf};

use vmroot::disk_image::{ErofsOptions, write_erofs, write_erofs_meta};
use vmroot::export::{OutputFile, Progress};

use super::Export;

/// EROFS in one file.
pub(super) fn erofs(export: &Export<'_>) -> anyhow::Result<()> {
    let hook = |progress: Progress| export.advance(progress);
    let file = OutputFile::create(export.out).map_err(vmroot::Error::from)?;
    let options = ErofsOptions { hook: Some(&hook), ..ErofsOptions::default() };
    write_erofs(export.root, file.file(), &options).map_err(vmroot::Error::from)?;
    file.commit().map_err(vmroot::Error::from)?;
    export.bar.finish_and_clear();
    Ok(())
}

/// EROFS metadata, and beside it what makes one disk of it and the contents.
pub(super) fn erofs_meta(export: &Export<'_>) -> anyhow::Result<()> {
    let image = OutputFile::create(export.out).map_err(vmroot::Error::from)?;
    let mut meta = write_erofs_meta(export.root, image.file()).map_err(vmroot::Error::from)?;
    for device in &mut meta.devices {
        device.path = std::path::absolute(&device.path)?;
    }
    let name = |suffix: &str| {
        let mut name = export.out.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    // The descriptor names what lies beside it, so that they can be moved together.
    let beside = |path: &Path| path.file_name().map(PathBuf::from).unwrap_or_default();
    let vmdk = meta.vmdk(&beside(&name(".head")), &beside(export.out)).map_err(vmroot::Error::from)?;
    let devices = meta.device_list().map_err(vmroot::Error::from)?;
    for (suffix, bytes) in [(".head", &meta.head[..]), (".devices", &devices), (".vmdk", &vmdk)] {
        let mut file = OutputFile::create(&name(suffix)).map_err(vmroot::Error::from)?;
        file.write_all(bytes)?;
        file.commit().map_err(vmroot::Error::from)?;
    }
    Ok(image.commit().map_err(vmroot::Error::from)?)
}
