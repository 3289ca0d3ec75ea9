//! What was changed on a writable view: the upper directory of an overlay as a layer.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use indicatif::ProgressBar;
use vmroot::Compression;
use vmroot::changes::{LayerOptions, Marks, export_compressed_layer, export_layer};
use vmroot::output::Progress;

use super::{check, print_omissions, stream};
use crate::args::{ExportArguments, Format};
use crate::context::Context;
use crate::exit::Usage;
use crate::{bars, output, places};

/// Writes the layer. The root directory's attributes are among the changes: what an overlay shows are its upper
/// directory's.
pub(super) fn changes(context: &Context, upper: &Path, out: &Path, options: &ExportArguments) -> anyhow::Result<()> {
    let format = options.format.or_else(|| by_name(out));
    let compression = match format {
        Some(Format::Tar) => None,
        Some(Format::TarGz) => Some(Compression::Gzip),
        Some(Format::TarZst) => Some(Compression::Zstd),
        Some(_) => return Err(Usage("--from-upper is for --format tar, tar.gz and tar.zst".to_owned()).into()),
        None => return Err(Usage(format!("{}: says no form, --format tar does", out.display())).into()),
    };
    check::check(format.unwrap_or(Format::Tar), out, options)?;
    if out != Path::new("-") {
        places::check_file(out)?;
    }
    context.cancel_on_interrupt()?;
    let cancel = context.cancel();
    // How many bytes there are is known when they are read.
    let bar = ProgressBar::hidden();
    let hook = |progress: Progress| bars::advance(&bar, &cancel, progress);
    let layer = LayerOptions {
        with_root: true,
        marks: if options.userxattr { Marks::UserXattr } else { Marks::Upper },
        sparse: options.sparse,
        strict: options.strict,
        hook: Some(&hook),
        ..LayerOptions::default()
    };
    let report = stream::write(out, &bar, |writer| match compression {
        None => export_layer(upper, writer, &layer),
        Some(compression) => export_compressed_layer(upper, writer, &layer, &stream::encoder(options, compression)),
    })?;
    output::omissions(&report.omissions);
    print_omissions(context, out, &report.omissions)
}

/// The form that a name says; standard output has none, and gets a plain tar.
fn by_name(out: &Path) -> Option<Format> {
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
