//! `export`: writes a root in another format, or the changes of a writable view as a layer.
//!
//! [`check`] rejects wrong options before anything is fetched. [`open`] opens the source, [`write()`] writes it, and
//! [`print_report`] prints the result. A format has a variant of [`Format`], a row in [`check::check_options`] for each
//! of its options, and an arm in [`write()`].

mod check;
pub(crate) mod root_hash;
mod verity;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::Context as _;
use clap::ValueEnum as _;
use serde::Serialize;
use serde_json::json;
use vmroot::changes::{Disk, LayerOptions, Marks, write_disk_layer, write_layer};
use vmroot::erofs::{ErofsMetaOptions, ErofsOptions, export_erofs, export_erofs_meta, write_erofs};
use vmroot::export::{
    CpioOptions, DirectoryOptions, SquashfsCompression, SquashfsOptions, TarOptions, export_directory, export_squashfs,
    write_cpio, write_squashfs, write_tar,
};
use vmroot::ext4::{Ext4Options, export_ext4, write_ext4};
use vmroot::output::{Error as FileError, Hook, Omissions, Omitted, OutputFile, Report, WriteProgress};
use vmroot::verity::KeptLeaves;
use vmroot::{Client, Compression, EncoderOptions, ExtendedRoot, Image, RuntimeConfig, Top};

use super::verity::TreeRecord;
use crate::args::{ExportArguments, FileCompression, Format};
use crate::context::{Context, OpenedRoot, print_notes};
use crate::display::{Action, LONG, NewTask, Outcome};
use crate::exit::{Advised, UsageError};
use crate::progress::StoreProgress;
use crate::{output, progress};
use verity::TreePlan;

/// Writes a root, or the changes of a writable view as a layer.
pub(crate) fn export(
    context: &Context,
    image: &OsStr,
    out: Option<&Path>,
    options: &ExportArguments,
) -> anyhow::Result<()> {
    let (out, format) = match (&options.from_upper, out, options.format) {
        (None, Some(out), format) => (out, check::root_format(out, format)?),
        // Without an image, the first argument is OUT.
        (Some(_), None, format) => (Path::new(image), check::layer_format(Path::new(image), format)?),
        _ => return Err(UsageError("--from-upper DIR takes OUT, and no image".to_owned()).into()),
    };
    check::check_options(format, out, options)?;
    check::check_paths(format, out, options)?;
    // A prebaked directory is opened without a client, which would do this.
    context.cancel_on_interrupt()?;
    let source = open(context, image, format, options)?;
    // Before anything is written, so that an error leaves no files.
    let config = match &source {
        Source::Root(opened) if options.config_out.is_some() => Some(opened.config()?),
        _ => None,
    };
    // The client shows the progress of files of the cache itself.
    let has_own = !matches!(source, Source::Image(_));
    let task = has_own.then(|| NewTask::new(Action::Export, name_of(out)).start(LONG));
    let cancel = context.cancel();
    let hook = |progress: WriteProgress| progress::advance(task.as_ref(), &cancel, progress);
    let cancel_only = verity::cancel_only(&cancel);
    let tree = TreePlan::new(format, out, options, Hook::new(&cancel_only));
    let (report, tree) = match &tree {
        Some(tree) => {
            let (report, tree) = write_with_tree(&source, format, out, options, tree, Hook::new(&hook))?;
            (report, Some(tree))
        }
        None => (write(&source, format, out, options, Hook::new(&hook))?, None),
    };
    task.into_iter().for_each(|task| task.end(Outcome::Done));
    let advise_rootless = format == Format::Dir && !options.rootless;
    print_report(context, (out, format), report, tree.as_ref(), source.omitted(), advise_rootless)?;
    let Some(file) = &options.config_out else { return Ok(()) };
    match config {
        Some(config) => write_config(file, &config, tree.as_ref()),
        None => write_config(file, &RuntimeConfig::read(&out.join("config.json"))?, None),
    }
}

