//! The transmission: requests and replies.

use std::io::{Read, Write};

use super::connection::{Connection, Ended, Fields, Step};
use super::protocol::*;

/// The bytes of the header of a structured reply.
const CHUNK_HEADER: usize = 20;
/// The bytes of a chunk before its data.
const DATA_HEADER: usize = CHUNK_HEADER + 8;
/// The bytes of a simple reply before its data.
const SIMPLE_HEADER: usize = 16;

/// A request.
#[derive(Debug, Clone, Copy)]
struct Request {
    flags: u16,
    kind: u16,
    cookie: u64,
    offset: u64,
    length: u32,
}

impl Request {
    fn parse(bytes: &[u8; 28]) -> Option<Self> {
        let mut fields = Fields(bytes);
        fields.u32().filter(|magic| *magic == REQUEST_MAGIC)?;
        let (flags, kind) = (fields.u16()?, fields.u16()?);
        Some(Self { flags, kind, cookie: fields.u64()?, offset: fields.u64()?, length: fields.u32()? })
    }

    fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.length.into())
    }
}

impl<I: Read, O: Write> Connection<'_, I, O> {
    /// Answers requests until the client disconnects.
    pub(super) fn transmit(&mut self) -> Step<()> {
        loop {
            let bytes = self.read()?;
            let request = Request::parse(&bytes).ok_or(Ended::Violation("a request without its magic number"))?;
            match request.kind {
                command::DISCONNECT => return Ok(()),
                command::WRITE if request.length > MAX_LENGTH => {
                    return Err(Ended::Violation("a write that is too long"));
                }
                command::WRITE => {
                    // The client sends the data before it reads the reply, so the bytes are skipped first.
                    self.skip(request.length)?;
                    self.fail(&request, NbdError::Permission)?;
                }
                command::TRIM | command::WRITE_ZEROES => self.fail(&request, NbdError::Permission)?,
                _ => match self.check(&request) {
                    Err(error) => self.fail(&request, error)?,
                    Ok(()) => self.answer(&request)?,
                },
            }
        }
    }

    fn check(&self, request: &Request) -> Result<(), NbdError> {
        let allowed = match request.kind {
            command::READ if self.structured => request::DF,
            command::BLOCK_STATUS if self.has_context => request::REQ_ONE,
            command::READ | command::CACHE => 0,
            _ => return Err(NbdError::Invalid),
        };
        let is_inside = request.end().is_some_and(|end| end <= self.device.length());
        let is_long = request.kind == command::READ && request.length > MAX_LENGTH;
        if request.flags & !allowed != 0 || !is_inside || is_long {
            return Err(NbdError::Invalid);
        }
        match request.flags & request::DF != 0 && request.length as usize > MAX_CHUNK {
            true => Err(NbdError::Overflow),
            false => Ok(()),
        }
    }

    fn answer(&mut self, request: &Request) -> Step<()> {
        match request.kind {
            command::READ if self.structured => self.read_structured(request),
            command::READ => self.read_simple(request),
            command::BLOCK_STATUS => self.block_status(request),
            _ => {
                self.device.read_ahead(request.offset, request.length.into());
                self.succeed(request)
            }
        }
    }

    /// Sends the data after a simple header. An error after the first bytes can only end the connection.
    fn read_simple(&mut self, request: &Request) -> Step<()> {
        let (mut offset, mut left) = (request.offset, request.length as usize);
        let mut bytes = simple_header(0, request.cookie).to_vec();
        let mut start = SIMPLE_HEADER;
        loop {
            let count = left.min(MAX_CHUNK);
            bytes.resize(start + count, 0);
            if self.device.read_exact_at(&mut bytes[start..], offset).is_err() {
                return match start {
                    SIMPLE_HEADER => self.fail(request, NbdError::Io),
                    _ => Err(Ended::Violation("a contents file cannot be read")),
                };
            }
            self.write(&bytes)?;
            (offset, left, start) = (offset + count as u64, left - count, 0);
            if left == 0 {
                return Ok(());
            }
        }
    }

    /// Sends the data as chunks, and holes without their zeros.
    fn read_structured(&mut self, request: &Request) -> Step<()> {
        if request.length == 0 {
            return self.succeed(request);
        }
        let (mut offset, end) = (request.offset, request.offset + u64::from(request.length));
        let is_whole = request.flags & request::DF != 0;
        let mut bytes = Vec::new();
        while offset < end {
            let found = if is_whole { Ok(None) } else { self.device.extent_at(offset, end) };
            let Ok(extent) = found else { return self.fail(request, NbdError::Io) };
            let hole = extent.filter(|extent| extent.is_hole);
            let count = hole.or(extent).map_or(end - offset, |extent| extent.length);
            let count = if hole.is_some() { count } else { count.min(MAX_CHUNK as u64) };
            let done = if offset + count == end { chunk::DONE } else { 0 };
            bytes.clear();
            if hole.is_some() {
                bytes.extend_from_slice(&chunk_header(done, chunk::OFFSET_HOLE, request.cookie, 12));
                bytes.extend_from_slice(&offset.to_be_bytes());
                bytes.extend_from_slice(&(count as u32).to_be_bytes());
            } else {
                bytes.extend_from_slice(&chunk_header(done, chunk::OFFSET_DATA, request.cookie, count as u32 + 8));
                bytes.extend_from_slice(&offset.to_be_bytes());
                bytes.resize(DATA_HEADER + count as usize, 0);
                if self.device.read_exact_at(&mut bytes[DATA_HEADER..], offset).is_err() {
                    return self.fail(request, NbdError::Io);
                }
            }
            self.write(&bytes)?;
            offset += count;
        }
        Ok(())
    }

    fn block_status(&mut self, request: &Request) -> Step<()> {
        if request.length == 0 {
            return self.fail(request, NbdError::Invalid);
        }
        let (mut offset, end) = (request.offset, request.offset + u64::from(request.length));
        let limit = if request.flags & request::REQ_ONE != 0 { 1 } else { MAX_DESCRIPTORS };
        let mut descriptors = Vec::new();
        while descriptors.len() < limit * 8 {
            match self.device.extent_at(offset, end) {
                Ok(None) => break,
                Err(_) => return self.fail(request, NbdError::Io),
                Ok(Some(extent)) => {
                    let state = if extent.is_hole { STATE_HOLE | STATE_ZERO } else { 0 };
                    descriptors.extend_from_slice(&(extent.length as u32).to_be_bytes());
                    descriptors.extend_from_slice(&state.to_be_bytes());
                    offset += extent.length;
                }
            }
        }
        let length = descriptors.len() as u32 + 4;
        let header = chunk_header(chunk::DONE, chunk::BLOCK_STATUS, request.cookie, length);
        self.write(&[&header[..], &CONTEXT_ID.to_be_bytes(), &descriptors].concat())
    }

    /// Sends a reply without data.
    fn succeed(&mut self, request: &Request) -> Step<()> {
        match self.structured {
            true => self.write(&chunk_header(chunk::DONE, chunk::NONE, request.cookie, 0)),
            false => self.write(&simple_header(0, request.cookie)),
        }
    }

    fn fail(&mut self, request: &Request, error: NbdError) -> Step<()> {
        if !self.structured {
            return self.write(&simple_header(error as u32, request.cookie));
        }
        let header = chunk_header(chunk::DONE, chunk::ERROR, request.cookie, 6);
        // The last two bytes are the length of a message, which is empty.
        self.write(&[&header[..], &(error as u32).to_be_bytes(), &[0, 0]].concat())
    }
}

fn simple_header(error: u32, cookie: u64) -> [u8; SIMPLE_HEADER] {
    let mut bytes = [0; SIMPLE_HEADER];
    bytes[..4].copy_from_slice(&SIMPLE_REPLY_MAGIC.to_be_bytes());
    bytes[4..8].copy_from_slice(&error.to_be_bytes());
    bytes[8..].copy_from_slice(&cookie.to_be_bytes());
    bytes
}

fn chunk_header(flags: u16, kind: u16, cookie: u64, length: u32) -> [u8; CHUNK_HEADER] {
    let mut bytes = [0; CHUNK_HEADER];
    bytes[..4].copy_from_slice(&STRUCTURED_REPLY_MAGIC.to_be_bytes());
    bytes[4..6].copy_from_slice(&flags.to_be_bytes());
    bytes[6..8].copy_from_slice(&kind.to_be_bytes());
    bytes[8..16].copy_from_slice(&cookie.to_be_bytes());
    bytes[16..].copy_from_slice(&length.to_be_bytes());
    bytes
}
