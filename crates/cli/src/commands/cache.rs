//! `gc`.

use serde_json::json;

use crate::context::Context;
use crate::output;

/// Removes the files that no image needs, and first the images without a name if `dangling`.
pub(crate) fn collect(context: &Context, dry_run: bool, dangling: bool) -> anyhow::Result<()> {
    let client = context.client()?;
    let collected = match (dry_run, dangling) {
        (true, false) => client.list_unneeded(),
        (false, false) => client.collect(),
        (true, true) => client.list_dangling(),
        (false, true) => client.collect_dangling(),
    }?;
    let images: Vec<String> = collected.dangling.iter().map(|record| record.id().to_string()).collect();
    if context.json() {
        let files: Vec<_> = collected.files.iter().map(|file| file.display().to_string()).collect();
        return Ok(output::print_json(&json!({
            "images": images,
            "files": files,
            "bytes": collected.bytes,
            "dryRun": dry_run,
        }))?);
    }
    images.iter().try_for_each(output::print_line)?;
    if dry_run {
        for file in &collected.files {
            output::print_line(file.display().to_string())?;
        }
    }
    let verb = if dry_run { "would free" } else { "freed" };
    Ok(output::print_line(format!(
        "{verb} {} in {} files",
        output::format_bytes(collected.bytes),
        collected.files.len()
    ))?)
}
