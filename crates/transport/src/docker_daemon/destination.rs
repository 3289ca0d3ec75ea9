//! A Docker engine as a destination.

use std::io::{self, PipeReader};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use vmroot_model::{Descriptor, MediaType, Reference};

use super::client::Engine;
use super::upload::PipeBody;
use crate::docker_archive::DockerArchiveDestination;
use crate::{Accepts, DestinationOptions, Error, ImageDestination, LayerForm, ManifestPlace, NewBlob, Result, Reuse};

/// An engine that will load one image.
#[derive(Debug)]
pub(crate) struct DaemonDestination {
    engine: Engine,
    /// Writes the archive into the pipe.
    archive: DockerArchiveDestination,
    /// The end of the pipe that the engine reads. Taken by the commit.
    reader: Mutex<Option<PipeReader>>,
}

impl DaemonDestination {
    pub(super) fn open(engine: Engine, tag: &Reference, options: &DestinationOptions) -> Result<Self> {
        let name = format!("docker-daemon:{}", tag.familiar());
        let (reader, writer) = io::pipe().map_err(Error::io("make a pipe for", name.as_ref()))?;
        let archive = DockerArchiveDestination::to_writer(name, writer, tag, options)?;
        Ok(Self { engine, archive, reader: Mutex::new(Some(reader)) })
    }
}

impl ImageDestination for DaemonDestination {
    fn name(&self) -> String {
        self.archive.name()
    }

    fn accepts(&self) -> Accepts {
        // Engines decompress layers themselves. One with an image store of containerd keeps them as they are sent, and
        // so the digest of an image whose manifest stays the same.
        Accepts { layers: LayerForm::Keep, ..self.archive.accepts() }
    }

    fn reuse_blob(&self, blob: &Descriptor, origins: &[Reference]) -> Result<Reuse> {
        self.archive.reuse_blob(blob, origins)
    }

    fn put_blob(&self, blob: &mut NewBlob<'_>) -> Result<()> {
        self.archive.put_blob(blob)
    }

    fn put_manifest(&self, bytes: &[u8], media_type: &MediaType, place: ManifestPlace) -> Result<()> {
        self.archive.put_manifest(bytes, media_type, place)
    }

    fn commit(&self) -> Result<()> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        let reader = reader.filter(|_| self.archive.has_manifest());
        let reader = reader.ok_or_else(|| Error::NoManifest { place: self.name() })?;
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            let writing = scope.spawn(move || {
                let written = self.archive.commit();
                // The reader waits for the end of the pipe.
                self.archive.close();
                // The request may have ended already, with an error.
                let _ = sender.send(written.is_ok());
                written
            });
            let loaded = self.engine.load(PipeBody::new(reader, receiver));
            match (loaded, writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))) {
                // The pipe breaks if the engine ends the request, whose error says why.
                (loaded, Err(error)) if is_broken_pipe(&error) => loaded.and(Err(error)),
                (_, Err(error)) => Err(error),
                (loaded, Ok(())) => loaded,
            }
        })
    }
}

fn is_broken_pipe(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
}
