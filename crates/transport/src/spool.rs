//! Getting at the plain tar of an archive, whose members are read in any order.

use std::fs::File;
use std::io::{BufRead, Seek, Write};
use std::path::Path;

use vmroot_compress::{Compression, Decoder};

use crate::bundle::read_error;
use crate::{Error, Options, Result};

/// Opens an archive for reading at any place.
///
/// A plain tar is read where it is. One that is compressed, or that comes from a pipe, is decoded once, to an unnamed
/// file that goes with its last reader.
pub(crate) fn open_plain(path: &Path, options: &Options) -> Result<File> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let metadata = file.metadata().map_err(Error::io("stat", path))?;
    if metadata.is_dir() {
        return Err(Error::NotAnArchive { path: path.to_owned(), reason: "it is a directory".to_owned() });
    }
    if metadata.is_file() && sniff(&file).map_err(Error::io("read", path))? == Compression::None {
        return Ok(file);
    }
    spool(path, file, options)
}

fn sniff(file: &File) -> std::io::Result<Compression> {
    let mut start = [0; Compression::SNIFF_LEN];
    let mut filled = 0;
    while filled < start.len() {
        match std::os::unix::fs::FileExt::read_at(file, &mut start[filled..], filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(Compression::sniff(&start[..filled]))
}

fn spool(path: &Path, file: File, options: &Options) -> Result<File> {
    let decompress = |source| Error::Decompress { path: path.to_owned(), source };
    let mut decoder = Decoder::new(file, &options.limits).map_err(decompress)?;
    let mut plain =
        tempfile::tempfile_in(&options.spool).map_err(Error::io("make a temporary file in", &options.spool))?;
    loop {
        let piece = decoder.fill_buf().map_err(|error| read_error(path, error))?;
        if piece.is_empty() {
            plain.rewind().map_err(Error::io("read a temporary file in", &options.spool))?;
            return Ok(plain);
        }
        plain.write_all(piece).map_err(Error::io("write a temporary file in", &options.spool))?;
        let len = piece.len();
        decoder.consume(len);
    }
}
