//! A connection with a client.

use std::io::{self, Read, Write};

use super::protocol::MAX_NAME;
use crate::Device;

/// The end of a connection before its regular end.
#[derive(Debug)]
pub(super) enum Ended {
    /// The client has disconnected.
    Disconnected,
    /// The client has violated the protocol.
    Violation(&'static str),
}

/// The result of a step of a connection.
pub(super) type Step<T> = Result<T, Ended>;

/// A connection, and what the client has negotiated.
pub(super) struct Connection<'d, I, O> {
    pub(super) device: &'d Device,
    input: I,
    output: O,
    /// Whether replies to reads are structured.
    pub(super) structured: bool,
    /// Whether the client has selected the metadata context.
    pub(super) has_context: bool,
    /// Whether 124 zeros follow the reply to an export name.
    pub(super) zeroes: bool,
}

impl<'d, I: Read, O: Write> Connection<'d, I, O> {
    pub(super) fn new(device: &'d Device, input: I, output: O) -> Self {
        Self { device, input, output, structured: false, has_context: false, zeroes: true }
    }

    /// Serves the client until the connection ends.
    pub(super) fn serve(mut self) -> Step<()> {
        match self.shake_hands()? {
            true => self.transmit(),
            false => Ok(()),
        }
    }

    pub(super) fn read<const N: usize>(&mut self) -> Step<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads bytes whose number is checked.
    pub(super) fn read_bytes(&mut self, length: u32) -> Step<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.input.by_ref().take(length.into()).read_to_end(&mut bytes)?;
        if read as u64 == u64::from(length) { Ok(bytes) } else { Err(Ended::Disconnected) }
    }

    /// Reads bytes and ignores them.
    pub(super) fn skip(&mut self, length: u32) -> Step<()> {
        let skipped = io::copy(&mut self.input.by_ref().take(length.into()), &mut io::sink())?;
        if skipped == u64::from(length) { Ok(()) } else { Err(Ended::Disconnected) }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Step<()> {
        Ok(self.output.write_all(bytes)?)
    }
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self::Disconnected
    }
}

/// Parses the fields of a message.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    /// Returns a name with its length before it; `None` also if it is longer than names may be.
    pub(super) fn name(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok().filter(|length| *length <= MAX_NAME)?;
        let (name, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(name)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }
}
