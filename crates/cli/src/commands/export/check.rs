//! Checks of the options for each format.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::anyhow;
use clap::ValueEnum;
use vmroot::erofs::ErofsCompression;
use vmroot::ext4::MAX_LABEL;

use crate::args::{ExportArguments, FileCompression, Format};
use crate::exit::UsageError;
use crate::paths;

/// Returns the format of a layer: that of `--format`, or else that of a file name's extension, which for standard output
/// is a plain tar.
pub(super) fn layer_format(out: &Path, format: Option<Format>) -> anyhow::Result<Format> {
    let name = out.as_os_str().as_bytes();
    let formats = [
        (&b".tar"[..], Format::Tar),
        (b".tar.gz", Format::TarGz),
        (b".tgz", Format::TarGz),
        (b".tar.zst", Format::TarZst),
    ];
    let named = formats.into_iter().find(|(end, _)| name.ends_with(end)).map(|(_, format)| format);
    match format.or(named).or_else(|| (name == b"-").then_some(Format::Tar)) {
        Some(format @ (Format::Tar | Format::TarGz | Format::TarZst)) => Ok(format),
        Some(_) => Err(anyhow!(UsageError("--from-upper is for --format tar, tar.gz and tar.zst".to_owned()))),
        None => Err(anyhow!(UsageError(format!("{}: unknown extension; add --format tar", out.display())))),
    }
}

/// Fails for options that the format would ignore, and for values that it does not support.
pub(super) fn check_options(format: Format, out: &Path, options: &ExportArguments) -> anyhow::Result<()> {
    use Format as F;
    let rules: [(bool, &str, &[Format]); _] = [
        (out == Path::new("-"), "standard output", &[F::Tar, F::TarGz, F::TarZst, F::Cpio, F::CpioGz, F::CpioZst]),
        (options.rootless, "--rootless", &[F::Dir]),
        (options.sparse, "--sparse", &[F::Tar, F::TarGz, F::TarZst]),
        (options.compress.is_some(), "--compress", &[F::Erofs, F::Squashfs]),
        (
            options.level.is_some() && options.compress.is_none(),
            "--level without --compress",
            &[F::TarGz, F::TarZst, F::CpioGz, F::CpioZst],
        ),
        (options.level.is_some() && options.compress.is_some(), "--level with --compress", &[F::Erofs]),
        (options.size.is_some(), "--size", &[F::Ext4]),
        (options.free.is_some(), "--free", &[F::Ext4]),
        (options.journal, "--journal", &[F::Ext4]),
        (options.label.is_some(), "--label", &[F::Ext4]),
    ];
    match rules.iter().find(|(given, _, formats)| *given && !formats.contains(&format)) {
        Some((_, what, formats)) => Err(anyhow!(UsageError(format!("{what} is for --format {}", join_names(formats))))),
        None if options.config_out.as_deref() == Some(out) => {
            Err(anyhow!(UsageError(format!("--config-out {} is also the output of the image", out.display()))))
        }
        None if options.label.as_ref().is_some_and(|label| label.len() > MAX_LABEL) => {
            Err(anyhow!(UsageError(format!("--label has at most {MAX_LABEL} bytes"))))
        }
        None => file_compression(options).map(drop),
    }
}

/// Fails if an input cannot be read or the output cannot be written, before an image is fetched.
pub(super) fn check_paths(format: Format, out: &Path, options: &ExportArguments) -> anyhow::Result<()> {
    options.top.check()?;
    options.init.check()?;
    match format {
        Format::Dir => paths::check_empty_directory(out)?,
        Format::Prebaked => paths::check_directory(out)?,
        _ if out == Path::new("-") => {}
        _ => paths::check_file(out)?,
    }
    match options.config_out.as_deref() {
        // A file in the output directory: its directory may not exist yet.
        Some(file) if !file.starts_with(out) => paths::check_file(file),
        _ => Ok(()),
    }
}

/// Returns the compression of file contents, checked against the levels of the algorithm.
pub(super) fn file_compression(options: &ExportArguments) -> anyhow::Result<Option<ErofsCompression>> {
    let Some(algorithm) = options.compress else { return Ok(None) };
    let (default, highest) = match algorithm {
        FileCompression::Lz4 => (ErofsCompression::LZ4, ErofsCompression::HIGHEST_LZ4),
        FileCompression::Zstd => (ErofsCompression::ZSTD, ErofsCompression::HIGHEST_ZSTD),
    };
    let Some(level) = options.level else { return Ok(Some(default)) };
    match u8::try_from(level).ok().filter(|level| (1..=highest).contains(level)) {
        Some(level) => Ok(Some(default.with_level(level))),
        None => Err(anyhow!(UsageError(format!("--level is from 1 to {highest} here")))),
    }
}

/// Joins the names of formats as in "tar, tar.gz and tar.zst".
fn join_names(formats: &[Format]) -> String {
    let names: Vec<_> =
        formats.iter().filter_map(|format| Some(format.to_possible_value()?.get_name().to_owned())).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_names_are_joined_as_in_a_sentence() {
        assert_eq!(join_names(&[Format::Dir]), "dir");
        assert_eq!(join_names(&[Format::Tar, Format::TarGz]), "tar and tar.gz");
        assert_eq!(join_names(&[Format::Tar, Format::TarGz, Format::TarZst]), "tar, tar.gz and tar.zst");
    }
}
