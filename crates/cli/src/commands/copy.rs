//! `copy`.

pub(super) mod side;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use vmroot::compress::Target;
use vmroot::copy::Compression;
use vmroot::transport::Format;
use vmroot::{
    CopyOptions, CopyReport, DestinationOptions, ImageName, LayerForm, ListForm, ManifestFormat, Platform, Reference,
    Selection,
};

use crate::args::{
    CompressFormat, CompressionArguments, CopyArguments, ImageArguments, ListArgument, ManifestFormatArgument,
    MultiArch, TransferArguments,
};
use crate::context::Context;
use crate::display::Action;
use crate::encryption;
use crate::environment::this_platform;
use crate::exit::{Advised, UsageError};
use crate::progress::{CopyTasks, StoreProgress};
use crate::{human, output, paths};

/// Copies an image, and prints what was done.
pub(crate) fn copy(
    context: &Context,
    source: &str,
    destination: &str,
    arguments: &CopyArguments,
) -> anyhow::Result<()> {
    let (from, to) = (parse_name(source)?, parse_name(destination)?);
    refuse_dash(&to)?;
    if let Some(path) = to.path() {
        paths::refuse_terminal(path)?;
    }
    // The only platform is that of the source, too.
    let context = &match &*platforms(&arguments.images) {
        [only] => context.with_platform(only.clone()),
        _ => context.with_purpose("vmroot copy"),
    };
    let mut options =
        copy_options(context, &arguments.images, &arguments.transfer, compression(&arguments.compression)?)?;
    options.gzip_level = match arguments.compression.dest_compress_format {
        None | Some(CompressFormat::Gzip) => arguments.compression.dest_compress_level,
        Some(CompressFormat::Zstd | CompressFormat::ZstdChunked) => None,
    };
    options.encryption = encryption::encryption(&arguments.encryption)?;
    let client = context.client()?;
    let reader = side::source_client(context, &client, &arguments.source)?;
    let reader = reader.with_progress(StoreProgress::of_work(Action::Load, ""));
    let parallel = arguments.transfer.image_parallel_copies;
    let writer = side::destination_client(context, &client, &arguments.destination.side, parallel)?;
    let source = reader.open_source_for(&from, &options.selection)?;
    let destination = writer.open_destination(&to, &open_options(&writer, &to, arguments)?)?;
    let digest_file = create_digest_file(arguments.digestfile.as_deref(), &arguments.transfer)?;
    let copier = writer.copier(options).with_progress(CopyTasks::progress());
    let report = copier.copy(&*source, &*destination).map_err(vmroot::Error::from)?;
    drop(copier);
    if let Some(mut file) = digest_file {
        file.write_all(report.manifest.digest.to_string().as_bytes()).context("--digestfile")?;
    }
    print_report(context, &from, &to, &report, arguments.transfer.dry_run)
}

/// Fails for a file or directory with the name `-`, which stands for standard output in other commands.
fn refuse_dash(to: &ImageName) -> anyhow::Result<()> {
    let ImageName::Archive { format, path, .. } = to else { return Ok(()) };
    if path != Path::new("-") {
        return Ok(());
    }
    let hint = match format {
        Format::DockerArchive | Format::OciArchive => {
            format!(
                "{format}:/dev/stdout writes to a pipe, and so does `vmroot save IMAGE -o -` for an image of the cache; \
                 {format}:./- names a file"
            )
        }
        _ => format!("{format}:./- names a directory"),
    };
    Err(Advised::usage(format!("{to}: `-` is not standard output here"), hint).into())
}

/// Creates the file of `--digestfile`, before the copy, so that a mistyped path is noticed. A dry run writes none.
pub(crate) fn create_digest_file(path: Option<&Path>, transfer: &TransferArguments) -> anyhow::Result<Option<File>> {
    let Some(path) = path.filter(|_| !transfer.dry_run) else { return Ok(None) };
    Ok(Some(File::create(path).with_context(|| format!("--digestfile {}", path.display()))?))
}

