//! Which options a form takes.

use std::path::Path;

use anyhow::anyhow;
use clap::ValueEnum;
use vmroot::disk_image::ErofsCompression;

use crate::args::{ExportArguments, FileCompression, Format};
use crate::exit::Usage;
use crate::places;

/// Bytes of a label that ext4 has room for.
const MAX_LABEL: usize = 16;

/// Refuses what the form would not heed.
pub(super) fn check(format: Format, out: &Path, options: &ExportArguments) -> anyhow::Result<()> {
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
        Some((_, what, formats)) => Err(anyhow!(Usage(format!("{what} is for --format {}", list(formats))))),
        None if options.config_out.as_deref() == Some(out) => {
            Err(anyhow!(Usage(format!("--config-out {} is what the image is written to", out.display()))))
        }
        None if options.label.as_ref().is_some_and(|label| label.len() > MAX_LABEL) => {
            Err(anyhow!(Usage(format!("--label has at most {MAX_LABEL} bytes"))))
        }
        None => file_compression(options).map(drop),
    }
}

/// Refuses what can be neither read nor written, before an image is fetched for it.
pub(super) fn check_places(format: Format, out: &Path, options: &ExportArguments) -> anyhow::Result<()> {
    options.top.check()?;
    options.init.check()?;
    match format {
        Format::Dir => places::check_empty_directory(out)?,
        Format::Prebaked => places::check_directory(out)?,
        _ if out == Path::new("-") => {}
        _ => places::check_file(out)?,
    }
    match options.config_out.as_deref() {
        // It may lie in the directory that is to be made.
        Some(file) if !file.starts_with(out) => places::check_file(file),
        _ => Ok(()),
    }
}

/// How the contents of files are to be compressed.
pub(super) fn file_compression(options: &ExportArguments) -> anyhow::Result<Option<ErofsCompression>> {
    let Some(algorithm) = options.compress else { return Ok(None) };
    let (default, highest) = match algorithm {
        FileCompression::Lz4 => (ErofsCompression::LZ4, ErofsCompression::HIGHEST_LZ4),
        FileCompression::Zstd => (ErofsCompression::ZSTD, ErofsCompression::HIGHEST_ZSTD),
    };
    let Some(level) = options.level else { return Ok(Some(default)) };
    match u8::try_from(level).ok().filter(|level| (1..=highest).contains(level)) {
        Some(level) => Ok(Some(default.with_level(level))),
        None => Err(anyhow!(Usage(format!("--level is from 1 to {highest} here")))),
    }
}

/// As in "tar, tar.gz and tar.zst".
fn list(formats: &[Format]) -> String {
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
    fn forms_are_listed_as_in_a_sentence() {
        assert_eq!(list(&[Format::Dir]), "dir");
        assert_eq!(list(&[Format::Tar, Format::TarGz]), "tar and tar.gz");
        assert_eq!(list(&[Format::Tar, Format::TarGz, Format::TarZst]), "tar, tar.gz and tar.zst");
    }
}
