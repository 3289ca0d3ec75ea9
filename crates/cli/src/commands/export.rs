//! `export`: writes a root in another format.
//!
//! A format has a variant of [`Format`], a row in [`check`] for each of its options, and an arm in
//! [`write_format`]. The arm calls a function of a module: [`stream`] for sequential formats, [`directory`] for
//! directories, [`image`] for file systems. [`changes`] writes a layer instead of a root.

mod changes;
mod check;
mod directory;
mod image;
mod stream;

use std::ffi::OsStr;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Context as _;
use indicatif::ProgressBar;
use serde_json::json;
use vmroot::output::{Omissions, Omitted, OutputFile, Progress};
use vmroot::{Cancel, Compression, ContainerFs, Digest, RuntimeConfig, Top};

use crate::args::{ExportArguments, Format};
use crate::bars::{self, Bars};
use crate::context::Context;
use crate::exit::UsageError;
use crate::output;

/// Writes a root, or the changes of a writable view as a layer.
pub(crate) fn export(
    context: &Context,
    image: &OsStr,
    out: Option<&Path>,
    options: &ExportArguments,
) -> anyhow::Result<()> {
    match (&options.from_upper, out, options.format) {
        (None, Some(out), Some(format)) => {
            check::check_options(format, out, options)?;
            check::check_paths(format, out, options)?;
            let image =
                image.to_str().ok_or_else(|| UsageError(format!("{}: not the name of an image", image.display())))?;
            export_root(context, image, out, format, options)
        }
        // Without an image, the first argument is OUT.
        (Some(upper), None, _) => changes::export_changes(context, upper, image.as_ref(), options),
        _ => Err(UsageError("--from-upper DIR takes OUT, and no image".to_owned()).into()),
    }
}

fn export_root(
    context: &Context,
    image: &str,
    out: &Path,
    format: Format,
    options: &ExportArguments,
) -> anyhow::Result<()> {
    // This format is made from the image's files, not from its root.
    if format == Format::Prebaked {
        let omissions = directory::prebaked(context, image, out, options)?;
        print_omissions(context, out, &omissions)?;
        return match &options.config_out {
            Some(file) => write_config(file, &RuntimeConfig::read(&out.join("config.json"))?),
            None => Ok(()),
        };
    }
    let top = Top { strict: options.strict, ..options.top.top() };
    let opened = context.root_with(image, |config| options.init.add_to(top, config))?;
    // Before anything is written, so that an error leaves no files.
    let config = options.config_out.is_some().then(|| opened.config()).transpose()?;
    let bar = Bars::single(context.quiet(), 0);
    let (root, on_top, cancel) = (&opened.root, &opened.on_top[..], context.cancel());
    let mut omissions = write_format(&ExportJob { root, on_top, out, format, options, cancel, bar })?;
    output::print_omissions(&omissions);
    omissions.append(opened.omitted);
    print_omissions(context, out, &omissions)?;
    match options.config_out.as_deref().zip(config) {
        Some((file, config)) => write_config(file, &config),
        None => Ok(()),
    }
}

/// Prints the omissions as JSON with `--json`, unless the export goes to standard output.
fn print_omissions(context: &Context, out: &Path, omissions: &Omissions) -> anyhow::Result<()> {
    if context.json() && out != Path::new("-") {
        let listed = omissions.listed.iter().map(|one| {
            let (path, why) = (one.path.to_string_lossy(), one.why.to_string());
            let xattr = if let Omitted::Xattr(name) = &one.what { Some(name.to_string()) } else { None };
            json!({ "path": path, "what": one.what.to_string(), "xattr": xattr, "why": why })
        });
        let (listed, total) = (listed.collect::<Vec<_>>(), omissions.total);
        output::print_json(&json!({ "omissions": listed, "total": total, "cutTimes": omissions.cut_times }))?;
    }
    Ok(())
}

/// Writes how to run the image to a file.
fn write_config(file: &Path, config: &RuntimeConfig) -> anyhow::Result<()> {
    let mut output = OutputFile::create(file).map_err(vmroot::Error::from)?;
    output.write_all(config.to_json().as_bytes()).with_context(|| file.display().to_string())?;
    Ok(output.commit().map_err(vmroot::Error::from)?)
}

/// Writes a root in the format of the job.
fn write_format(export: &ExportJob<'_>) -> anyhow::Result<Omissions> {
    match export.format {
        Format::Prebaked => unreachable!("handled above"),
        Format::Dir => directory::directory(export),
        Format::Tar => stream::tar(export, None),
        Format::TarGz => stream::tar(export, Some(Compression::Gzip)),
        Format::TarZst => stream::tar(export, Some(Compression::Zstd)),
        Format::Cpio => stream::cpio(export, None),
        Format::CpioGz => stream::cpio(export, Some(Compression::Gzip)),
        Format::CpioZst => stream::cpio(export, Some(Compression::Zstd)),
        Format::Erofs => image::erofs(export),
        Format::ErofsMeta => image::erofs_meta(export),
        Format::Ext4 => image::ext4(export),
        Format::Squashfs => image::squashfs(export),
    }
}

/// A root to export, its destination and its options.
struct ExportJob<'a> {
    root: &'a ContainerFs,
    /// The diff ids of the layers on top, whose files are temporary.
    on_top: &'a [Digest],
    out: &'a Path,
    format: Format,
    options: &'a ExportArguments,
    cancel: Cancel,
    bar: ProgressBar,
}

impl ExportJob<'_> {
    /// Shows the progress of a writer, and stops the writer if the work is cancelled. This is the body of a progress
    /// hook.
    fn advance(&self, progress: Progress) -> ControlFlow<()> {
        bars::advance(&self.bar, &self.cancel, progress)
    }
}
