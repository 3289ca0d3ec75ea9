//! `export`: a root in another form.
//!
//! A form is a [`Format`](crate::args::Format), a row for each option that it takes in [`check`], and an arm in
//! [`write`], which calls a function of one of the modules: [`stream`] for what is written front to back, [`directory`]
//! for what is a directory, [`image`] for what a kernel mounts. What [`changes`] writes is no root but a layer.

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
use crate::exit::Usage;
use crate::output;

/// Writes a root out, or what was changed on a view of one.
pub(crate) fn export(
    context: &Context,
    image: &OsStr,
    out: Option<&Path>,
    options: &ExportArguments,
) -> anyhow::Result<()> {
    match (&options.from_upper, out, options.format) {
        (None, Some(out), Some(format)) => {
            check::check(format, out, options)?;
            check::check_places(format, out, options)?;
            let image = image.to_str().ok_or_else(|| Usage(format!("{}: no name of an image", image.display())))?;
            export_root(context, image, out, format, options)
        }
        // There is no image, so what stands in its place is the only name there is.
        (Some(upper), None, _) => changes::changes(context, upper, image.as_ref(), options),
        _ => Err(Usage("--from-upper DIR takes OUT and no image".to_owned()).into()),
    }
}

fn export_root(
    context: &Context,
    image: &str,
    out: &Path,
    format: Format,
    options: &ExportArguments,
) -> anyhow::Result<()> {
    // The one form that is made of the image's files, not of its root.
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
    // What cannot be had is said before anything is written.
    let config = options.config_out.is_some().then(|| opened.config()).transpose()?;
    let bar = Bars::single(context.quiet(), 0);
    let (root, on_top, cancel) = (&opened.root, &opened.on_top[..], context.cancel());
    let mut omissions = write(&Export { root, on_top, out, format, options, cancel, bar })?;
    output::omissions(&omissions);
    omissions.append(opened.omitted);
    print_omissions(context, out, &omissions)?;
    match options.config_out.as_deref().zip(config) {
        Some((file, config)) => write_config(file, &config),
        None => Ok(()),
    }
}

/// Prints what is not as in the image as JSON, if that is asked for and standard output is free.
fn print_omissions(context: &Context, out: &Path, omissions: &Omissions) -> anyhow::Result<()> {
    if context.json() && out != Path::new("-") {
        let listed = omissions.listed.iter().map(|one| {
            let (path, why) = (one.path.to_string_lossy(), one.why.to_string());
            let xattr = if let Omitted::Xattr(name) = &one.what { Some(name.to_string()) } else { None };
            json!({ "path": path, "what": one.what.to_string(), "xattr": xattr, "why": why })
        });
        let (listed, total) = (listed.collect::<Vec<_>>(), omissions.total);
        output::json(&json!({ "omissions": listed, "total": total, "cutTimes": omissions.cut_times }))?;
    }
    Ok(())
}

/// How to run what was exported, beside it.
fn write_config(file: &Path, config: &RuntimeConfig) -> anyhow::Result<()> {
    let mut output = OutputFile::create(file).map_err(vmroot::Error::from)?;
    output.write_all(config.to_json().as_bytes()).with_context(|| file.display().to_string())?;
    Ok(output.commit().map_err(vmroot::Error::from)?)
}

/// Every form that is made of a root.
fn write(export: &Export<'_>) -> anyhow::Result<Omissions> {
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

/// What is written, where to, and how.
struct Export<'a> {
    root: &'a ContainerFs,
    /// Layers on top, whose files are temporary.
    on_top: &'a [Digest],
    out: &'a Path,
    format: Format,
    options: &'a ExportArguments,
    cancel: Cancel,
    bar: ProgressBar,
}

impl Export<'_> {
    /// The hook of a writer: shows how far it is, and stops it on Ctrl-C.
    fn advance(&self, progress: Progress) -> ControlFlow<()> {
        bars::advance(&self.bar, &self.cancel, progress)
    }
}
