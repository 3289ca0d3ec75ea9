//! `export`: a root in another form.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::anyhow;
use indicatif::ProgressBar;
use vmroot::export::{
    DirectoryOptions, OutputFile, Progress, TarOptions, TarReport, export_compressed_tar, export_directory, export_tar,
};
use vmroot::{Cancel, Compression, ContainerFs, EncoderOptions};

use crate::args::{ExportArguments, Format};
use crate::bars::Bars;
use crate::context::Context;
use crate::exit::Usage;
use crate::output;

/// Refusals that are shown; the others are counted.
const SHOWN: usize = 20;

/// Writes a root out.
pub(crate) fn export(context: &Context, image: &str, out: &Path, options: &ExportArguments) -> anyhow::Result<()> {
    check(out, options)?;
    if options.format == Format::Prebaked {
        return prebaked(context, image, out);
    }
    let opened = context.root(image)?;
    let export = Export { context, root: &opened.root, out, bar: Bars::single(context.quiet(), 0) };
    let compressed = |compression| EncoderOptions {
        compression,
        level: options.level,
        threads: std::thread::available_parallelism().map_or(1, |count| count.get() as u32),
    };
    match options.format {
        Format::Dir => export.directory(options.rootless),
        Format::Tar => export.tar(None),
        Format::TarGz => export.tar(Some(compressed(Compression::Gzip))),
        Format::TarZst => export.tar(Some(compressed(Compression::Zstd))),
        Format::Prebaked => unreachable!("handled above"),
    }
}

fn check(out: &Path, options: &ExportArguments) -> anyhow::Result<()> {
    let usage = |text: &str| Err(anyhow!(Usage(text.to_owned())));
    let tar = matches!(options.format, Format::Tar | Format::TarGz | Format::TarZst);
    match () {
        () if out == Path::new("-") && !tar => usage("only a tar can be written to standard output"),
        () if options.rootless && options.format != Format::Dir => usage("--rootless is for --format dir"),
        () if options.level.is_some() && !matches!(options.format, Format::TarGz | Format::TarZst) => {
            usage("--level is for --format tar.gz and tar.zst")
        }
        () => Ok(()),
    }
}

fn prebaked(context: &Context, image: &str, out: &Path) -> anyhow::Result<()> {
    let client = context.client()?;
    let image = context.image(&client, image)?;
    Ok(vmroot::export_to_dir(&client, &image, out)?)
}

struct Export<'a> {
    context: &'a Context,
    root: &'a ContainerFs,
    out: &'a Path,
    bar: ProgressBar,
}

impl Export<'_> {
    fn directory(&self, rootless: bool) -> anyhow::Result<()> {
        let cancel = self.context.cancel();
        let hook = |progress: Progress| self.advance(&cancel, progress);
        let options = DirectoryOptions { rootless, hook: Some(&hook), ..DirectoryOptions::default() };
        let report = export_directory(self.root, self.out, &options).map_err(vmroot::Error::from)?;
        self.bar.finish_and_clear();
        let refusals = &report.refusals;
        for refusal in refusals.listed.iter().take(SHOWN) {
            output::note(&format!("not as in the image: {refusal}"));
        }
        let shown = refusals.listed.len().min(SHOWN) as u64;
        if refusals.total > shown {
            output::note(&format!("and {} more; --rootless records them in xattrs", refusals.total - shown));
        }
        Ok(())
    }

    fn tar(&self, compression: Option<EncoderOptions>) -> anyhow::Result<()> {
        let report = if self.out == Path::new("-") {
            let mut writer = self.write_tar(io::stdout().lock(), compression)?;
            writer.0.flush()?;
            writer.1
        } else {
            let file = OutputFile::create(self.out).map_err(vmroot::Error::from)?;
            let (writer, report) = self.write_tar(BufWriter::with_capacity(1 << 20, file), compression)?;
            let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.commit().map_err(vmroot::Error::from)?;
            report
        };
        self.bar.finish_and_clear();
        for path in report.omitted_paths.iter().take(SHOWN) {
            output::note(&format!("left out, a tar has no sockets: {}", path.display()));
        }
        Ok(())
    }

    fn write_tar<W: Write>(&self, writer: W, compression: Option<EncoderOptions>) -> anyhow::Result<(W, TarReport)> {
        let cancel = self.context.cancel();
        let hook = |progress: Progress| self.advance(&cancel, progress);
        let options = TarOptions { hook: Some(&hook) };
        let written = match compression {
            None => export_tar(self.root, writer, &options),
            Some(compression) => export_compressed_tar(self.root, writer, &options, &compression),
        };
        Ok(written.map_err(vmroot::Error::from)?)
    }

    fn advance(&self, cancel: &Cancel, progress: Progress) -> ControlFlow<()> {
        self.bar.set_length(progress.total_bytes);
        self.bar.set_position(progress.bytes);
        if cancel.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
