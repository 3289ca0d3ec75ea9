//! `cp`: copies a file or a tree of an image, with the rules of `docker cp`.

mod operands;

use std::path::Path;

use vmroot::Top;
use vmroot::export::{CopyOutOptions, TarOptions, copy_out, write_path};
use vmroot::output::{Hook, WriteProgress};

use self::operands::Operands;
use super::export::{open_stream, report_json};
use crate::args::CpArguments;
use crate::context::Context;
use crate::display::{Action, LONG, NewTask, Outcome};
use crate::{output, progress};

/// Returns the name of the image that the operands name.
pub(super) fn image_name(arguments: &CpArguments) -> Option<String> {
    Some(Operands::parse(&arguments.operands).ok()?.image)
}

/// Copies a file or a tree to this machine, or writes it as a tar to standard output.
pub(crate) fn copy(context: &Context, arguments: &CpArguments) -> anyhow::Result<()> {
    let Operands { image, path, destination } = Operands::parse(&arguments.operands)?;
    let to_stdout = destination == "-";
    if to_stdout {
        output::refuse_terminal("a tar", "name a directory or a file, or pipe it to `tar -x`")?;
    }
    // A prebaked directory is opened without a client, which would do this.
    context.cancel_on_interrupt()?;
    let opened = context.root(&image, &Top::default())?;
    let (task, cancel) = (NewTask::new(Action::Copy, String::from_utf8_lossy(&path)).start(LONG), context.cancel());
    let hook = |progress: WriteProgress| progress::advance(Some(&task), &cancel, progress);
    let hook = Some(Hook::new(&hook));
    let CpArguments { follow_link, strict, archive: keep_owners, .. } = *arguments;
    let report = if to_stdout {
        let options = TarOptions { strict, hook, ..TarOptions::default() };
        let stream = open_stream(Path::new("-"))?;
        stream.write_with(|writer| write_path(&opened.root, &path, follow_link, writer, &options))
    } else {
        let options = CopyOutOptions { follow_link, keep_owners, strict, hook, ..CopyOutOptions::default() };
        copy_out(&opened.root, &path, Path::new(&destination), &options)
    };
    let report = report.map_err(vmroot::Error::from)?;
    task.end(Outcome::Done);
    output::print_omissions(&report.omissions);
    match context.json() && !to_stdout {
        true => Ok(output::print_json(&report_json(Path::new(&destination), &report))?),
        false => Ok(()),
    }
}
