//! Concatenated gzip members (RFC 1952). pigz and eStargz write many of them.

use std::io::Read;

use crc32fast::Hasher;

use crate::chunk::Chunk;
use crate::inflate::{Inflate, Pause};
use crate::input::Input;
use crate::pieces::{NextStep, Pieces};
use crate::progress::Progress;
use crate::{Compression, Error, Result};

/// The first two bytes of a member, and DEFLATE, the only compression method.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 0x08];

const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

#[derive(Debug, Default)]
enum State {
    #[default]
    First,
    Body,
    Between,
}

/// A decoder of concatenated members. Zeros may follow the last one.
#[derive(Debug, Default)]
pub(crate) struct Gzip {
    state: State,
    inflate: Inflate,
    crc: Hasher,
    /// The number of decoded bytes of the member, modulo 2^32 as in the trailer.
    size: u32,
}

impl Gzip {
    pub(crate) fn fill<R: Read>(
        &mut self,
        input: &mut Input<R>,
        chunk: &mut Chunk,
        pieces: &mut impl Pieces<R>,
    ) -> Result<Progress> {
        loop {
            match self.state {
                State::First => self.begin(input, chunk)?,
                State::Between if is_at_member(input)? => self.begin(input, chunk)?,
                State::Between => return Ok(Progress::Ended),
                State::Body => {
                    if self.decode_body(input, chunk, pieces)? == Progress::Full {
                        return Ok(Progress::Full);
                    }
                    self.check_trailer(input)?;
                    self.state = State::Between;
                }
            }
        }
    }

    fn begin<R: Read>(&mut self, input: &mut Input<R>, chunk: &mut Chunk) -> Result<()> {
        skip_header(input)?;
        self.inflate.begin(chunk);
        self.crc.reset();
        self.size = 0;
        self.state = State::Body;
        Ok(())
    }

    fn decode_body<R: Read>(
        &mut self,
        input: &mut Input<R>,
        chunk: &mut Chunk,
        pieces: &mut impl Pieces<R>,
    ) -> Result<Progress> {
        loop {
            let pause = match pieces.next_step(input, &mut self.inflate)? {
                NextStep::Decode(until) => self.decode(input, chunk, until)?,
                NextStep::Take if chunk.is_empty() => self.take_piece(input, chunk, pieces)?,
                // A piece needs a chunk of its own.
                NextStep::Take => Pause::Full,
            };
            match pause {
                Pause::Full => {
                    self.inflate.save_history(chunk);
                    return Ok(Progress::Full);
                }
                Pause::Block => {}
                Pause::Ended => return Ok(Progress::Ended),
            }
        }
    }

    fn decode<R: Read>(&mut self, input: &mut Input<R>, chunk: &mut Chunk, until: u64) -> Result<Pause> {
        let before = chunk.len();
        let pause = self.inflate.fill(input, chunk, until)?;
        self.count(&chunk.bytes()[before..]);
        Ok(pause)
    }

    /// Replaces the empty chunk by the next piece, unless it refers to bytes before the start of the stream.
    fn take_piece<R: Read>(
        &mut self,
        input: &mut Input<R>,
        chunk: &mut Chunk,
        pieces: &mut impl Pieces<R>,
    ) -> Result<Pause> {
        self.inflate.save_history(chunk);
        let Some(piece) = pieces.take() else { return Ok(Pause::Block) };
        let (end, last_block) = (piece.end, piece.last_block);
        match self.inflate.take_piece(piece, chunk) {
            Ok(replaced) => pieces.reuse(replaced),
            Err(piece) => {
                pieces.reuse((piece.chunk, piece.symbols));
                return Ok(Pause::Block);
            }
        }
        pieces.skip_to(input, end / 8);
        self.inflate.resume(input, (end % 8) as u32, last_block)?;
        self.count(chunk.bytes());
        Ok(if chunk.is_empty() { Pause::Block } else { Pause::Full })
    }

    fn count(&mut self, new: &[u8]) {
        self.crc.update(new);
        self.size = self.size.wrapping_add(new.len() as u32); // a chunk is far below 2^32
    }