/// The source of an export.
enum Source<'a> {
    /// A merged root.
    Root(Box<OpenedRoot>),
    /// The files of an image in the cache, and the layers on top of it.
    Image(Box<(Client, Image, ExtendedRoot)>),
    /// The upper directory of an overlay.
    Upper(&'a Path),
    /// The disk of a guest, and the root that it began with.
    Disk(Box<(Disk, Option<OpenedRoot>)>),
}

impl Source<'_> {
    /// Returns the omissions of the layers on top, which are printed already.
    fn omitted(&self) -> Omissions {
        match self {
            Self::Root(opened) => opened.omitted.clone(),
            Self::Image(image) => image.2.omitted().clone(),
            Self::Upper(_) | Self::Disk(_) => Omissions::default(),
        }
    }
}

/// Returns the name of the output, for progress.
fn name_of(out: &Path) -> String {
    match out.file_name() {
        Some(name) if out != Path::new("-") => name.to_string_lossy().into_owned(),
        Some(_) => "standard output".to_owned(),
        None => out.display().to_string(),
    }
}

/// Opens the source of the format.
fn open<'a>(
    context: &Context,
    image: &OsStr,
    format: Format,
    options: &'a ExportArguments,
) -> anyhow::Result<Source<'a>> {
    if let Some(upper) = &options.from_upper {
        return open_upper(context, upper, options);
    }
    let image = image.to_str().ok_or_else(|| UsageError(format!("{}: not the name of an image", image.display())))?;
    let top = Top { strict: options.strict, ..options.top.top() };
    if format != Format::Prebaked {
        let opened = context.root_with(image, |config| options.init.add_to(top, config))?;
        return Ok(Source::Root(Box::new(opened)));
    }
    let client = context.client()?;
    let image = context.image(&client, image)?;
    let top = options.init.add_to(top, &RuntimeConfig::unresolved(image.config()))?;
    let on_top = Context::put_top(&client, client.root(&image)?, &top)?;
    print_notes(&on_top);
    Ok(Source::Image(Box::new((client, image, on_top))))
}

/// Opens the upper directory of an overlay, or the disk of a guest.
fn open_upper<'a>(context: &Context, upper: &'a Path, options: &'a ExportArguments) -> anyhow::Result<Source<'a>> {
    let is_directory = fs::metadata(upper).map_err(FileError::on("open", upper)).map_err(vmroot::Error::from)?.is_dir();
    if is_directory && options.base.is_some() {
        let hint = "an upper directory has the changes itself; omit --base";
        return Err(Advised::usage("--base is for the disk of a guest with a whole root", hint).into());
    }
    if is_directory {
        return Ok(Source::Upper(upper));
    }
    let disk = Disk::open(upper).map_err(vmroot::Error::from)?;
    let base = options.base.as_deref().map(|base| context.open(base)).transpose()?;
    Ok(Source::Disk(Box::new((disk, base))))
}

