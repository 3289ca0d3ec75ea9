//! `mounts`: lists the mounts of vmroot.

use crate::context::Context;
use crate::mounts::VmrootMount;
use crate::output;

/// The text of a cell whose value is not known or does not exist.
const NONE: &str = "-";

/// Prints all mounts of vmroot in this mount namespace. With `--quiet`, prints only their directories.
pub(crate) fn mounts(context: &Context) -> anyhow::Result<()> {
    let mounts = VmrootMount::all(context)?;
    if context.json() {
        return Ok(output::print_json(&mounts.iter().map(VmrootMount::to_json).collect())?);
    }
    if context.quiet() {
        return mounts.iter().try_for_each(|mount| Ok(output::print_line(directory(mount))?));
    }
    let header = ["DIRECTORY", "IMAGE", "PLATFORM", "DRIVER", "UPPER", "SINCE", "PROCESS"];
    Ok(output::print_table(&header, &mounts.iter().map(row).collect::<Vec<_>>())?)
}

fn row(mount: &VmrootMount) -> Vec<String> {
    let process = match mount.process() {
        None => NONE.to_owned(),
        Some((pid, false)) => pid.to_string(),
        Some((pid, true)) => format!("{pid} (ended)"),
    };
    vec![
        directory(mount),
        mount.image(),
        mount.platform().unwrap_or(NONE).to_owned(),
        mount.driver().unwrap_or_else(|| NONE.to_owned()),
        mount.upper().map_or_else(|| NONE.to_owned(), |path| path.to_string_lossy().into_owned()),
        mount.since().unwrap_or_else(|| NONE.to_owned()),
        process,
    ]
}

fn directory(mount: &VmrootMount) -> String {
    mount.directory().to_string_lossy().into_owned()
}
