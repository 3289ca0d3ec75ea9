//! The listing of a tree of the model.

use std::collections::BTreeMap;

use super::{Listing, Row};
use crate::model::{Inode, InodeId, Node, Tree};

impl Listing {
    /// Lists the root of the model's tree.
    pub fn of_tree(tree: &Tree) -> Self {
        let mut listing = Self::default();
        let mut groups: BTreeMap<InodeId, Vec<Vec<u8>>> = BTreeMap::new();
        for (path, id) in tree.paths().into_iter().filter(|(path, _)| !path.is_empty()) {
            groups.entry(id).or_default().push(path.clone());
            listing.rows.insert(path, row(&tree.inode(id)));
        }
        listing.set_links(groups.values());
        listing
    }
}

fn row(inode: &Inode<'_>) -> Row {
    let attributes = inode.attributes;
    let blank = Row {
        kind: ' ',
        mode: attributes.mode,
        uid: attributes.uid,
        gid: attributes.gid,
        mtime: attributes.mtime.total_nanoseconds(),
        size: None,
        device: None,
        link: None,
        target: None,
        xattrs: attributes.xattrs.clone(),
        sha256: None,
    };
    match inode.node {
        Node::Directory(_) => Row { kind: 'd', ..blank },
        Node::File(content) => {
            Row { kind: 'f', size: Some(content.size()), sha256: Some(content.sha256().hex()[..32].into()), ..blank }
        }
        Node::Symlink(target) => Row { kind: 'l', target: Some(target.to_vec()), ..blank },
        Node::CharDevice(major, minor) => Row { kind: 'c', device: Some((major, minor)), ..blank },
        Node::BlockDevice(major, minor) => Row { kind: 'b', device: Some((major, minor)), ..blank },
        Node::Fifo => Row { kind: 'p', ..blank },
    }
}