/// Parses a name with a transport.
pub(crate) fn parse_name(name: &str) -> anyhow::Result<ImageName> {
    Ok(ImageName::parse(name).map_err(vmroot::Error::from)?)
}

/// Returns the options of the library.
pub(crate) fn copy_options(
    context: &Context,
    images: &ImageArguments,
    transfer: &TransferArguments,
    compression: Option<Compression>,
) -> anyhow::Result<CopyOptions> {
    let mut options = CopyOptions::default();
    options.selection = selection(context, images)?;
    options.format = images.format.map(|format| match format {
        ManifestFormatArgument::Oci => ManifestFormat::Oci,
        ManifestFormatArgument::V2s2 => ManifestFormat::Schema2,
        ManifestFormatArgument::V2s1 => ManifestFormat::Schema1,
    });
    options.preserve_digests = images.preserve_digests;
    options.referrers = images.referrers;
    options.remove_signatures = images.remove_signatures;
    options.compression = compression;
    options.dry_run = transfer.dry_run;
    options.parallel = usize::from(transfer.image_parallel_copies);
    options.retries = transfer.retry_times;
    // As in skopeo, zero stands for the default.
    options.retry_delay = transfer.retry_delay.filter(|delay| !delay.is_zero());
    options.limits = context.limits();
    options.decryption_keys = context.decryption_keys();
    options.cancel = context.cancel();
    super::signers::add(context, &transfer.signing, &mut options)?;
    Ok(options)
}

fn selection(context: &Context, images: &ImageArguments) -> anyhow::Result<Selection> {
    let list = match images.list {
        ListArgument::Sparse => ListForm::Sparse,
        ListArgument::Strip => ListForm::Stripped,
    };
    let all = match images.multi_arch {
        Some(MultiArch::All) => Some(("--multi-arch all", Selection::All)),
        Some(MultiArch::IndexOnly) => Some(("--multi-arch index-only", Selection::IndexOnly)),
        _ => images.all.then_some(("--all", Selection::All)),
    };
    if let Some((option, selection)) = all {
        check_no_platform(context, images, option)?;
        return Ok(selection);
    }
    Ok(match &*platforms(images) {
        [platform] => Selection::Platform(platform.clone()),
        [] => Selection::Platform(context.requested_platform().cloned().unwrap_or_else(this_platform)),
        platforms => Selection::Platforms { platforms: platforms.to_vec(), list },
    })
}

/// Fails if `--arch` or `--platform` chooses one image, and another option all of a list. clap does not compare options before a command
/// with those after it. As in skopeo, `--override-arch` and the like have then no effect.
fn check_no_platform(context: &Context, images: &ImageArguments, option: &str) -> anyhow::Result<()> {
    if context.overrides_platform() {
        output::print_note(&format!(
            "--override-os, --override-arch and --override-variant have no effect with {option}"
        ));
    } else if context.requested_platform().is_some() {
        let given = if images.platform.is_empty() { "--arch" } else { "--platform" };
        return Err(UsageError(format!("{given} does not go with {option}")).into());
    }
    Ok(())
}

/// Returns the platforms of `--platform`, each once.
fn platforms(images: &ImageArguments) -> Vec<Platform> {
    let mut platforms: Vec<Platform> = Vec::new();
    for platform in &images.platform {
        if !platforms.iter().any(|known| known.normalised() == platform.normalised()) {
            platforms.push(platform.clone());
        }
    }
    platforms
}

fn compression(arguments: &CompressionArguments) -> anyhow::Result<Option<Compression>> {
    let level = arguments.dest_compress_level;
    let target = match arguments.dest_compress_format {
        Some(CompressFormat::Gzip) => Target::Gzip { level },
        Some(CompressFormat::Zstd) => Target::Zstd { level },
        Some(CompressFormat::ZstdChunked) => Target::ZstdChunked { level },
        // Layers that are plain become gzip layers by default.
        None => Target::Gzip { level },
    };
    target.check_level().map_err(|error| {
        Advised::usage(format!("--dest-compress-level: {error}"), "gzip has the levels 1 to 9, zstd has 1 to 20")
    })?;
    if arguments.dest_compress_format.is_none() {
        return Ok(None);
    }
    Ok(Some(Compression { target, force: arguments.dest_force_compress_format }))
}

