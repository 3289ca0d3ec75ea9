//! Forms that are a directory.

use std::fs;
use std::path::Path;

use vmroot::RuntimeConfig;
use vmroot::export::{DirectoryOptions, Progress, export_directory};

use super::Export;
use crate::args::ExportArguments;
use crate::context::{self, Context};
use crate::output::{self, SHOWN};

/// A directory that another machine opens as it is.
pub(super) fn prebaked(context: &Context, image: &str, out: &Path, options: &ExportArguments) -> anyhow::Result<()> {
    let client = context.client()?;
    let image = context.image(&client, image)?;
    let top = options.init.add_to(options.top.top(), &RuntimeConfig::unresolved(image.config()))?;
    context::note_omitted(&vmroot::export_on_top_to_dir(&client, &image, &top, out)?);
    Ok(())
}

/// Plain files.
pub(super) fn directory(export: &Export<'_>) -> anyhow::Result<()> {
    let hook = |progress: Progress| export.advance(progress);
    let rootless = export.options.rootless;
    let options = DirectoryOptions { rootless, hook: Some(&hook), ..DirectoryOptions::default() };
    let was_there = export.out.exists();
    let exported = export_directory(export.root, export.out, &options);
    if matches!(exported, Err(vmroot::export::Error::Cancelled)) {
        remove(export.out, was_there);
    }
    let report = exported.map_err(vmroot::Error::from)?;
    export.bar.finish_and_clear();
    let refusals = &report.refusals;
    for refusal in refusals.listed.iter().take(SHOWN) {
        output::note(&format!("not as in the image: {refusal}"));
    }
    let shown = refusals.listed.len().min(SHOWN) as u64;
    if refusals.total > shown {
        let advice = if rootless { "" } else { "; --rootless records owners, modes and devices in xattrs" };
        output::note(&format!("and {} more{advice}", refusals.total - shown));
    }
    Ok(())
}

/// Removes what was written of a tree. The directory was empty or missing when it began.
fn remove(directory: &Path, was_there: bool) {
    let removed = match was_there {
        false => fs::remove_dir_all(directory),
        true => fs::read_dir(directory).and_then(|entries| {
            for path in entries.map(|entry| entry.map(|entry| entry.path())) {
                let path = path?;
                if path.is_symlink() || !path.is_dir() { fs::remove_file(path)? } else { fs::remove_dir_all(path)? }
            }
            Ok(())
        }),
    };
    if let Err(error) = removed {
        output::note(&format!("{}: what was written of it cannot be removed: {error}", directory.display()));
    }
}
