//! Forms that are written front to back, so that standard output is as good as a file.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use indicatif::ProgressBar;
use vmroot::export::{
    CpioOptions, OutputFile, Progress, TarOptions, export_compressed_cpio, export_compressed_tar, export_cpio,
    export_tar,
};
use vmroot::{Compression, EncoderOptions};

use super::Export;
use crate::args::ExportArguments;
use crate::output;
use crate::signals::Unfinished;

/// A tar.
pub(super) fn tar(export: &Export<'_>, compression: Option<Compression>) -> anyhow::Result<()> {
    let hook = |progress: Progress| export.advance(progress);
    let options = TarOptions { hook: Some(&hook), ..TarOptions::default() };
    let report = write(export.out, &export.bar, |writer| match compression {
        None => export_tar(export.root, writer, &options),
        Some(compression) => {
            export_compressed_tar(export.root, writer, &options, &encoder(export.options, compression))
        }
    })?;
    output::omissions("left out, a tar has no sockets", &report.omitted);
    Ok(())
}

/// An initramfs.
pub(super) fn cpio(export: &Export<'_>, compression: Option<Compression>) -> anyhow::Result<()> {
    let hook = |progress: Progress| export.advance(progress);
    let options = CpioOptions { hook: Some(&hook) };
    let report = write(export.out, &export.bar, |writer| match compression {
        None => export_cpio(export.root, writer, &options),
        Some(compression) => {
            export_compressed_cpio(export.root, writer, &options, &encoder(export.options, compression))
        }
    })?;
    output::omissions("xattrs left out, a cpio has none", &report.without_xattrs);
    output::omissions("time changed, a cpio has those from 1970 to 2106", &report.clamped_times);
    output::whole_seconds("a cpio", &report.without_nanoseconds);
    Ok(())
}

/// A compressor as the options have it, with all processors.
pub(super) fn encoder(options: &ExportArguments, compression: Compression) -> EncoderOptions {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    EncoderOptions { compression, level: options.level, threads }
}

/// Opens where the bytes go, has them written, and gives the file its name; gives what the writing reports.
pub(super) fn write<R>(
    out: &Path,
    bar: &ProgressBar,
    form: impl FnOnce(&mut dyn Write) -> vmroot::export::Result<(&mut dyn Write, R)>,
) -> anyhow::Result<R> {
    let report = if out == Path::new("-") {
        let mut stdout = io::stdout().lock();
        let (_, report) = form(&mut stdout).map_err(vmroot::Error::from)?;
        stdout.flush()?;
        report
    } else {
        let file = OutputFile::create(out).map_err(vmroot::Error::from)?;
        let _unfinished = file.temporary().map(Unfinished::new);
        let mut writer = BufWriter::with_capacity(1 << 20, file);
        let (_, report) = form(&mut writer).map_err(vmroot::Error::from)?;
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.commit().map_err(vmroot::Error::from)?;
        report
    };
    bar.finish_and_clear();
    Ok(report)
}
