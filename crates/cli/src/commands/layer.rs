//! `layer index|verify|dump`: one layer, without a cache.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use vmroot::layer_index::{Index, build, dump, verify_contents_while};
use vmroot::pipelined;

use crate::args::LayerCommand;
use crate::context::Context;
use crate::interruptible::{Interruptible, open_at_once};
use crate::output;
use crate::places::NewDirectory;

pub(crate) fn layer(context: &Context, command: LayerCommand) -> anyhow::Result<()> {
    match command {
        LayerCommand::Index { tar, output } => index(context, &tar, &output),
        LayerCommand::Verify { index } => verify(context, &index),
        LayerCommand::Dump { index } => print(&index),
    }
}

fn index(context: &Context, tar: &Path, directory: &Path) -> anyhow::Result<()> {
    let source = match tar == Path::new("-") {
        true => io::stdin().as_fd().try_clone_to_owned()?.into(),
        // A named pipe is opened at once, and not when somebody writes to it: that wait could not be ended.
        false => open_at_once(tar).with_context(|| tar.display().to_string())?,
    };
    let made = NewDirectory::make(directory).with_context(|| directory.display().to_string())?;
    let source = Interruptible { source, cancel: context.cancel() };
    let built = build(pipelined(source, &context.limits()), directory, &context.build_options())
        .map_err(vmroot::Error::from)?;
    let (diff_id, bytes, contents) = (built.diff_id, built.index_length, built.contents_length);
    built.publish().map_err(vmroot::Error::from)?;
    made.keep();
    if context.json() {
        return Ok(output::json(&json!({"diffId": diff_id, "indexBytes": bytes, "contentsBytes": contents}))?);
    }
    Ok(output::line(diff_id.to_string())?)
}

fn verify(context: &Context, path: &Path) -> anyhow::Result<()> {
    let index = Index::open(path).map_err(vmroot::Error::from)?;
    let cancel = context.cancel();
    let going_on = || cancel.control_flow();
    let contents = path.with_extension("contents");
    let bytes = verify_contents_while(&index, &contents, &going_on).map_err(vmroot::Error::from)?;
    let inodes = index.inode_count();
    if context.json() {
        return Ok(output::json(&json!({"diffId": index.identity(), "inodes": inodes, "bytes": bytes}))?);
    }
    Ok(output::line(format!(
        "{}: {inodes} inodes and {} of contents are whole",
        index.identity(),
        output::bytes(bytes)
    ))?)
}

fn print(path: &Path) -> anyhow::Result<()> {
    let index = Index::open(path).map_err(vmroot::Error::from)?;
    if io::stdout().is_terminal() {
        let mut text = Vec::new();
        dump(&index, &mut text)?;
        return Ok(output::text(&text)?);
    }
    // As it comes: the text of a large index is large.
    let mut out = BufWriter::new(output::raw());
    dump(&index, &mut out)?;
    Ok(out.flush()?)
}
