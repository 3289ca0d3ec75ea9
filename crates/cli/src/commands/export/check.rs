//! Which options a form takes.

use std::path::Path;

use anyhow::anyhow;
use clap::ValueEnum;

use crate::args::{ExportArguments, Format};
use crate::exit::Usage;

/// Refuses what the form would not heed.
pub(super) fn check(format: Format, out: &Path, options: &ExportArguments) -> anyhow::Result<()> {
    use Format as F;
    let rules: [(bool, &str, &[Format]); _] = [
        (out == Path::new("-"), "standard output", &[F::Tar, F::TarGz, F::TarZst, F::Cpio, F::CpioGz, F::CpioZst]),
        (options.rootless, "--rootless", &[F::Dir]),
        (options.level.is_some(), "--level", &[F::TarGz, F::TarZst, F::CpioGz, F::CpioZst]),
    ];
    match rules.iter().find(|(given, _, formats)| *given && !formats.contains(&format)) {
        Some((_, what, formats)) => Err(anyhow!(Usage(format!("{what} is for --format {}", list(formats))))),
        None => Ok(()),
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
