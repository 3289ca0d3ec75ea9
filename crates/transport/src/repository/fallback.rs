//! A reader of a blob that goes on at another place when one fails.

use std::io::{self, Read};
use std::sync::atomic::Ordering;

use vmroot_errors::ErrorKind;
use vmroot_model::{Descriptor, Reference};
use vmroot_registry::ResumingBlob;

use super::RegistrySource;
use crate::Error;

/// A reader of a blob in the places of a source.
///
/// The bytes are not checked, so those of several places are joined. The blob's digest, which the caller checks, tells
/// whether they fit.
pub(super) struct FallbackReader {
    source: RegistrySource,
    descriptor: Descriptor,
    /// The offset in the blob of the next byte.
    position: u64,
    /// The index of the place that is read from.
    index: usize,
    body: Option<ResumingBlob>,
    /// The errors of the places before.
    failed: Vec<(Reference, Error)>,
}

impl FallbackReader {
    pub(super) fn new(source: RegistrySource, descriptor: Descriptor, offset: u64) -> Self {
        let index = source.current.load(Ordering::Relaxed);
        Self { source, descriptor, position: offset, index, body: None, failed: Vec::new() }
    }

    fn read_here(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let Some(place) = self.source.places.get(self.index) else {
            return Err(Error::NoPlace { reference: self.source.reference.clone() });
        };
        let body = match &mut self.body {
            Some(body) => body,
            None => {
                let (client, reference) = place.open()?;
                self.body.insert(client.resuming_blob(reference, &self.descriptor, self.position))
            }
        };
        let (digest, name) = (self.descriptor.digest, self.source.reference.to_string());
        body.read(buffer).map_err(|error| match error.downcast::<vmroot_registry::Error>() {
            Ok(error) => Error::Registry(error),
            Err(error) => Error::of_reader(error, name, digest),
        })
    }
}

impl Read for FallbackReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let error = match self.read_here(buffer) {
                Ok(count) => {
                    self.position += count as u64;
                    return Ok(count);
                }
                Err(error) => error,
            };
            if error.kind() == ErrorKind::Cancelled {
                return Err(into_io(error));
            }
            let Some(place) = self.source.places.get(self.index) else { return Err(into_io(error)) };
            let place = place.reference().clone();
            let is_last = self.index + 1 >= self.source.places.len();
            if let Some(next) = self.source.places.get(self.index + 1) {
                self.source.note_failure(&place, &error, next.reference());
            }
            self.failed.push((place, error));
            if is_last {
                // The next read tries the last place again.
                self.body = None;
                return Err(into_io(self.source.all_failed(std::mem::take(&mut self.failed))));
            }
            (self.index, self.body) = (self.index + 1, None);
        }
    }
}

/// Wraps an error as those of all sources are wrapped.
fn into_io(error: Error) -> io::Error {
    match error {
        Error::Registry(error) => {
            let error = io::Error::from(error);
            let kind = error.kind();
            match error.downcast::<vmroot_registry::Error>() {
                Ok(error) => io::Error::new(kind, Error::Registry(error)),
                Err(error) => error,
            }
        }
        error => io::Error::other(error),
    }
}
