//! Decoding of a part of a stream before the bytes in front of it are decoded.
//!
//! A [`Guesser`] guesses where a block begins and decodes from there. It does not know the bytes before, so some bytes
//! stay marks until [`Inflate`](super::Inflate) has come to that block and takes the [`Piece`] instead of decoding. A
//! piece is whole blocks only, all of them valid, and is taken only where one of its blocks begins: so a wrong
//! guess changes nothing, and every fault of a stream is found by the decoder that decodes it in order.

mod finder;
mod symbols;
#[cfg(test)]
mod tests;

use std::io::Empty;

use finder::Finder;
use symbols::Meanings;
pub(crate) use symbols::Symbols;

use super::bits::Bits;
use super::blocks::{Blocks, Pause};
use super::symbol::Symbol;
use super::window::Window;
use crate::Error;
use crate::budget::Room;
use crate::chunk::{Chunk, HISTORY};
use crate::input::Input;

/// Blocks that were decoded without the bytes before them.
#[derive(Debug)]
pub(crate) struct Piece {
    /// The bit of the stream that the first block begins at; see [`aligned`].
    pub(crate) start: u64,
    /// The bit that follows the last block.
    pub(crate) end: u64,
    /// Whether the last block is the last one of its stream.
    pub(crate) last_block: bool,
    /// The bytes that they decode to. The first ones are not written yet: see `symbols`.
    pub(crate) chunk: Chunk,
    /// The first bytes, with marks among them.
    pub(crate) symbols: Symbols,
}

impl Piece {
    /// Bytes that the blocks decode to.
    pub(crate) fn len(&self) -> usize {
        self.chunk.len()
    }

    /// How far before the first block matches reach, in bytes.
    pub(super) fn reach(&self) -> usize {
        self.symbols.reach()
    }

    /// Completes the bytes by those that came before.
    pub(crate) fn resolve(&mut self, history: &[u8; HISTORY]) {
        self.symbols.resolve(&Meanings::new(history), &mut self.chunk.parts().0[HISTORY..]);
    }

    /// Drops bytes that belong to no whole block.
    fn cut(&mut self, reached: &Reached) {
        (self.end, self.last_block) = (reached.bit, reached.last_block);
        self.chunk.truncate(reached.len);
        self.symbols.truncate(reached.len);
    }
}

/// Most bits from the beginning of a stored block to its length: a header, and those that fill up its byte.
pub(super) const BEFORE_LENGTH: u32 = 3 + 7;

/// The bit that a block which begins at `bit` with the bits `next` is found at by a [`Finder`]: zeros between the header
/// and the length of a stored block look like the header.
///
/// An encoder may put other bits there. They may look like the header of another block, so such a block is not found
/// anywhere.
pub(super) fn aligned(bit: u64, next: u32) -> u64 {
    let length = (bit + 3).next_multiple_of(8);
    if next & ((1 << (length - bit)) - 1) == 0 { length - 3 } else { bit }
}

/// Cost of a wrong guess in bits, beside the bits that it decodes and two for each byte that they decode to.
///
/// A hostile stream may look like blocks everywhere. All wrong guesses of a part together may cost as much as there are
/// bits in it, about as much as decoding it. In honest streams there is a wrong guess for each two thousand bits.
const ATTEMPT: u64 = 512;

/// Bits that wrong guesses may cost in a short part.
const MIN_PATIENCE: u64 = 64 << 10;

/// How far a guess has come: to the end of its last whole block.
struct Reached {
    bit: u64,
    len: usize,
    last_block: bool,
}

/// Why decoding goes on no further.
enum Stopped {
    /// The window is full.
    Full,
    /// All blocks are decoded that begin in the part, or all that end in it.
    Done,
}

/// The candidate is no block, or too long a one.
struct Wrong {
    /// The bit that it was noticed at.
    bit: u64,
}

/// Decodes parts of streams from blocks that it guesses; keeps its memory for the next one.
pub(crate) struct Guesser {
    input: Input<Empty>,
    blocks: Blocks,
    step: usize,
}

impl Guesser {
    /// For parts of at most `capacity` bytes; `step` symbols are decoded between two looks at whether marks are left.
    pub(crate) fn new(capacity: usize, step: usize) -> Self {
        Self { input: Input::of_part(capacity), blocks: Blocks::default(), step }
    }

