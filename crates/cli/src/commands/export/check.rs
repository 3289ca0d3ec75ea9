//! Checks of the options for each format.

use std::iter;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::ValueEnum;
use vmroot::erofs::{ErofsCompression, SIDE_FILES};
use vmroot::ext4::MAX_LABEL;

use crate::args::{ExportArguments, FileCompression, Format};
use crate::exit::{Advised, UsageError};
use crate::{output, paths};

/// Returns the format of an image's root: that of `--format`, or else that of a file name's extension, which for
/// standard output is a plain tar.
pub(super) fn root_format(out: &Path, format: Option<Format>) -> anyhow::Result<Format> {
    format.or_else(|| named_format(out)).ok_or_else(|| {
        let names = Format::value_variants()
            .iter()
            .filter_map(|format| Some(format.to_possible_value()?.get_name().to_owned()));
        let names = names.collect::<Vec<_>>().join(", ");
        let message = format!("{}: the name has no extension of a format", out.display());
        Advised::usage(message, format!("add --format with one of {names}")).into()
    })
}

/// Returns the format of a layer, as [`root_format`] does. It is a tar.
pub(super) fn layer_format(out: &Path, format: Option<Format>) -> anyhow::Result<Format> {
    match format.or_else(|| named_format(out)) {
        Some(format @ (Format::Tar | Format::TarGz | Format::TarZst)) => Ok(format),
        Some(_) => {
            let hint = "a layer is a tar; name OUT so, or add --format tar";
            Err(Advised::usage("--from-upper is for --format tar, tar.gz and tar.zst", hint).into())
        }
        None => {
            let message = format!("{}: the name has no extension of a format", out.display());
            Err(Advised::usage(message, "add --format tar, tar.gz or tar.zst").into())
        }
    }
}

/// Returns the format that the name of an output stands for.
fn named_format(out: &Path) -> Option<Format> {
    if out == Path::new("-") {
        return Some(Format::Tar);
    }
    let formats = [
        (&b".tar"[..], Format::Tar),
        (b".tar.gz", Format::TarGz),
        (b".tgz", Format::TarGz),
        (b".tar.zst", Format::TarZst),
        (b".cpio", Format::Cpio),
        (b".cpio.gz", Format::CpioGz),
        (b".cpio.zst", Format::CpioZst),
        (b".erofs", Format::Erofs),
        (b".ext4", Format::Ext4),
        (b".squashfs", Format::Squashfs),
    ];
    let name = out.as_os_str().as_bytes();
    formats.into_iter().find(|(end, _)| name.ends_with(end)).map(|(_, format)| format)
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
        (options.verity.is_some(), "--verity", &[F::Erofs, F::ErofsMeta, F::Ext4, F::Squashfs]),
    ];
    match rules.iter().find(|(given, _, formats)| *given && !formats.contains(&format)) {
        Some((_, what, formats)) => Err(anyhow!(UsageError(format!("{what} is for --format {}", join_names(formats))))),
        None if options.config_out.as_deref() == Some(out) => {
            Err(anyhow!(UsageError(format!("--config-out {} is also the output of the image", out.display()))))
        }
        None if options.label.as_ref().is_some_and(|label| label.len() > MAX_LABEL) => {
            Err(anyhow!(UsageError(format!("--label has at most {MAX_LABEL} bytes"))))
        }
        None => {
            check_level(format, options)?;
            file_compression(options).map(drop)
        }
    }
}

/// Checks the level of a format that is compressed as a whole.
fn check_level(format: Format, options: &ExportArguments) -> anyhow::Result<()> {
    let levels = match format {
        Format::TarGz | Format::CpioGz => 0..=9,
        Format::TarZst | Format::CpioZst => 1..=22,
        _ => return Ok(()),
    };
    match options.level {
        Some(level) if !levels.contains(&level) => {
            let (least, most) = (levels.start(), levels.end());
            Err(anyhow!(UsageError(format!("--level is from {least} to {most} here"))))
        }
        _ => Ok(()),
    }
}

/// Fails if an input cannot be read or the output cannot be written, before an image is fetched.
pub(super) fn check_paths(format: Format, out: &Path, options: &ExportArguments) -> anyhow::Result<()> {
    options.top.check()?;
    options.init.check()?;
    if out == Path::new("-") {
        output::refuse_terminal("an export", "name a file, or pipe it to another program")?;
    } else if !options.force || format == Format::Dir {
        check_new(format, out)?;
    }
    if let Some(file) = options.config_out.as_deref().filter(|_| !options.force) {
        paths::check_new(file)?;
    }
    super::verity::check(format, out, options)?;
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

/// Fails if the output would replace files that exist.
fn check_new(format: Format, out: &Path) -> anyhow::Result<()> {
    match format {
        Format::Dir if paths::is_full_directory(out) => {
            let place = out.display();
            let hint = format!("name a new directory, or copy into this one with `vmroot cp IMAGE:/. {place}`");
            Err(Advised::new(format!("{place}: is not empty"), hint).into())
        }
        Format::Dir => Ok(()),
        Format::Prebaked if paths::is_full_directory(out) => {
            Err(Advised::new(format!("{}: is not empty", out.display()), "--force writes into it").into())
        }
        Format::Prebaked => Ok(()),
        Format::ErofsMeta => {
            let beside = SIDE_FILES.iter().map(|end| {
                let mut name = out.as_os_str().to_owned();
                name.push(end);
                PathBuf::from(name)
            });
            iter::once(out.to_owned()).chain(beside).try_for_each(|file| paths::check_new(&file))
        }
        _ => paths::check_new(out),
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
    fn name_of_the_output_stands_for_a_format() {
        for (name, format) in [
            ("a.tar", Format::Tar),
            ("./x.y/a.tar.gz", Format::TarGz),
            ("a.tgz", Format::TarGz),
            ("a.tar.zst", Format::TarZst),
            ("a.cpio", Format::Cpio),
            ("a.cpio.gz", Format::CpioGz),
            ("a.cpio.zst", Format::CpioZst),
            ("a.erofs", Format::Erofs),
            ("a.ext4", Format::Ext4),
            ("a.squashfs", Format::Squashfs),
            ("-", Format::Tar),
        ] {
            assert_eq!(root_format(name.as_ref(), None).unwrap(), format, "{name}");
        }
        assert_eq!(root_format("a.tar".as_ref(), Some(Format::Dir)).unwrap(), Format::Dir);
        for name in ["rootfs", "a.gz", "a.img", "tar"] {
            let error = root_format(name.as_ref(), None).unwrap_err();
            assert!(error.is::<Advised>() && error.to_string().contains("no extension"), "{name}: {error}");
        }
        assert!(layer_format("a.ext4".as_ref(), None).is_err());
    }

    #[test]
    fn format_names_are_joined_as_in_a_sentence() {
        assert_eq!(join_names(&[Format::Dir]), "dir");
        assert_eq!(join_names(&[Format::Tar, Format::TarGz]), "tar and tar.gz");
        assert_eq!(join_names(&[Format::Tar, Format::TarGz, Format::TarZst]), "tar, tar.gz and tar.zst");
    }
}
