//! Resolving hard links that precede their targets in the tar. This happens when the layer is complete.

use std::collections::HashMap;

use bstr::BString;

use super::tree::{ROOT, Tree};
use crate::format::{NO_INODE, mode};
use crate::{Error, Result};

/// The target of a hard link.
#[derive(Clone, Copy)]
enum LinkTarget {
    /// An inode of the layer. This is the link's own inode if the layer has no such file; the merge then looks for the
    /// target in lower layers.
    Inode(u32),
    /// The link leads back to itself.
    Circular,
}

/// Replaces links by the inodes of their targets. The remaining links refer to paths of lower layers.
///
/// # Errors
/// [`Error::LinkTargetMissing`] for a link that leads back to itself.
pub(super) fn resolve(tree: &mut Tree, unresolved_links: &[u32]) -> Result<()> {
    let mut targets = HashMap::with_capacity(unresolved_links.len());
    for &link in unresolved_links {
        resolve_chain(tree, link, &mut targets);
    }
    if let Some((entry, link)) = first_circular(tree, &targets) {
        return Err(Error::LinkTargetMissing { entry: entry.into(), target: BString::from(tree.target(link)) });
    }
    for slot in &mut tree.slots {
        if let Some(LinkTarget::Inode(inode)) = targets.get(&slot.inode) {
            slot.inode = *inode;
        }
    }
    Ok(())
}

/// Follows a chain of links, and adds the target of each of them to `targets`. Each link is followed once.
fn resolve_chain(tree: &Tree, link: u32, targets: &mut HashMap<u32, LinkTarget>) {
    let mut chain = Vec::new();
    let mut current = link;
    let target = loop {
        if let Some(target) = targets.get(&current) {
            break *target;
        }
        // If the chain comes back here before this is replaced below, it is circular.
        targets.insert(current, LinkTarget::Circular);
        chain.push(current);
        let path: Vec<_> = tree.target(current).split(|&byte| byte == b'/').collect();
        match tree.find_inode(&path) {
            NO_INODE => break LinkTarget::Inode(current),
            // The directory has replaced the file of a lower layer that the link refers to.
            found if tree.is_kind(found, mode::DIRECTORY) => break LinkTarget::Inode(current),
            found if tree.is_kind(found, mode::LINK) => current = found,
            found => break LinkTarget::Inode(found),
        }
    };
    targets.extend(chain.into_iter().map(|link| (link, target)));
}

/// Returns the path and inode of the first link, in the order of slots, that leads back to itself.
///
/// A circular link that a later entry has replaced is not an error.
fn first_circular(tree: &Tree, targets: &HashMap<u32, LinkTarget>) -> Option<(Vec<u8>, u32)> {
    if targets.values().all(|target| matches!(target, LinkTarget::Inode(_))) {
        return None;
    }
    let directories: HashMap<u32, usize> = (tree.slots.iter().enumerate())
        .filter(|(_, slot)| tree.is_kind(slot.inode, mode::DIRECTORY))
        .map(|(number, slot)| (slot.inode, number))
        .collect();
    let circular = |inode: u32| matches!(targets.get(&inode), Some(LinkTarget::Circular));
    let path = |number: usize| {
        let (mut slot, mut names) = (&tree.slots[number], Vec::new());
        loop {
            names.push(tree.name(slot));
            match slot.parent {
                ROOT => break,
                parent => slot = &tree.slots[*directories.get(&parent)?],
            }
        }
        names.reverse();
        Some((names.join(&b'/'), tree.slots[number].inode))
    };
    (0..tree.slots.len()).filter(|&number| circular(tree.slots[number].inode)).find_map(path)
}