    fn check_trailer<R: Read>(&self, input: &mut Input<R>) -> Result<()> {
        let [c0, c1, c2, c3, s0, s1, s2, s3] = read_array(input)?;
        if u32::from_le_bytes([c0, c1, c2, c3]) != self.crc.clone().finalize() {
            return Err(corrupt(input, "the CRC-32 of the data is not the one in the trailer"));
        }
        if u32::from_le_bytes([s0, s1, s2, s3]) != self.size {
            return Err(corrupt(input, "the size of the data is not the one in the trailer"));
        }
        Ok(())
    }
}

/// Returns true if another member follows. Otherwise consumes the zeros up to the end of the input.
fn is_at_member<R: Read>(input: &mut Input<R>) -> Result<bool> {
    let next = input.fill_to(MAGIC.len())?;
    if next.starts_with(&MAGIC) {
        return Ok(true);
    }
    loop {
        let padding = input.fill()?;
        if padding.is_empty() {
            return Ok(false);
        }
        let zeros = padding.iter().take_while(|byte| **byte == 0).count();
        let garbage = zeros < padding.len();
        input.consume(zeros);
        if garbage {
            return Err(Error::TrailingGarbage { compression: Compression::Gzip, offset: input.consumed() });
        }
    }
}

/// Consumes the header of a member (RFC 1952 section 2.3).
fn skip_header<R: Read>(input: &mut Input<R>) -> Result<()> {
    let mut header = Header { input, crc: Hasher::new() };
    let [m0, m1, m2, flags, _mtime @ .., _xfl, _os] = header.take::<10>()?;
    if [m0, m1, m2] != MAGIC {
        return Err(corrupt(input, "not a gzip member"));
    }
    if flags & RESERVED != 0 {
        return Err(corrupt(input, "a reserved flag is set in the header"));
    }
    if flags & FEXTRA != 0 {
        let len = header.take()?;
        header.skip(usize::from(u16::from_le_bytes(len)))?;
    }
    if flags & FNAME != 0 {
        header.skip_text()?;
    }
    if flags & FCOMMENT != 0 {
        header.skip_text()?;
    }
    if flags & FHCRC != 0 {
        let expected = header.crc.finalize() as u16; // its two low bytes
        if u16::from_le_bytes(read_array(input)?) != expected {
            return Err(corrupt(input, "the header has a wrong checksum"));
        }
    }
    Ok(())
}

/// A header that is being read, and its checksum.
struct Header<'a, R> {
    input: &'a mut Input<R>,
    crc: Hasher,
}

impl<R: Read> Header<'_, R> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = read_array(self.input)?;
        self.crc.update(&bytes);
        Ok(bytes)
    }

    fn skip(&mut self, mut n: usize) -> Result<()> {
        while n > 0 {
            let bytes = self.input.fill()?;
            let taken = bytes.len().min(n);
            self.crc.update(&bytes[..taken]);
            if taken == 0 {
                return Err(truncated(self.input));
            }
            self.input.consume(taken);
            n -= taken;
        }
        Ok(())
    }

    /// Consumes text and its terminating NUL.
    fn skip_text(&mut self) -> Result<()> {
        while self.take::<1>()? != [0] {}
        Ok(())
    }
}

/// Consumes exactly `N` bytes. `N` must be small.
fn read_array<const N: usize, R: Read>(input: &mut Input<R>) -> Result<[u8; N]> {
    match input.fill_to(N)?.first_chunk() {
        Some(bytes) => {
            let bytes = *bytes;
            input.consume(N);
            Ok(bytes)
        }
        None => Err(truncated(input)),
    }
}

/// Returns the error for an input that ends too early. Its `consumed` is the length of the input.
pub(crate) fn truncated<R: Read>(input: &Input<R>) -> Error {
    Error::Truncated { compression: Compression::Gzip, consumed: input.read_total() }
}

pub(crate) fn corrupt<R: Read>(input: &Input<R>, reason: &'static str) -> Error {
    Error::Corrupt { compression: Compression::Gzip, consumed: input.consumed(), reason }
}