/// Writes the source in the format.
fn write(
    source: &Source<'_>,
    format: Format,
    out: &Path,
    options: &ExportArguments,
    hook: Hook<'_>,
) -> anyhow::Result<Report> {
    let ExportArguments { sparse, strict, rootless, .. } = *options;
    let (compression, hook) = (encoder(format, options), Some(hook));
    let opened = match source {
        Source::Root(opened) => opened,
        Source::Image(image) => {
            let (client, image, on_top) = &**image;
            let progress = StoreProgress::of_work(Action::Export, &name_of(out));
            return Ok(client.with_progress(progress).export_prebaked_root(image, on_top, out)?);
        }
        Source::Upper(upper) => {
            let marks = if options.userxattr { Marks::UserXattr } else { Marks::Upper };
            // An overlay takes the attributes of its root directory from its upper directory.
            let layer =
                LayerOptions { with_root: true, marks, sparse, compression, strict, hook, ..Default::default() };
            let written = open_stream(out)?.write_with(|writer| write_layer(upper, writer, &layer));
            return Ok(written.map_err(vmroot::Error::from)?);
        }
        Source::Disk(source) => {
            let (disk, base) = &**source;
            let base = base.as_ref().map(|opened| &opened.root);
            let layer = LayerOptions { with_root: true, sparse, compression, strict, hook, ..Default::default() };
            let written = open_stream(out)?.write_with(|writer| write_disk_layer(disk, base, writer, &layer));
            return Ok(written.map_err(vmroot::Error::from)?);
        }
    };
    let root = &opened.root;
    let report: vmroot::Result<Report> = match format {
        Format::Prebaked => unreachable!("its source is an image"),
        Format::Dir => {
            let options = DirectoryOptions { rootless, strict, hook, ..DirectoryOptions::default() };
            export_directory(root, out, &options).map_err(Into::into)
        }
        Format::Tar | Format::TarGz | Format::TarZst => {
            let tar = TarOptions { sparse, compression, strict, hook, ..TarOptions::default() };
            open_stream(out)?.write_with(|writer| write_tar(root, writer, &tar)).map_err(Into::into)
        }
        Format::Cpio | Format::CpioGz | Format::CpioZst => {
            let cpio = CpioOptions { compression, strict, hook };
            open_stream(out)?.write_with(|writer| write_cpio(root, writer, &cpio)).map_err(Into::into)
        }
        Format::Erofs => export_erofs(root, out, &erofs_options(options, hook)?).map_err(Into::into),
        Format::ErofsMeta => {
            // The contents files of the layers on top are removed when this process ends.
            let options = ErofsMetaOptions { copied: &opened.on_top, strict, hook };
            export_erofs_meta(root, out, &options).map_err(Into::into)
        }
        Format::Ext4 => export_ext4(root, out, &ext4_options(options, hook)).map_err(Into::into),
        Format::Squashfs => export_squashfs(root, out, &squashfs_options(options, hook)).map_err(Into::into),
    };
    Ok(report?)
}

/// Writes the source in a format of disk images, with its hash tree.
fn write_with_tree(
    source: &Source<'_>,
    format: Format,
    out: &Path,
    options: &ExportArguments,
    tree: &TreePlan<'_>,
    hook: Hook<'_>,
) -> anyhow::Result<(Report, TreeRecord)> {
    let Source::Root(opened) = source else { unreachable!("prebaked directories and layers have no hash tree") };
    let (root, hook) = (&opened.root, Some(hook));
    let create = || OutputFile::create(out).map_err(vmroot::Error::from);
    let leaves = match &opened.image {
        // Its blocks are compressed.
        Some(used) if format != Format::Squashfs && options.compress.is_none() => used.client.leaves(root)?,
        _ => KeptLeaves::default(),
    };
    match format {
        Format::Erofs => {
            let erofs = erofs_options(options, hook)?;
            tree.write(out, create()?, (root, &leaves), |image, runs| {
                Ok(write_erofs(root, image.file(), &ErofsOptions { runs: Some(runs), ..erofs })?)
            })
        }
        Format::ErofsMeta => {
            let options = ErofsMetaOptions { copied: &opened.on_top, strict: options.strict, hook };
            tree.write_erofs_meta(root, &leaves, out, &options)
        }
        Format::Ext4 => {
            let ext4 = ext4_options(options, hook);
            tree.write(out, create()?, (root, &leaves), |image, runs| {
                Ok(write_ext4(root, image.file(), &Ext4Options { runs: Some(runs), ..ext4 })?)
            })
        }
        Format::Squashfs => {
            let squashfs = squashfs_options(options, hook);
            // sqfstar opens the file by its name.
            let image = OutputFile::create_named(out).map_err(vmroot::Error::from)?;
            tree.write(out, image, (root, &leaves), |image, _| Ok(write_squashfs(root, image.path(), &squashfs)?))
        }
        _ => unreachable!("`check::check_options` refuses other formats"),
    }
}

fn erofs_options<'a>(options: &ExportArguments, hook: Option<Hook<'a>>) -> anyhow::Result<ErofsOptions<'a>> {
    let compression = check::file_compression(options)?;
    Ok(ErofsOptions { compression, strict: options.strict, hook, ..ErofsOptions::default() })
}

fn ext4_options<'a>(options: &'a ExportArguments, hook: Option<Hook<'a>>) -> Ext4Options<'a> {
    Ext4Options {
        size: options.size,
        free: options.free.unwrap_or(0),
        journal: options.journal,
        label: options.label.as_deref().unwrap_or_default(),
        strict: options.strict,
        hook,
        ..Ext4Options::default()
    }
}

