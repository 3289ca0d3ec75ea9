//! Checking file contents against the digests of an index: everything that [`Index::open`](crate::Index::open) cannot
//! see.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::format::ALIGNMENT;
use crate::open::{Index, InodeId};
use crate::{Error, Result};

/// How much is read at once.
const PIECE: usize = 1 << 20;

/// Reads every file of `contents` that the layer `index` names and compares its digest, and looks for the zeros between
/// files, which a map of a file shows; gives the bytes read.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::InvalidContents`] for a wrong length, digest or padding; the
/// inode is named by its number, which [`dump`](crate::dump) shows beside its path. [`Error::InvalidContents`] as well
/// for a merged root, whose files lie in more than one `.contents`.
pub fn verify_contents(index: &Index, contents: &Path) -> Result<u64> {
    verify_contents_while(index, contents, &|| ControlFlow::Continue(()))
}

/// The same, which asks `going_on` before each part that it reads.
///
/// # Errors
/// As [`verify_contents`], and [`Error::Cancelled`] when `going_on` breaks.
pub fn verify_contents_while(index: &Index, contents: &Path, going_on: &dyn Fn() -> ControlFlow<()>) -> Result<u64> {
    let invalid = |reason| Error::InvalidContents { path: contents.to_owned(), reason };
    let [expected] = index.contents() else {
        return Err(invalid(format!("one file, its index names {}", index.contents().len())));
    };
    let file = File::open(contents).map_err(Error::io(contents))?;
    let length = file.metadata().map_err(Error::io(contents))?.len();
    if length != expected.length {
        return Err(invalid(format!("{length} bytes long, its index says {}", expected.length)));
    }
    let mut buffer = vec![0; PIECE];
    let mut total = 0;
    for number in 0..index.inode_count() {
        let inode = index.inode(InodeId(number));
        let (Some(extent), Some(expected)) = (inode.extent(), inode.content_digest()) else { continue };
        let mut hasher = blake3::Hasher::new();
        let (mut offset, end) = (extent.offset, extent.offset + extent.length);
        while offset < end {
            if going_on().is_break() {
                return Err(Error::Cancelled);
            }
            // The last piece has the padding behind it: pieces are whole blocks, and so is the file.
            let block_end = end.next_multiple_of(ALIGNMENT);
            let piece = &mut buffer[..(block_end - offset).min(PIECE as u64) as usize];
            file.read_exact_at(piece, offset).map_err(Error::io(contents))?;
            let (data, padding) = piece.split_at((end - offset).min(piece.len() as u64) as usize);
            hasher.update(data);
            if padding.iter().any(|&byte| byte != 0) {
                return Err(invalid(format!("the padding of inode {number} at {} is not zero", extent.offset)));
            }
            offset += piece.len() as u64;
        }
        if hasher.finalize().as_bytes() != expected {
            return Err(invalid(format!("the bytes of inode {number} at {} have changed", extent.offset)));
        }
        total += extent.length;
    }
    Ok(total)
}