fn open_options(
    client: &vmroot::Client,
    to: &ImageName,
    arguments: &CopyArguments,
) -> anyhow::Result<DestinationOptions> {
    let mut options = DestinationOptions::new(client.temporary_dir());
    options.dry_run = arguments.transfer.dry_run;
    options.additional_tags = additional_tags(to, &arguments.additional_tag)?;
    if !options.additional_tags.is_empty() && !takes_names(to) {
        output::print_note(&format!("note: --additional-tag is not used: {to} has no further names"));
    }
    options.shared_blob_dir.clone_from(&arguments.destination.side.shared_blob_dir);
    options.accept_uncompressed_layers = arguments.destination.dest_oci_accept_uncompressed_layers;
    options.dir_layers = match &arguments.compression {
        compression if compression.dest_compress => LayerForm::Compress,
        compression if compression.dest_decompress => LayerForm::Decompress,
        _ => LayerForm::Keep,
    };
    Ok(options)
}

/// Returns whether a destination gives an image further names.
fn takes_names(to: &ImageName) -> bool {
    let is_archive = matches!(to, ImageName::Archive { format: Format::DockerArchive, .. });
    is_archive || matches!(to, ImageName::Docker(_) | ImageName::Untagged(_))
}

/// Parses additional names: `NAME:TAG`, or for a registry also a tag alone. A registry's names are in one repository.
fn additional_tags(to: &ImageName, tags: &[String]) -> anyhow::Result<Vec<Reference>> {
    let takes_tags = match to {
        ImageName::Docker(_) | ImageName::Untagged(_) => true,
        ImageName::Archive { format, .. } => *format == Format::DockerArchive,
        _ => false,
    };
    if !takes_tags && !tags.is_empty() {
        let text = format!("--additional-tag: {to} has one name; docker:// and docker-archive: can have several");
        return Err(UsageError(text).into());
    }
    let parse = |tag: &str| {
        let usage = |reason: String| UsageError(format!("--additional-tag {tag}: {reason}"));
        match to {
            ImageName::Docker(own) | ImageName::Untagged(own) => {
                if !tag.contains([':', '/']) {
                    return own.with_tag(tag).map_err(|error| usage(error.to_string()));
                }
                let reference = Reference::parse(tag).map_err(|error| usage(error.to_string()))?;
                match reference.name() == own.name() {
                    true => Ok(reference),
                    false => Err(usage(format!("it is not in the repository {}", own.name()))),
                }
            }
            _ => Reference::parse(tag).map_err(|error| usage(error.to_string())),
        }
    };
    tags.iter().flat_map(|tags| tags.split(',')).map(|tag| Ok(parse(tag)?)).collect()
}

fn print_report(
    context: &Context,
    from: &ImageName,
    to: &ImageName,
    report: &CopyReport,
    is_dry_run: bool,
) -> anyhow::Result<()> {
    for loss in &report.losses {
        output::print_note(&format!("note: {loss}"));
    }
    let digest = report.manifest.digest;
    if context.json() {
        output::print_json(&json!({
            "source": from.to_string(),
            "destination": to.to_string(),
            "digest": digest,
            "sourceDigest": report.source,
            "mediaType": report.manifest.media_type,
            "present": report.was_present,
            "dryRun": is_dry_run,
            "blobs": {"written": report.written, "reused": report.reused, "bytes": report.bytes},
            "referrers": report.referrers,
            "notes": report.losses,
        }))?;
        return Ok(());
    }
    let text = match report {
        _ if is_dry_run => format!("would copy {from} to {to}"),
        report if report.was_present => format!("{to} has the image already: {digest}"),
        report => {
            let written = human::count(report.written, "blob");
            format!("copied {from} to {to}: {digest} ({written} written, {} reused)", report.reused)
        }
    };
    output::print_note(&text);
    Ok(())
}