fn squashfs_options<'a>(options: &ExportArguments, hook: Option<Hook<'a>>) -> SquashfsOptions<'a> {
    let compression = match options.compress {
        Some(FileCompression::Lz4) => SquashfsCompression::Lz4,
        Some(FileCompression::Zstd) | None => SquashfsCompression::Zstd,
    };
    SquashfsOptions { compression, strict: options.strict, hook, ..SquashfsOptions::default() }
}

/// Opens the output of a format that is written sequentially. `-` is standard output.
pub(super) fn open_stream(out: &Path) -> vmroot::Result<OutputFile> {
    if out != Path::new("-") {
        return Ok(OutputFile::create(out)?);
    }
    let name = Path::new("standard output");
    let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(FileError::on("write", name))?;
    Ok(OutputFile::over(stdout.into(), name))
}

/// Returns the options of the compressor for a format that is compressed as a whole. It uses all processors.
fn encoder(format: Format, options: &ExportArguments) -> Option<EncoderOptions> {
    let compression = match format {
        Format::TarGz | Format::CpioGz => Compression::Gzip,
        Format::TarZst | Format::CpioZst => Compression::Zstd,
        _ => return None,
    };
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    Some(EncoderOptions { compression, level: options.level, threads })
}

/// Prints the omissions as notes and, unless the export goes to standard output, the report as JSON with `--json`. The
/// JSON includes the omissions `above` of the layers on top.
fn print_report(
    context: &Context,
    (out, format): (&Path, Format),
    mut report: Report,
    tree: Option<&TreeRecord>,
    above: Omissions,
    advise_rootless: bool,
) -> anyhow::Result<()> {
    if advise_rootless && report.omissions.total > 0 {
        output::print_note("--rootless records owners, modes and devices in xattrs");
    }
    output::print_omissions(&report.omissions);
    if !context.json() || out == Path::new("-") {
        return Ok(tree.and_then(|tree| tree.root_hash.as_ref()).map_or(Ok(()), output::print_line)?);
    }
    report.omissions.append(above);
    let mut json = report_json(out, &report);
    json["format"] = format.to_possible_value().map(|format| format.get_name().to_owned()).into();
    json["verity"] = serde_json::to_value(tree)?;
    Ok(output::print_json(&json)?)
}

/// Returns the JSON of a report about writing `out`.
pub(super) fn report_json(out: &Path, report: &Report) -> serde_json::Value {
    let listed = report.omissions.listed.iter().map(|one| {
        let (path, why) = (one.path.to_string_lossy(), one.why.to_string());
        let xattr = if let Omitted::Xattr(name) = &one.what { Some(name.to_string()) } else { None };
        json!({ "path": path, "what": one.what.to_string(), "xattr": xattr, "why": why })
    });
    let files = report.files.iter().map(|file| file.to_string_lossy());
    json!({
        "output": out.display().to_string(),
        "bytes": report.bytes,
        "files": files.collect::<Vec<_>>(),
        "omissions": listed.collect::<Vec<_>>(),
        "total": report.omissions.total,
        "cutTimes": report.omissions.cut_times,
    })
}

/// The config of an image with a hash tree.
#[derive(Serialize)]
struct ConfigWithTree<'a> {
    #[serde(flatten)]
    config: &'a RuntimeConfig,
    verity: &'a TreeRecord,
}

/// Writes how to run the image to a file, and the hash tree of the image.
fn write_config(file: &Path, config: &RuntimeConfig, tree: Option<&TreeRecord>) -> anyhow::Result<()> {
    let text = match tree {
        Some(verity) => serde_json::to_string_pretty(&ConfigWithTree { config, verity })? + "\n",
        None => config.to_json(),
    };
    let mut output = OutputFile::create(file).map_err(vmroot::Error::from)?;
    output.write_all(text.as_bytes()).with_context(|| file.display().to_string())?;
    Ok(output.commit().map_err(vmroot::Error::from)?)
}