    /// Decodes from the first block that seems to begin in the first `len` bytes of a part of a stream, to the first
    /// block that begins after them, which may lie in the bytes that follow.
    ///
    /// `base` is where in the stream the part begins. `room` may be too small for all: then the piece is shorter. It
    /// comes back if there is no piece.
    pub(crate) fn decode<'a>(
        &mut self,
        base: u64,
        part: impl IntoIterator<Item = &'a [u8]>,
        len: usize,
        room: Room,
    ) -> Result<Piece, Room> {
        self.input.load(base, part);
        let (chunk, symbols) = room;
        let mut piece = Piece { start: 0, end: 0, last_block: false, chunk, symbols };
        let until = (base + len as u64) * 8;
        let mut patience = (len as u64 * 8).max(MIN_PATIENCE);
        let mut finder = Finder::new(len);
        while let Some(candidate) = finder.next(self.input.part()) {
            piece.start = base * 8 + candidate;
            match self.attempt(candidate, until, &mut piece) {
                Ok(reached) => {
                    piece.cut(&reached);
                    return Ok(piece);
                }
                Err(wrong) => {
                    let cost = ATTEMPT + wrong.bit.saturating_sub(piece.start) + 2 * piece.len() as u64;
                    let Some(left) = patience.checked_sub(cost) else { break };
                    patience = left;
                }
            }
        }
        Err((piece.chunk, piece.symbols))
    }

    /// Searches again for the block that was found at the bit `start` of the stream; returns how many were tried.
    #[cfg(test)]
    pub(crate) fn search(&mut self, start: u64) -> usize {
        let base = (self.input.read_total() - self.input.part().len() as u64) * 8;
        let mut finder = Finder::new(self.input.part().len());
        let candidates = std::iter::from_fn(|| finder.next(self.input.part()));
        candidates.take_while(|candidate| base + candidate < start).count()
    }

    /// Decodes from the bit `candidate` of the part on.
    fn attempt(&mut self, candidate: u64, until: u64, piece: &mut Piece) -> Result<Reached, Wrong> {
        piece.chunk.clear();
        piece.symbols.clear();
        let mut bits = Bits::default();
        self.input.seek((candidate / 8) as usize);
        let begun = bits.top_up(&mut self.input).and_then(|()| bits.take((candidate % 8) as u32, &self.input));
        begun.map_err(|_| Wrong { bit: piece.start })?;
        self.blocks.begin(bits, false);
        let mut reached = Reached { bit: piece.start, len: 0, last_block: false };
        self.decode_unknown(until, piece, &mut reached)?;
        if reached.bit == piece.start { Err(Wrong { bit: self.blocks.position(&self.input) }) } else { Ok(reached) }
    }

    /// Decodes to symbols, and to bytes when no marks are left that matches can reach.
    fn decode_unknown(&mut self, until: u64, piece: &mut Piece, reached: &mut Reached) -> Result<(), Wrong> {
        let capacity = piece.chunk.capacity();
        loop {
            let room = self.step.min(piece.symbols.room()).min(capacity.saturating_sub(piece.symbols.len()));
            let (pos, limit) = (piece.symbols.end, piece.symbols.end + room);
            let mut window = Window { buffer: &mut piece.symbols.buffer, floor: 0, pos, limit };
            let stopped = self.advance(&mut window, until, reached);
            piece.symbols.end = window.pos;
            piece.chunk.set_len(piece.symbols.len());
            if room == 0 || matches!(stopped?, Stopped::Done) {
                return Ok(());
            }
            if piece.symbols.are_known() {
                piece.chunk.set_last(piece.symbols.last());
                return self.decode_known(until, piece, reached);
            }
        }
    }

    fn decode_known(&mut self, until: u64, piece: &mut Piece, reached: &mut Reached) -> Result<(), Wrong> {
        let limit = piece.chunk.limit();
        let (buffer, end) = piece.chunk.parts();
        let mut window = Window { buffer, floor: *end - HISTORY, pos: *end, limit };
        let stopped = self.advance(&mut window, until, reached);
        *end = window.pos;
        stopped.map(drop)
    }

    /// Decodes blocks to the first one that begins at `until` or later, or as many as there are.
    fn advance<T: Symbol>(
        &mut self,
        window: &mut Window<'_, T>,
        until: u64,
        reached: &mut Reached,
    ) -> Result<Stopped, Wrong> {
        loop {
            let pause = self.blocks.run(&mut self.input, window, reached.bit + 1);
            let bit = self.blocks.position(&self.input);
            match pause {
                Ok(Pause::Full) => return Ok(Stopped::Full),
                Ok(Pause::Block | Pause::Ended) => {
                    let last_block = matches!(pause, Ok(Pause::Ended));
                    *reached = Reached { bit, len: window.pos - HISTORY, last_block };
                    if last_block || bit >= until {
                        return Ok(Stopped::Done);
                    }
                }
                Err(Error::Truncated { .. }) => return Ok(Stopped::Done),
                Err(_) => return Err(Wrong { bit }),
            }
        }
    }
}
