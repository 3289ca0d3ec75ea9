//! Hard links that came before their targets, once the layer is complete.

use std::collections::HashMap;

use bstr::BString;

use super::tree::{ROOT, Tree};
use crate::format::{NO_INODE, mode};
use crate::{Error, Result};

/// What becomes of a link.
#[derive(Clone, Copy)]
enum Fate {
    /// It is this inode; a link whose target no entry names is its own, and the merge looks in lower layers.
    Inode(u32),
    /// It leads back to itself.
    Circle,
}

/// Gives links the inodes of their targets. What is left names paths of lower layers.
///
/// # Errors
/// [`Error::LinkTargetMissing`] for a link that leads back to itself.
pub(super) fn resolve(tree: &mut Tree, open_links: &[u32]) -> Result<()> {
    let mut fates = HashMap::with_capacity(open_links.len());
    for &link in open_links {
        decide(tree, link, &mut fates);
    }
    if let Some((entry, link)) = first_circular(tree, &fates) {
        return Err(Error::LinkTargetMissing { entry: entry.into(), target: BString::from(tree.target(link)) });
    }
    for slot in &mut tree.slots {
        if let Some(Fate::Inode(inode)) = fates.get(&slot.inode) {
            slot.inode = *inode;
        }
    }
    Ok(())
}

/// Follows a link to a link and so on, and decides the fate of all of them: each link is followed once.
fn decide(tree: &Tree, link: u32, fates: &mut HashMap<u32, Fate>) {
    let mut chain = Vec::new();
    let mut at = link;
    let fate = loop {
        if let Some(fate) = fates.get(&at) {
            break *fate;
        }
        // A walk that meets this again before it is replaced has gone in a circle.
        fates.insert(at, Fate::Circle);
        chain.push(at);
        let path: Vec<_> = tree.target(at).split(|&byte| byte == b'/').collect();
        match tree.find(&path) {
            NO_INODE => break Fate::Inode(at),
            // It took the place of the lower file that the link names.
            found if tree.is(found, mode::DIRECTORY) => break Fate::Inode(at),
            found if tree.is(found, mode::LINK) => at = found,
            found => break Fate::Inode(found),
        }
    };
    fates.extend(chain.into_iter().map(|link| (link, fate)));
}

/// The path and inode of the first link, in the order of slots, that leads back to itself. One that a later entry
/// replaced does no harm.
fn first_circular(tree: &Tree, fates: &HashMap<u32, Fate>) -> Option<(Vec<u8>, u32)> {
    if fates.values().all(|fate| matches!(fate, Fate::Inode(_))) {
        return None;
    }
    let directories: HashMap<u32, usize> = (tree.slots.iter().enumerate())
        .filter(|(_, slot)| tree.is(slot.inode, mode::DIRECTORY))
        .map(|(number, slot)| (slot.inode, number))
        .collect();
    let circular = |inode: u32| matches!(fates.get(&inode), Some(Fate::Circle));
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
