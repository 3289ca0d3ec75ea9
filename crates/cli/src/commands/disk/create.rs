//! `disk create`: makes a disk, empty or with a root.

use vmroot::disk::writable::{CreateOptions, Identity, create_disk, create_disk_from};
use vmroot::ext4::Ext4Options;
use vmroot::output::{Hook, WriteProgress};

use super::info;
use crate::args::CreateArguments;
use crate::context::Context;
use crate::display::{Action, LONG, NewTask, Outcome};
use crate::{output, paths, progress};

/// Makes a disk.
pub(super) fn create(context: &Context, arguments: &CreateArguments) -> anyhow::Result<()> {
    let path = &arguments.disk;
    if !arguments.force {
        paths::check_new(path)?;
    }
    paths::check_file(path)?;
    let options = options(arguments);
    match &arguments.from {
        Some(image) => create_from(context, image, arguments, &options)?,
        None => create_disk(path, &options).map_err(vmroot::Error::from)?,
    }
    if !options.has_journal() && !arguments.no_journal && !context.json() {
        output::print_note(&format!("{}: it is too small for a journal", path.display()));
    }
    if context.json() { info::print(context, path) } else { Ok(()) }
}

fn options(arguments: &CreateArguments) -> CreateOptions<'_> {
    let identity = match arguments.uuid {
        Some(uuid) => Identity::Uuid(uuid),
        None if arguments.random_id => Identity::Random,
        None => Identity::Derived,
    };
    CreateOptions {
        label: &arguments.label,
        identity,
        bytes_per_inode: arguments.bytes_per_inode,
        journal: arguments.no_journal.then_some(false),
        replace: arguments.force,
        ..CreateOptions::new(arguments.size)
    }
}

/// Makes a disk with the root of an image.
fn create_from(
    context: &Context,
    image: &str,
    arguments: &CreateArguments,
    options: &CreateOptions<'_>,
) -> anyhow::Result<()> {
    context.cancel_on_interrupt()?;
    let opened = context.open(image)?;
    let path = &arguments.disk;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let (task, cancel) = (NewTask::new(Action::Export, &name).start(LONG), context.cancel());
    let hook = |progress: WriteProgress| progress::advance(Some(&task), &cancel, progress);
    let ext4 = Ext4Options { hook: Some(Hook::new(&hook)), ..Ext4Options::default() };
    let report = create_disk_from(&opened.root, path, options, &ext4).map_err(vmroot::Error::from)?;
    task.end(Outcome::Done);
    output::print_omissions(&report.omissions);
    Ok(())
}
