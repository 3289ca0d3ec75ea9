//! The root hash of the disk image that an export would write.

use std::path::Path;

use vmroot::output::{Hook, TemporaryDirectory, WriteProgress};
use vmroot::verity::Parameters;

use super::verity::{TreePlan, cancel_only};
use super::{Source, check, write_with_tree};
use crate::args::{DiskFormat, RootHashArguments};
use crate::commands::verity::TreeRecord;
use crate::context::{Context, OpenedRoot};
use crate::display::{Action, LONG, NewTask, Outcome};
use crate::progress;

/// The name of the disk image in the temporary directory.
const NAME: &str = "disk";

/// Fails for options that do not fit the format, before an image is fetched.
pub(crate) fn check_options(format: DiskFormat, arguments: &RootHashArguments) -> anyhow::Result<()> {
    check::check_options(format.into(), Path::new(NAME), &arguments.export(format))?;
    arguments.top.check()?;
    arguments.init.check()
}

/// Opens the root of an image as an export does, with everything that the options put on top of it.
pub(crate) fn open(context: &Context, image: &str, arguments: &RootHashArguments) -> anyhow::Result<OpenedRoot> {
    context.root_with(image, |config| arguments.init.add_to(arguments.top.top(), config))
}

/// Returns the hash tree of the disk image that an export of a root writes.
///
/// The image is written to a temporary file. That of `erofs-meta` has the metadata only, and the digests of the contents
/// come from the cache.
pub(crate) fn tree_of(
    context: &Context,
    root: OpenedRoot,
    format: DiskFormat,
    arguments: &RootHashArguments,
    parameters: &Parameters,
) -> anyhow::Result<TreeRecord> {
    let options = arguments.export(format);
    let client = root.image.as_ref().map_or_else(|| context.client(), |used| Ok(used.client.clone()))?;
    let scratch = TemporaryDirectory::create_in(client.scratch_dir()).map_err(vmroot::Error::from)?;
    let out = scratch.path().join(NAME);
    let (task, cancel) = (NewTask::new(Action::Prepare, "the root hash").start(LONG), context.cancel());
    let hook = |progress: WriteProgress| progress::advance(Some(&task), &cancel, progress);
    let cancel_only = cancel_only(&cancel);
    let plan = TreePlan::with_parameters(format.into(), &out, parameters.clone(), Hook::new(&cancel_only));
    let source = Source::Root(Box::new(root));
    let (_, tree) = write_with_tree(&source, format.into(), &out, &options, &plan, Hook::new(&hook))?;
    task.end(Outcome::Done);
    Ok(tree)
}
