//! Formats that a kernel mounts.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use vmroot::Cancel;
use vmroot::erofs::{ErofsOptions, VmdkAccess, write_erofs, write_erofs_meta};
use vmroot::export::{SquashfsCompression, SquashfsOptions, write_squashfs};
use vmroot::ext4::{Ext4Options, write_ext4};
use vmroot::output::{Copier, Holes, Hook, Omissions, OutputFile};

use super::ExportJob;
use super::check::file_compression;
use crate::args::FileCompression;
use crate::signals::CleanupGuard;

/// Writes an EROFS image in one file.
pub(super) fn erofs(export: &ExportJob<'_>) -> anyhow::Result<Omissions> {
    let compression = file_compression(export.options)?;
    let report = write_image(export, |file, hook| {
        let strict = export.options.strict;
        let options = ErofsOptions { compression, strict, hook: Some(hook), ..ErofsOptions::default() };
        write_erofs(export.root, file.file(), &options)
    })?;
    Ok(report.omissions)
}

/// Writes an ext4 image.
pub(super) fn ext4(export: &ExportJob<'_>) -> anyhow::Result<Omissions> {
    let report = write_image(export, |file, hook| {
        let options = Ext4Options {
            size: export.options.size,
            free: export.options.free.unwrap_or(0),
            journal: export.options.journal,
            label: export.options.label.as_deref().unwrap_or_default(),
            strict: export.options.strict,
            hook: Some(hook),
            ..Ext4Options::default()
        };
        write_ext4(export.root, file.file(), &options)
    })?;
    Ok(report.omissions)
}

/// Writes a squashfs image.
pub(super) fn squashfs(export: &ExportJob<'_>) -> anyhow::Result<Omissions> {
    let compression = match export.options.compress {
        Some(FileCompression::Lz4) => SquashfsCompression::Lz4,
        Some(FileCompression::Zstd) | None => SquashfsCompression::Zstd,
    };
    let report = write_image(export, |file, hook| {
        let strict = export.options.strict;
        let options = SquashfsOptions { compression, strict, hook: Some(hook), ..SquashfsOptions::default() };
        write_squashfs(export.root, file.path(), &options)
    })?;
    Ok(report.omissions)
}

/// Creates the output, calls `form` to write it, commits the file once it is complete, and returns the report of
/// `form`.
fn write_image<R, E: Into<vmroot::Error>>(
    export: &ExportJob<'_>,
    form: impl FnOnce(&OutputFile, Hook<'_>) -> Result<R, E>,
) -> anyhow::Result<R> {
    let file = OutputFile::create(export.out).map_err(vmroot::Error::from)?;
    let _cleanup = file.temporary().map(CleanupGuard::new);
    let report = form(&file, &|progress| export.advance(progress)).map_err(Into::into);
    let report = report.with_context(|| export.out.display().to_string())?;
    file.commit().map_err(vmroot::Error::from)?;
    export.bar.finish_and_clear();
    Ok(report)
}

/// Writes EROFS metadata, and beside it the descriptors that join it and the contents files to one disk.
pub(super) fn erofs_meta(export: &ExportJob<'_>) -> anyhow::Result<Omissions> {
    let image = OutputFile::create(export.out).map_err(vmroot::Error::from)?;
    let mut cleanup = vec![image.temporary().map(CleanupGuard::new)];
    let meta = write_erofs_meta(export.root, image.file()).map_err(vmroot::Error::from);
    let mut meta = meta.with_context(|| export.out.display().to_string())?;
    let incomplete = meta.omissions.check(export.options.strict, "EROFS");
    incomplete.map_err(|incomplete| vmroot::Error::from(vmroot::erofs::Error::from(incomplete)))?;
    let name = |suffix: &str| {
        let mut name = export.out.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    for device in &mut meta.devices {
        if export.on_top.contains(&device.diff_id) {
            // The layer's own file is temporary, and is removed when this process ends.
            let copy = name(&format!(".{}.contents", device.diff_id.hex()));
            device.path = copy_contents(&device.path, copy, &export.cancel)?;
        }
        device.path = std::path::absolute(&device.path)?;
    }
    // The descriptor names its neighbours without a directory, so that the files can be moved together.
    let beside = |path: &Path| path.file_name().map(PathBuf::from).unwrap_or_default();
    let vmdk = |access| meta.vmdk(&beside(&name(".head")), access).map_err(vmroot::Error::from);
    let (vmdk, rdonly) = (vmdk(VmdkAccess::ReadWrite)?, vmdk(VmdkAccess::ReadOnly)?);
    let devices = meta.device_list().map_err(vmroot::Error::from)?;
    let head = OutputFile::create(&name(".head")).map_err(vmroot::Error::from)?;
    cleanup.push(head.temporary().map(CleanupGuard::new));
    let written = meta.write_head(image.file(), head.file()).map_err(vmroot::Error::from);
    written.with_context(|| name(".head").display().to_string())?;
    let mut files = vec![head];
    for (suffix, bytes) in [(".devices", &devices), (".vmdk", &vmdk), (".rdonly.vmdk", &rdonly)] {
        let path = name(suffix);
        let mut file = OutputFile::create(&path).map_err(vmroot::Error::from)?;
        cleanup.push(file.temporary().map(CleanupGuard::new));
        file.write_all(bytes).with_context(|| path.display().to_string())?;
        files.push(file);
    }
    // Only once all are written: beside another image they would be wrong.
    for file in files.into_iter().chain([image]) {
        file.commit().map_err(vmroot::Error::from)?;
    }
    Ok(meta.omissions)
}

/// Copies a contents file, with shared blocks where the file system supports it, and returns the path of the copy.
fn copy_contents(contents: &Path, copy: PathBuf, cancel: &Cancel) -> anyhow::Result<PathBuf> {
    let failed = || contents.display().to_string();
    let source = File::open(contents).with_context(failed)?;
    let length = source.metadata().with_context(failed)?.len();
    let file = OutputFile::create(&copy).map_err(vmroot::Error::from)?;
    let _cleanup = file.temporary().map(CleanupGuard::new);
    let going_on = |_| cancel.control_flow();
    let copied = Copier::default().copy(&mut Holes::new(&source), 0..length, file.file(), going_on);
    if copied.with_context(|| copy.display().to_string())?.is_break() {
        return Err(vmroot::Error::from(vmroot::export::Error::Cancelled).into());
    }
    file.commit().map_err(vmroot::Error::from)?;
    Ok(copy)
}
