//! `layer index|verify|dump`: one layer, without a cache.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use vmroot::layer_index::{Index, build, dump, verify_contents};
use vmroot::pipelined;

use crate::args::LayerCommand;
use crate::context::Context;
use crate::output;

pub(crate) fn layer(context: &Context, command: LayerCommand) -> anyhow::Result<()> {
    match command {
        LayerCommand::Index { tar, output } => index(context, &tar, &output),
        LayerCommand::Verify { index } => verify(context, &index),
        LayerCommand::Dump { index } => print(&index),
    }
}

fn index(context: &Context, tar: &Path, directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let source: Box<dyn Read + Send> = if tar == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(tar).with_context(|| tar.display().to_string())?)
    };
    let built = build(pipelined(source, &context.limits()), directory, &context.build_options())
        .map_err(vmroot::Error::from)?;
    let (diff_id, bytes, contents) = (built.diff_id, built.index_length, built.contents_length);
    built.publish().map_err(vmroot::Error::from)?;
    if context.json() {
        return Ok(output::json(&json!({"diffId": diff_id, "indexBytes": bytes, "contentsBytes": contents}))?);
    }
    Ok(output::line(diff_id.to_string())?)
}

fn verify(context: &Context, path: &Path) -> anyhow::Result<()> {
    let index = Index::open(path).map_err(vmroot::Error::from)?;
    let bytes = verify_contents(&index, &path.with_extension("contents")).map_err(vmroot::Error::from)?;
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
    let mut out = BufWriter::new(io::stdout().lock());
    dump(&index, &mut out)?;
    Ok(out.flush()?)
}
