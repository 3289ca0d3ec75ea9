//! Checking file contents against the digests of an index. [`Index::open`](crate::Index::open) does not read them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use vmroot_output::Cancel;

use crate::format::ALIGNMENT;
use crate::open::{Index, InodeId};
use crate::{Error, Result};

/// The number of bytes read at once.
const CHUNK: usize = 1 << 20;

/// Verifies the `.contents` file at `contents` against the index of its layer, and returns the total size of its files
/// in bytes.
///
/// Compares the digest of every file. Also checks that the padding between files is zero, because a mapping of a file
/// exposes it.
///
/// # Errors
/// - [`Error::Io`] when the file cannot be read.
/// - [`Error::InvalidContents`] for a wrong length, digest or padding. The message has the number of the inode;
///   [`dump`](crate::dump) shows it beside the path.
/// - [`Error::InvalidContents`] when `index` does not refer to exactly one contents file, as that of a merged root.
/// - [`Error::Cancelled`] when `cancel` is set, which is checked before each read.
pub fn verify_contents(index: &Index, contents: &Path, cancel: &Cancel) -> Result<u64> {
    verify_contents_with_progress(index, contents, cancel, &mut |_| {})
}

/// Verifies a `.contents` file as [`verify_contents`]. Calls `advanced` with the number of bytes of each read, at most
/// 1 MiB. Bytes that several files share are read for each of them.
///
/// # Errors
/// As [`verify_contents`].
pub fn verify_contents_with_progress(
    index: &Index,
    contents: &Path,
    cancel: &Cancel,
    advanced: &mut dyn FnMut(u64),
) -> Result<u64> {
    let invalid = |reason| Error::InvalidContents { path: contents.to_owned(), reason };
    let [expected] = index.contents() else {
        return Err(invalid(format!("its index refers to {} contents files, expected 1", index.contents().len())));
    };
    let file = File::open(contents).map_err(Error::io(contents))?;
    let length = file.metadata().map_err(Error::io(contents))?.len();
    if length != expected.length {
        return Err(invalid(format!("{length} bytes long, expected {}", expected.length)));
    }
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    for number in 0..index.inode_count() {
        let inode = index.inode(InodeId(number));
        let (Some(extent), Some(expected)) = (inode.extent(), inode.content_digest()) else { continue };
        let mut hasher = blake3::Hasher::new();
        let (mut offset, end) = (extent.offset, extent.offset + extent.length);
        while offset < end {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            // Chunks are whole blocks, so the last chunk of a file includes its padding.
            let block_end = end.next_multiple_of(ALIGNMENT);
            let chunk = &mut buffer[..(block_end - offset).min(CHUNK as u64) as usize];
            file.read_exact_at(chunk, offset).map_err(Error::io(contents))?;
            advanced(chunk.len() as u64);
            let (data, padding) = chunk.split_at((end - offset).min(chunk.len() as u64) as usize);
            hasher.update(data);
            if padding.iter().any(|&byte| byte != 0) {
                return Err(invalid(format!("the padding of inode {number} at {} is not zero", extent.offset)));
            }
            offset += chunk.len() as u64;
        }
        if hasher.finalize().as_bytes() != expected {
            return Err(invalid(format!("the bytes of inode {number} at {} have changed", extent.offset)));
        }
        total += extent.length;
    }
    Ok(total)
}
