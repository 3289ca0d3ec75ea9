//! Printing an index as text, one directory entry a line, for people and tests.

use std::io::{self, Write};

use bstr::ByteSlice;

use crate::access::{Dirent, Target};
use crate::inode::InodeKind;
use crate::open::{Index, InodeId};

/// Writes every path of an index as a line of text, parents before children, siblings in byte order.
///
/// A line has the path, the inode's number, its mode in octal, its owner, its modification time, and the fields of its
/// kind. Bytes that are not printable are escaped.
///
/// # Errors
/// The errors of writing to `out`.
pub fn dump(index: &Index, out: &mut impl Write) -> io::Result<()> {
    let kind = if index.is_root() { "root" } else { "layer" };
    writeln!(out, "{kind} {} inodes {} dirents {}", index.identity(), index.inode_count(), index.dirent_count())?;
    for file in index.contents() {
        writeln!(out, "contents {} {}", file.diff_id, file.length)?;
    }
    write!(out, ".")?;
    dump_inode(index, InodeId::ROOT, out)?;
    // An explicit stack instead of recursion: a layer may nest directories thousands deep.
    let mut pending = vec![(InodeId::ROOT, 0, 0)];
    let mut path: Vec<u8> = Vec::new();
    while let Some((directory, position, length)) = pending.pop() {
        path.truncate(length);
        let Some(child) = index.children(directory, position).next() else { continue };
        pending.push((directory, position + 1, length));
        if length > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(child.name);
        write!(out, "{}", path.as_bstr().escape_bytes())?;
        dump_child(index, &child, out)?;
        if let Target::Inode(inode) = child.target {
            pending.push((inode, 0, path.len()));
        }
    }
    Ok(())
}

fn dump_child(index: &Index, child: &Dirent<'_>, out: &mut impl Write) -> io::Result<()> {
    match child.target {
        Target::Inode(inode) => dump_inode(index, inode, out),
        Target::Whiteout => writeln!(out, " whiteout"),
    }
}

fn dump_inode(index: &Index, id: InodeId, out: &mut impl Write) -> io::Result<()> {
    let inode = index.inode(id);
    let mtime = inode.mtime();
    write!(
        out,
        " {} {:06o} {}:{} {}.{:09}",
        id.0,
        inode.mode(),
        inode.uid(),
        inode.gid(),
        mtime.seconds,
        mtime.nanoseconds
    )?;
    match inode.kind() {
        InodeKind::Regular => write!(out, " size {}", inode.size())?,
        InodeKind::Symlink => write!(out, " -> {}", inode.link_target().as_bstr().escape_bytes())?,
        InodeKind::Link => write!(out, " link to {}", inode.link_target().as_bstr().escape_bytes())?,
        InodeKind::Character | InodeKind::Block => write!(out, " device {}", inode.device())?,
        InodeKind::Directory | InodeKind::Fifo | InodeKind::Socket => {}
    }
    if let Some(extent) = inode.extent() {
        write!(out, " at {}:{}", extent.file, extent.offset)?;
    }
    if let Some(digest) = inode.content_digest() {
        write!(out, " blake3:{}", blake3::Hash::from_bytes(*digest).to_hex())?;
    }
    if inode.is_opaque() {
        write!(out, " opaque")?;
    }
    if inode.is_implicit() {
        write!(out, " implicit")?;
    }
    if inode.is_passive() {
        write!(out, " passive")?;
    }
    for (name, value) in inode.xattrs() {
        write!(out, " {}={}", name.as_bstr().escape_bytes(), value.as_bstr().escape_bytes())?;
    }
    writeln!(out)
}
