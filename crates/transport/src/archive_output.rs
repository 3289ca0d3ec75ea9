//! The file of an archive that is written: it appears when it is complete.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use vmroot_output::{OutputFile, directory_of};

use crate::blob_spool::BlobSpool;
use crate::tar_writer::TarWriter;
use crate::{DestinationOptions, Error, Result};

/// An archive that is written at its commit, from the blobs in its spool.
#[derive(Debug)]
pub(crate) struct ArchiveOutput {
    path: PathBuf,
    /// The time of the members, in seconds since 1970.
    time: u64,
    /// Taken by the commit.
    file: Mutex<Option<OutputFile>>,
    spool: BlobSpool,
}

impl ArchiveOutput {
    /// Opens the file. The spool is beside a regular file, or else in the directory of the options.
    pub(crate) fn create(path: &Path, options: &DestinationOptions) -> Result<Self> {
        let is_regular = fs::metadata(path).map_or(true, |metadata| metadata.is_file());
        let file = OutputFile::create(path)?;
        let directory = if is_regular { directory_of(path) } else { &options.spool };
        let spool = BlobSpool::create_in(directory)?;
        Ok(Self { path: path.to_owned(), time: options.timestamp.unwrap_or(0), file: Mutex::new(Some(file)), spool })
    }

    /// Returns the path of the archive.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the blobs.
    pub(crate) fn spool(&self) -> &BlobSpool {
        &self.spool
    }

    /// Writes the members, and gives the file its name.
    pub(crate) fn commit(&self, write: impl FnOnce(&mut TarWriter<&mut dyn Write>) -> io::Result<()>) -> Result<()> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner).take();
        let file = file.ok_or_else(|| Error::NoManifest { place: self.path.display().to_string() })?;
        file.write_with(|writer| {
            let mut tar = TarWriter::new(writer, self.time);
            write(&mut tar).and_then(|()| tar.finish().map(drop)).map_err(vmroot_output::Error::on("write", &self.path))
        })
        .map_err(Error::from)
    }
}
