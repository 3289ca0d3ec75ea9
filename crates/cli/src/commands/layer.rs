//! `layer index|verify|dump`: commands on one layer, without a cache.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use vmroot::layer_index::{Index, build, dump, verify_contents};
use vmroot::pipelined;

use crate::args::LayerCommand;
use crate::context::Context;
use crate::exit::Advised;
use crate::interruptible::{CancellableReader, open_nonblocking};
use crate::output;
use crate::paths::{self, NewDirectory};

/// Runs a command on one layer.
pub(crate) fn layer(context: &Context, command: LayerCommand) -> anyhow::Result<()> {
    match command {
        LayerCommand::Index { tar, output } => index(context, &tar, &output),
        LayerCommand::Verify { index } => verify(context, &index),
        LayerCommand::Dump { index } => dump_index(&index),
    }
}

fn index(context: &Context, tar: &Path, directory: &Path) -> anyhow::Result<()> {
    let source = match tar == Path::new("-") {
        true => {
            paths::refuse_terminal_input("layer")?;
            io::stdin().as_fd().try_clone_to_owned()?.into()
        }
        // The open of a named pipe must not wait for a writer: a signal could not cancel that wait.
        false => open_nonblocking(tar).with_context(|| tar.display().to_string())?,
    };
    if directory.exists() && !directory.is_dir() {
        let message = format!("--output {}: not a directory", directory.display());
        return Err(Advised::usage(message, "name a directory; it is created if it is missing").into());
    }
    let new_directory = NewDirectory::create(directory).with_context(|| directory.display().to_string())?;
    let source = CancellableReader { source, cancel: context.cancel() };
    let built = build(pipelined(source, &context.limits()), directory, &context.build_options())
        .map_err(vmroot::Error::from)
        .with_context(|| tar.display().to_string())?;
    let (diff_id, bytes, contents) = (built.diff_id, built.index_length, built.contents_length);
    built.publish().map_err(vmroot::Error::from)?;
    new_directory.keep();
    if context.json() {
        return Ok(output::print_json(&json!({"diffId": diff_id, "indexBytes": bytes, "contentsBytes": contents}))?);
    }
    Ok(output::print_line(diff_id.to_string())?)
}

/// Opens an index. The error of a directory would be that of a device which cannot be mapped.
fn open(path: &Path) -> anyhow::Result<Index> {
    if path.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory)).with_context(|| path.display().to_string());
    }
    Ok(Index::open(path).map_err(vmroot::Error::from)?)
}

fn verify(context: &Context, path: &Path) -> anyhow::Result<()> {
    let index = open(path)?;
    let contents = path.with_extension("contents");
    let bytes = verify_contents(&index, &contents, &context.cancel()).map_err(vmroot::Error::from)?;
    let inodes = index.inode_count();
    if context.json() {
        return Ok(output::print_json(&json!({"diffId": index.identity(), "inodes": inodes, "bytes": bytes}))?);
    }
    Ok(output::print_line(format!(
        "{}: {inodes} inodes and {} of contents verified",
        index.identity(),
        output::format_bytes(bytes)
    ))?)
}

fn dump_index(path: &Path) -> anyhow::Result<()> {
    let index = open(path)?;
    if io::stdout().is_terminal() {
        let mut text = Vec::new();
        dump(&index, &mut text)?;
        return Ok(output::print_text(&text)?);
    }
    // Not through one buffer: the text of a large index is large.
    let mut out = BufWriter::new(output::stdout());
    dump(&index, &mut out)?;
    Ok(out.flush()?)
}
