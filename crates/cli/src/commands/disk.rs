//! `disk`: disks for guests.

mod serve;

use crate::args::DiskCommand;
use crate::context::Context;

/// Runs a command on disks.
pub(crate) fn disk(context: &Context, command: DiskCommand) -> anyhow::Result<()> {
    match command {
        DiskCommand::Serve { image, options } => serve::serve(context, &image, &options),
    }
}
