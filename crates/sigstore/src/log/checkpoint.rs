//! Checkpoints: the root of a log's tree, signed by the log (C2SP tlog-checkpoint, signed-note).

use crate::encoding::standard;
use crate::error::{Error, Result, at_most};
use crate::trusted_root::TrustedLog;

/// The largest length of a checkpoint in bytes.
const CHECKPOINT_LIMIT: usize = 64 << 10;
/// The largest number of signatures of a checkpoint.
const CHECKPOINT_SIGNATURES_LIMIT: usize = 64;

/// Checks that the log signed a checkpoint of a tree with this size and root.
///
/// The origin of Rekor v1 ends with ` - ` and the number of the tree; that of v2 is the host of the log's URL.
pub(super) fn verify(text: &str, log: &TrustedLog, is_version_2: bool, size: u64, root: &[u8]) -> Result<()> {
    at_most(text.len(), CHECKPOINT_LIMIT, "checkpoint", "CHECKPOINT_LIMIT")?;
    // The blank line is the last one, because the signatures have none.
    let (body, signatures) = text.rsplit_once("\n\n").ok_or_else(|| wrong("it has no signatures"))?;
    let mut lines = body.split('\n');
    let origin = lines.next().filter(|origin| !origin.is_empty()).ok_or_else(|| wrong("it has no origin"))?;
    let has_size = lines.next().is_some_and(|line| line == size.to_string());
    let found_root = standard(lines.next().ok_or_else(|| wrong("it has no root"))?, "root of the checkpoint")?;
    if !has_size || found_root != root {
        return Err(wrong("it is of another tree than the proof"));
    }
    if is_version_2 {
        if origin != log.host {
            return Err(wrong("its origin is another log"));
        }
    } else {
        let tree = origin.rsplit_once(" - ").map(|(_, tree)| tree);
        if !tree.is_some_and(|tree| !tree.is_empty() && tree.bytes().all(|digit| digit.is_ascii_digit())) {
            return Err(wrong("its origin has no tree"));
        }
    }
    let signed = format!("{body}\n");
    let lines: Vec<_> = signatures.lines().collect();
    at_most(lines.len(), CHECKPOINT_SIGNATURES_LIMIT, "checkpoint", "CHECKPOINT_SIGNATURES_LIMIT")?;
    if lines.iter().any(|line| is_signature_of(line, log, is_version_2.then_some(origin), signed.as_bytes())) {
        return Ok(());
    }
    Err(wrong("the log did not sign it"))
}

/// Returns whether a line is a signature of the log: `— NAME BASE64`, of the key's identity and the signature.
fn is_signature_of(line: &str, log: &TrustedLog, name: Option<&str>, signed: &[u8]) -> bool {
    let Some((found, text)) = line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' ')) else {
        return false;
    };
    let Ok(bytes) = standard(text, "signature of the checkpoint") else { return false };
    let (Some((id, signature)), Some(log_id)) = (bytes.split_at_checked(4), log.id.get(..4)) else { return false };
    name.is_none_or(|name| name == found) && id == log_id && log.key.verify(signed, signature)
}

fn wrong(reason: &str) -> Error {
    Error::Log(format!("the checkpoint is wrong: {reason}"))
}
