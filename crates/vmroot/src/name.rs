//! Names of images, as users give them.

use vmroot_model::{Digest, Reference};
use vmroot_transport::ImageName;

use crate::Result;

/// The number of digits of the short ids that tables print.
const SHORT_ID: usize = 12;
/// The number of digits of a whole id.
const WHOLE_ID: usize = 64;

/// Returns whether a name is read as the id of an image or as the beginning of one: `sha256:` and any text, or 12 to 64
/// lowercase hexadecimal digits. Such a name is only looked up in the cache, never in a registry.
///
/// Fewer digits may be the beginning of an id, but also the name of a repository, such as `cafe`.
///
/// ```
/// assert!(vmroot::is_id("sha256:4bcf") && vmroot::is_id("4bcff63911fc"));
/// assert!(!vmroot::is_id("cafe") && !vmroot::is_id("docker://4bcff63911fc"));
/// ```
pub fn is_id(name: &str) -> bool {
    name.starts_with("sha256:") || (SHORT_ID..=WHOLE_ID).contains(&name.len()) && is_hex(name)
}

/// Returns a name without a registry under `localhost/`; `None` for any other name, and for ids.
pub(crate) fn local_name(name: &str) -> Option<Reference> {
    // Only the whole name of an image of Docker Hub has its registry, and `localhost` is none there.
    let has_registry =
        name.split_once('/').is_some_and(|(first, _)| first.contains(['.', ':', '[']) || first == "localhost");
    if has_registry || is_id(name) {
        return None;
    }
    Reference::parse(name).ok()?;
    Reference::parse(&format!("localhost/{name}")).ok()
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Fails if a name is neither a reference, nor an id or the beginning of one, nor `TRANSPORT:details`.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let (is_digest, hex) = name.strip_prefix("sha256:").map_or((false, name), |hex| (true, hex));
    if is_hex(hex) && (1..=WHOLE_ID).contains(&hex.len()) {
        return Ok(());
    }
    if is_digest {
        Digest::parse(name)?;
    } else if ImageName::has_transport(name) {
        ImageName::parse(name)?;
    } else {
        Reference::parse(name)?;
    }
    Ok(())
}
