//! `disk`: disks for guests.

mod create;
mod files;
mod info;
mod serve;

use std::path::Path;

use serde_json::json;
use vmroot::disk::writable::{CloneOptions, Identity, clone_disk, grow_disk};
use vmroot::output::{Hook, WriteProgress};

use super::files::bytes_to_text;
use crate::args::DiskCommand;
use crate::context::Context;
use crate::display::{Action, LONG, NewTask, Outcome};
use crate::{output, progress};

/// Runs a command on disks.
pub(crate) fn disk(context: &Context, command: DiskCommand) -> anyhow::Result<()> {
    match command {
        DiskCommand::Create(arguments) => create::create(context, &arguments),
        DiskCommand::Grow { disk, size } => grow(context, &disk, size),
        DiskCommand::Clone { source, target, random_id, force } => clone(context, &source, &target, random_id, force),
        DiskCommand::Info { disk } => info::print(context, &disk),
        DiskCommand::Ls(arguments) => files::list(context, &arguments),
        DiskCommand::Cat { disk, paths } => files::cat(&disk, &paths),
        DiskCommand::Serve { image, options } => serve::serve(context, &image, &options),
    }
}

fn grow(context: &Context, path: &Path, size: u64) -> anyhow::Result<()> {
    let growth = grow_disk(path, size).map_err(vmroot::Error::from)?;
    if context.json() {
        return Ok(output::print_json(&json!({
            "path": bytes_to_text(path.as_os_str().as_encoded_bytes()),
            "from": growth.from,
            "to": growth.to,
            "replayed": growth.replayed,
            "completedEarlier": growth.completed_earlier,
            "removedResizeInode": growth.removed_resize_inode,
        }))?);
    }
    if growth.replayed {
        output::print_note(&format!("{}: its journal was replayed first", path.display()));
    }
    if growth.removed_resize_inode {
        output::print_note(&format!("{}: its resize inode was removed; Linux grows it without one", path.display()));
    }
    Ok(())
}

fn clone(context: &Context, source: &Path, target: &Path, random_id: bool, force: bool) -> anyhow::Result<()> {
    let name = target.file_name().unwrap_or(target.as_os_str()).to_string_lossy().into_owned();
    let (task, cancel) = (NewTask::new(Action::Copy, &name).start(LONG), context.cancel());
    let hook = |progress: WriteProgress| progress::advance(Some(&task), &cancel, progress);
    let options = CloneOptions {
        identity: if random_id { Identity::Random } else { Identity::Derived },
        replace: force,
        hook: Some(Hook::new(&hook)),
    };
    clone_disk(source, target, &options).map_err(vmroot::Error::from)?;
    task.end(Outcome::Done);
    if context.json() { info::print(context, target) } else { Ok(()) }
}
