//! The parents of loaded images.

use std::collections::{BTreeMap, HashMap};

use vmroot_model::{Digest, ImageConfig};

use super::find::Found;

/// Returns the parents among the images, by the ids of their children.
///
/// As in Docker, a parent must be in the same archive, and the child must have one more step of history.
pub(super) fn among(images: &[Found], notes: &mut Vec<String>) -> BTreeMap<Digest, Digest> {
    let mut parents = BTreeMap::new();
    let configs: HashMap<_, _> =
        images.iter().map(|image| ((&image.archive, *image.chosen.config.digest()), &image.chosen.config)).collect();
    for image in images {
        let child = &image.chosen.config;
        let Some(parent) = image.parent.and_then(|parent| configs.get(&(&image.archive, parent))) else { continue };
        if parent.digest() == child.digest() {
            continue;
        }
        if is_step(parent, child) {
            parents.insert(*child.digest(), *parent.digest());
        } else {
            let (child, parent) = (child.digest(), parent.digest());
            notes.push(format!("{}: {parent} is not the parent of {child} by its history", image.archive.display()));
        }
    }
    parents
}

/// Returns whether the child has one more step of history than the parent. Images need not have a history.
fn is_step(parent: &ImageConfig, child: &ImageConfig) -> bool {
    match (parent.history(), child.history()) {
        ([], []) => true,
        (parent, [steps @ .., _]) => parent == steps,
        _ => false,
    }
}
