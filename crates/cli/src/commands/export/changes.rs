//! Changes of a writable view: the upper directory of an overlay as a layer.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use indicatif::ProgressBar;
use vmroot::Compression;
use vmroot::changes::{LayerOptions, Marks, write_layer};
use vmroot::output::Progress;

use super::{check, print_omissions, stream};
use crate::args::{ExportArguments, Format};
use crate::context::Context;
use crate::exit::UsageError;
use crate::{bars, output, paths};

/// Writes the layer. It includes the attributes of the root directory, which an overlay takes from its upper directory.
pub(super) fn export_changes(
    context: &Context,
    upper: &Path,
    out: &Path,
    options: &ExportArguments,
) -> anyhow::Result<()> {
    let format = options.format.or_else(|| format_of_name(out));
    let compression = match format {
        Some(Format::Tar) => None,
        Some(Format::TarGz) => Some(Compression::Gzip),
        Some(Format::TarZst) => Some(Compression::Zstd),
        Some(_) => return Err(UsageError("--from-upper is for --format tar, tar.gz and tar.zst".to_owned()).into()),
        None => return Err(UsageError(format!("{}: unknown extension; add --format tar", out.display())).into()),
    };
    check::check_options(format.unwrap_or(Format::Tar), out, options)?;
    if out != Path::new("-") {
        paths::check_file(out)?;
    }
    context.cancel_on_interrupt()?;
    let cancel = context.cancel();
    // Hidden, for the total is known only at the end.
    let bar = ProgressBar::hidden();
    let hook = |progress: Progress| bars::advance(&bar, &cancel, progress);
    let layer = LayerOptions {
        with_root: true,
        marks: if options.userxattr { Marks::UserXattr } else { Marks::Upper },
        sparse: options.sparse,
        compression: compression.map(|compression| stream::encoder(options, compression)),
        strict: options.strict,
        hook: Some(&hook),
        ..LayerOptions::default()
    };
    let report = stream::write_output(out, &bar, |writer| write_layer(upper, writer, &layer))?;
    output::print_omissions(&report.omissions);
    print_omissions(context, out, &report.omissions)
}

/// Returns the format of a file name's extension; for standard output, a plain tar.
fn format_of_name(out: &Path) -> Option<Format> {
    let name = out.as_os_str().as_bytes();
    let forms = [
        (&b".tar"[..], Format::Tar),
        (b".tar.gz", Format::TarGz),
        (b".tgz", Format::TarGz),
        (b".tar.zst", Format::TarZst),
    ];
    let named = forms.into_iter().find(|(end, _)| name.ends_with(end)).map(|(_, format)| format);
    named.or_else(|| (name == b"-").then_some(Format::Tar))
}
