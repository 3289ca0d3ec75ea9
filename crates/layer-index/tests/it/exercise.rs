//! Calling every read access on an index of arbitrary bytes. Fuzz targets use this file as well.

use std::io::{Cursor, sink};

use vmroot_layer_index::{DirentKind, Error, Index, InodeId, InodeKind, Target, dump, merge};

/// Opens an index, calls every access on every record of an accepted one, and returns whether it was accepted.
///
/// Panics if an accepted index is not a tree.
pub(crate) fn exercise(bytes: Vec<u8>) -> bool {
    let index = match Index::from_bytes(bytes) {
        Ok(index) => index,
        Err(Error::InvalidIndex { .. }) => return false,
        Err(other) => panic!("not an error of from_bytes(): {other}"),
    };
    let names = walk(&index);
    for number in 0..index.inode_count() {
        read_inode(&index, InodeId(number), names[number as usize]);
    }
    assert_eq!(index.inode_id(u64::from(index.inode_count())), None);
    dump(&index, &mut sink()).expect("a sink takes everything");
    merge_alone(&index);
    true
}

/// Walks the tree and counts the names of each inode.
///
/// The walk ends, because `open` only accepts trees in which a directory has one name.
fn walk(index: &Index) -> Vec<u32> {
    let mut names = vec![0; index.inode_count() as usize];
    let mut dirents = 0;
    let mut directories = vec![InodeId::ROOT];
    while let Some(directory) = directories.pop() {
        let mut last: &[u8] = &[];
        assert_eq!(index.children(directory, 0).len(), index.child_count(directory));
        for (position, child) in index.children(directory, 0).enumerate() {
            dirents += 1;
            assert!(last < child.name && child.name.len() <= 255 && !child.name.contains(&b'/'));
            last = child.name;
            let found = index.child(directory, child.name).expect("a listed name is found");
            let again = index.children(directory, position).next().expect("a listed name is at its position");
            assert!(found.target == child.target && again.name == child.name);
            match child.target {
                Target::Inode(inode) => {
                    assert_eq!(DirentKind::Inode(index.inode(inode).kind()), child.kind);
                    names[inode.0 as usize] += 1;
                    if index.inode(inode).kind() == InodeKind::Directory {
                        directories.push(inode);
                    }
                }
                Target::Whiteout => assert!(!index.is_root() && child.kind == DirentKind::Whiteout),
            }
        }
        assert!(index.child(directory, b"").is_none() && index.child(directory, b"a/b").is_none());
    }
    assert_eq!(dirents, index.dirent_count());
    names
}

fn read_inode(index: &Index, id: InodeId, names: u32) {
    let inode = index.inode(id);
    let kind = inode.kind();
    match kind {
        InodeKind::Directory => assert_eq!(names, u32::from(id != InodeId::ROOT)),
        _ => assert!(names == inode.nlink() && names > 0),
    }
    assert!(inode.mtime().nanoseconds < 1_000_000_000);
    let is_link = matches!(kind, InodeKind::Symlink | InodeKind::Link);
    assert_eq!(!inode.link_target().is_empty(), is_link);
    assert_eq!(inode.extent().is_some(), inode.content_digest().is_some());
    if let Some(extent) = inode.extent() {
        let file = index.contents()[extent.file as usize];
        assert!(extent.length == inode.size() && extent.offset + extent.length <= file.length);
    }
    assert_eq!(inode.has_xattrs(), inode.xattrs().len() > 0);
    assert!(inode.xattrs().all(|(name, value)| !name.is_empty() && value.len() <= 65_536));
    let _ = (inode.uid(), inode.gid(), inode.device(), inode.is_opaque(), inode.is_implicit());
    assert!(kind == InodeKind::Directory || index.children(id, 0).len() == 0);
}

/// Merges the index by itself. The result must be accepted as well.
fn merge_alone(index: &Index) {
    let mut bytes = Cursor::new(Vec::new());
    let merged = match index.is_root() {
        true => merge(Some(index), &[], index.identity(), &mut bytes),
        false => merge(None, &[index], index.identity(), &mut bytes),
    };
    match merged {
        Ok(_) => drop(Index::from_bytes(bytes.into_inner()).expect("open() accepts the output of merge()")),
        Err(Error::LinkTargetMissing { .. }) => assert!(!index.is_root()),
        Err(other) => panic!("not an error of these bytes: {other}"),
    }
}
