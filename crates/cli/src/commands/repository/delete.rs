//! `delete`.

use super::parse_image;
use crate::context::Context;
use crate::output;

/// Deletes a manifest or index by its digest, and prints the digest.
pub(crate) fn delete(context: &Context, image: &str) -> anyhow::Result<()> {
    let reference = parse_image(image)?;
    let digest = context.client()?.delete(&reference)?;
    if reference.digest().is_none() {
        output::print_note(&format!("note: all tags of {} that name {digest} are deleted", reference.name()));
    }
    Ok(output::print_line(digest.to_string())?)
}
