//! `manifest-digest`.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use vmroot::model::manifest_digest as digest_of;

use crate::context::Context;
use crate::exit::TooLong;
use crate::output;

/// The largest accepted manifest in bytes, as in registries.
const MAX_MANIFEST: u64 = 4 << 20;

/// Prints the digest of a manifest in a file. A signed manifest of schema 1 has that of its signed part.
pub(crate) fn manifest_digest(context: &Context, file: &Path) -> anyhow::Result<()> {
    let named = || file.display().to_string();
    let mut bytes = Vec::new();
    File::open(file).and_then(|opened| opened.take(MAX_MANIFEST + 1).read_to_end(&mut bytes)).with_context(named)?;
    if bytes.len() as u64 > MAX_MANIFEST {
        return Err(TooLong { limit: MAX_MANIFEST }).with_context(named);
    }
    let digest = digest_of(&bytes).map_err(vmroot::Error::from).with_context(named)?;
    match context.json() {
        true => output::print_json(&json!({"file": file.display().to_string(), "digest": digest}))?,
        false => output::print_line(digest.to_string())?,
    }
    Ok(())
}
