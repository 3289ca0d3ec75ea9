//! The file of an archive that is written: it appears when it is complete.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use vmroot_model::Descriptor;
use vmroot_output::{OutputFile, directory_of};

use crate::blob_spool::BlobSpool;
use crate::tar_writer::TarWriter;
use crate::{DestinationOptions, Error, NewBlob, Result, Reuse};

/// An archive that is written at its commit, from the blobs in its spool.
#[derive(Debug)]
pub(crate) struct ArchiveOutput {
    path: PathBuf,
    /// The time of the members, in seconds since 1970.
    time: u64,
    /// Taken by the commit.
    sink: Mutex<Option<Sink>>,
    spool: BlobSpool,
}

/// The target of an archive.
enum Sink {
    File(OutputFile),
    #[cfg(feature = "daemon")]
    Writer(Box<dyn Write + Send>),
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.fmt(f),
            #[cfg(feature = "daemon")]
            Self::Writer(_) => f.write_str("Writer"),
        }
    }
}

impl ArchiveOutput {
    /// Opens the file. The spool is beside a regular file, or else in the directory of the options.
    pub(crate) fn create(path: &Path, options: &DestinationOptions) -> Result<Self> {
        let is_regular = fs::metadata(path).map_or(true, |metadata| metadata.is_file());
        let file = OutputFile::create(path)?;
        let directory = if is_regular { directory_of(path) } else { &options.spool };
        let spool = BlobSpool::create_in(directory)?;
        let sink = Mutex::new(Some(Sink::File(file)));
        Ok(Self { path: path.to_owned(), time: options.timestamp.unwrap_or(0), sink, spool })
    }

    /// Prepares an archive that is written to `writer`. `path` is its name in messages. The spool is in the directory of
    /// the options.
    #[cfg(feature = "daemon")]
    pub(crate) fn to_writer(
        path: &Path,
        writer: impl Write + Send + 'static,
        options: &DestinationOptions,
    ) -> Result<Self> {
        let sink = Mutex::new(Some(Sink::Writer(Box::new(writer))));
        let spool = BlobSpool::create_in(&options.spool)?;
        Ok(Self { path: path.to_owned(), time: options.timestamp.unwrap_or(0), sink, spool })
    }

    /// Returns the path of the archive.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the blobs.
    pub(crate) fn spool(&self) -> &BlobSpool {
        &self.spool
    }

    /// Returns whether the archive has a blob already.
    pub(crate) fn reuse_blob(&self, blob: &Descriptor) -> Reuse {
        if self.spool.size(&blob.digest) == Some(blob.size) { Reuse::Present } else { Reuse::Absent }
    }

    /// Reads a blob to its end into the spool.
    pub(crate) fn put_blob(&self, blob: &mut NewBlob<'_>) -> Result<()> {
        self.spool.put(&self.path, blob).map(drop)
    }

    /// Closes an archive that was not written.
    #[cfg(feature = "daemon")]
    pub(crate) fn close(&self) {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Writes the members, and gives the file its name.
    pub(crate) fn commit(&self, write: impl FnOnce(&mut TarWriter<&mut dyn Write>) -> io::Result<()>) -> Result<()> {
        let sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner).take();
        let write_to = |writer: &mut dyn Write| {
            let mut tar = TarWriter::new(writer, self.time);
            write(&mut tar).and_then(|()| tar.finish().map(drop))
        };
        match sink {
            Some(Sink::File(file)) => file
                .write_with(|writer| write_to(writer).map_err(vmroot_output::Error::on("write", &self.path)))
                .map_err(Error::from),
            #[cfg(feature = "daemon")]
            Some(Sink::Writer(mut writer)) => {
                write_to(&mut writer).and_then(|()| writer.flush()).map_err(Error::io("write", &self.path))
            }
            None => Err(Error::NoManifest { place: self.path.display().to_string() }),
        }
    }
}
