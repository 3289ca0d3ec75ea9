//! Formats that are a directory.

use std::path::Path;

use vmroot::export::{DirectoryOptions, export_directory};
use vmroot::output::{Omissions, Progress};
use vmroot::{RuntimeConfig, Top};

use super::ExportJob;
use crate::args::ExportArguments;
use crate::context::{self, Context};
use crate::output;

/// Writes a prebaked directory.
pub(super) fn prebaked(
    context: &Context,
    image: &str,
    out: &Path,
    options: &ExportArguments,
) -> anyhow::Result<Omissions> {
    let client = context.client()?;
    let image = context.image(&client, image)?;
    let top = options.init.add_to(options.top.top(), &RuntimeConfig::unresolved(image.config()))?;
    let top = Top { strict: options.strict, ..top };
    let on_top = vmroot::export_on_top_to_dir(&client, &image, &top, out)?;
    context::print_notes(&on_top);
    Ok(on_top.omitted().clone())
}

/// Writes a directory tree of plain files.
pub(super) fn directory(export: &ExportJob<'_>) -> anyhow::Result<Omissions> {
    let hook = |progress: Progress| export.advance(progress);
    let rootless = export.options.rootless;
    let strict = export.options.strict;
    let options = DirectoryOptions { rootless, strict, hook: Some(&hook), ..DirectoryOptions::default() };
    let report = export_directory(export.root, export.out, &options).map_err(vmroot::Error::from)?;
    export.bar.finish_and_clear();
    if report.omissions.total > 0 && !rootless {
        output::print_note("--rootless records owners, modes and devices in xattrs");
    }
    Ok(report.omissions)
}
