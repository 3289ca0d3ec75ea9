//! Raw DEFLATE (RFC 1951).
//!
//! It decodes directly into the output chunks. The end of the previous chunk is copied to the 32 KiB before the data,
//! so that matches do not wrap around. A stream is valid if zlib accepts it.

mod bits;
mod blocks;
mod copy;
mod fast;
mod header;
mod parallel;
mod symbol;
mod table;
#[cfg(test)]
mod tests;
mod window;

use std::fmt;
use std::io::Read;

use bits::Bits;
use blocks::Blocks;
pub(crate) use blocks::Pause;
pub(crate) use parallel::{Guesser, Piece, Symbols};
use table::END_OF_BLOCK;
use window::Window;

use crate::Error;
use crate::budget::PieceBuffers;
use crate::chunk::{Chunk, HISTORY};
use crate::gzip::corrupt;
use crate::input::Input;

/// The result of functions that also read the input.
type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a stream is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    BlockType,
    StoredLength,
    TooManyCodes,
    Code,
    RepeatOfNothing,
    TooManyRepeats,
    NoEndOfBlock,
    Symbol,
    Distance,
    TooFarBack,
}

impl Fault {
    fn reason(self) -> &'static str {
        match self {
            Self::BlockType => "a block has an invalid type",
            Self::StoredLength => "the length of a stored block does not match its complement",
            Self::TooManyCodes => "a block has too many length or distance codes",
            Self::Code => "a block has codeword lengths that do not form a code",
            Self::RepeatOfNothing => "a block repeats a codeword length before the first",
            Self::TooManyRepeats => "a block repeats codeword lengths past the last",
            Self::NoEndOfBlock => "a block has no codeword for its end",
            Self::Symbol => "a block has an invalid literal or length",
            Self::Distance => "a block has an invalid distance",
            Self::TooFarBack => "a match begins before the first byte",
        }
    }

    /// Returns the error, at the byte of the last consumed bit.
    fn at<R: Read>(self, bits: &mut Bits, input: &mut Input<R>) -> Error {
        bits.give_back(input);
        corrupt(input, self.reason())
    }
}

/// The reason why a loop over symbols stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// Too little input or output space is left.
    Margin,
    /// The block has ended.
    EndOfBlock,
}

/// Interprets an entry that is neither a symbol nor a pointer to a second table.
fn end_of_block(entry: u32) -> Result<Stop, Fault> {
    if entry & END_OF_BLOCK != 0 { Ok(Stop::EndOfBlock) } else { Err(Fault::Symbol) }
}

/// A decoder of DEFLATE streams, one after the other.
pub(crate) struct Inflate {
    blocks: Blocks,
    history: Box<[u8; HISTORY]>,
    /// The number of bytes at the end of `history` that belong to the stream.
    remembered: usize,
    /// The start of the stream in the current chunk. `None` until the history was copied before the chunk.
    floor: Option<usize>,
}

impl Default for Inflate {
    fn default() -> Self {
        Self { blocks: Blocks::default(), history: Box::new([0; HISTORY]), remembered: 0, floor: None }
    }
}

impl Inflate {
    /// Begins a stream. Its first decoded byte goes to the end of `chunk`.
    pub(crate) fn begin(&mut self, chunk: &mut Chunk) {
        self.blocks.begin(Bits::default(), false);
        self.floor = Some(*chunk.parts().1);
    }

    /// Decodes until `chunk` is full, or to the first block that begins at bit `until` or later.
    ///
    /// The chunk must be the one passed to [`Self::begin`], or an empty one after [`Self::save_history`]. At the end of
    /// the stream, the input is at the byte behind it.
    pub(crate) fn fill<R: Read>(&mut self, input: &mut Input<R>, chunk: &mut Chunk, until: u64) -> Result<Pause> {
        let limit = chunk.limit();
        let (buffer, end) = chunk.parts();
        let floor = self.floor.unwrap_or_else(|| {
            buffer[..HISTORY].copy_from_slice(&self.history[..]);
            HISTORY - self.remembered
        });
        self.floor = Some(floor);
        let mut window = Window { buffer, floor, pos: *end, limit };
        let pause = self.blocks.run(input, &mut window, until);
        self.blocks.bits.give_back(input);
        *end = window.pos;
        pause
    }

    /// Returns the current position and the position at which a [`Guesser`] would find this block, both in bits of the
    /// stream. Returns `None` within a block and after the last one.
    pub(crate) fn block_position<R: Read>(&mut self, input: &mut Input<R>) -> Result<Option<(u64, u64)>> {
        if !self.blocks.is_before_block() {
            return Ok(None);
        }
        let at = self.blocks.position(input);
        self.blocks.bits.top_up(input)?;
        let next = self.blocks.bits.peek(parallel::BEFORE_LENGTH);
        self.blocks.bits.give_back(input);
        Ok(Some((at, parallel::aligned(at, next))))
    }

    /// Replaces the empty `chunk` by `piece`, which begins at the current position, after [`Self::save_history`].
    /// Returns the memory that is now free.
    ///
    /// Returns the piece as an error if it refers to bytes before the start of the stream.
    pub(crate) fn take_piece(&mut self, mut piece: Piece, chunk: &mut Chunk) -> Result<PieceBuffers, Piece> {
        if piece.reach() > self.remembered {
            return Err(piece);
        }
        piece.resolve(&self.history);
        let bytes = piece.chunk.bytes();
        let new = bytes.len().min(HISTORY);
        self.history.copy_within(new.., 0);
        self.history[HISTORY - new..].copy_from_slice(&bytes[bytes.len() - new..]);
        self.remembered = (self.remembered + new).min(HISTORY);
        Ok((std::mem::replace(chunk, piece.chunk), piece.symbols))
    }

    /// Continues at bit `bit` of the next input byte, where a piece ended.
    pub(crate) fn resume<R: Read>(&mut self, input: &mut Input<R>, bit: u32, last_block: bool) -> Result<()> {
        let mut bits = Bits::default();
        bits.top_up(input)?;
        bits.take(bit, input)?;
        bits.give_back(input);
        self.blocks.begin(bits, last_block);
        Ok(())
    }

    /// Saves the last bytes, which matches in the next chunk may refer to.
    pub(crate) fn save_history(&mut self, chunk: &mut Chunk) {
        let (buffer, end) = chunk.parts();
        if let Some(floor) = self.floor.take() {
            self.remembered = (*end - floor).min(HISTORY);
            self.history.copy_from_slice(&buffer[*end - HISTORY..*end]);
        }
    }
}

impl fmt::Debug for Inflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflate")
            .field("state", &self.blocks.state)
            .field("bits", &self.blocks.bits)
            .finish_non_exhaustive()
    }
}
