//! Formats that are written sequentially, to a file or to standard output.

use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::Path;

use indicatif::ProgressBar;
use vmroot::export::{CpioOptions, TarOptions, write_cpio, write_tar};
use vmroot::output::{Omissions, OutputFile, Progress, Report};
use vmroot::{Compression, EncoderOptions};

use super::ExportJob;
use crate::args::ExportArguments;
use crate::signals::CleanupGuard;

/// Writes a tar.
pub(super) fn tar(export: &ExportJob<'_>, compression: Option<Compression>) -> anyhow::Result<Omissions> {
    let hook = |progress: Progress| export.advance(progress);
    let ExportArguments { sparse, strict, .. } = *export.options;
    let compression = compression.map(|compression| encoder(export.options, compression));
    let options = TarOptions { sparse, strict, compression, hook: Some(&hook), ..TarOptions::default() };
    let report = write_output(export.out, &export.bar, |writer| write_tar(export.root, writer, &options))?;
    Ok(report.omissions)
}

/// Writes an initramfs.
pub(super) fn cpio(export: &ExportJob<'_>, compression: Option<Compression>) -> anyhow::Result<Omissions> {
    let hook = |progress: Progress| export.advance(progress);
    let compression = compression.map(|compression| encoder(export.options, compression));
    let options = CpioOptions { compression, strict: export.options.strict, hook: Some(&hook) };
    let report = write_output(export.out, &export.bar, |writer| write_cpio(export.root, writer, &options))?;
    Ok(report.omissions)
}

/// Returns the options of the compressor, which uses all processors.
pub(super) fn encoder(options: &ExportArguments, compression: Compression) -> EncoderOptions {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    EncoderOptions { compression, level: options.level, threads }
}

/// Opens the output, calls `form` to write it, commits the file, and returns the report of `form`.
pub(super) fn write_output<E: Into<vmroot::Error>>(
    out: &Path,
    bar: &ProgressBar,
    form: impl FnOnce(&mut dyn Write) -> Result<Report, E>,
) -> anyhow::Result<Report> {
    let file = match out == Path::new("-") {
        true => OutputFile::over(io::stdout().as_fd().try_clone_to_owned()?.into(), Path::new("standard output")),
        false => OutputFile::create(out).map_err(vmroot::Error::from)?,
    };
    let _cleanup = file.temporary().map(CleanupGuard::new);
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let report = form(&mut writer).map_err(Into::into)?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.commit().map_err(vmroot::Error::from)?;
    bar.finish_and_clear();
    Ok(report)
}
