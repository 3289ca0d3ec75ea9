//! Decoding a part of a stream before the bytes in front of it are decoded.
//!
//! A [`Guesser`] guesses the start of a block and decodes from there. The bytes before are not known, so some of its
//! output consists of marks until [`Inflate`](super::Inflate) reaches the block and takes the [`Piece`] instead of
//! decoding it.
//!
//! A wrong guess does not change the output: a piece consists of whole, valid blocks, and is taken only where one of
//! the stream's blocks begins. All errors of a stream are found by the decoder that decodes in order.

mod finder;
mod symbols;
#[cfg(test)]
mod tests;

use std::io::Empty;

use finder::Finder;
use symbols::ByteTable;
pub(crate) use symbols::Symbols;

use super::bits::Bits;
use super::blocks::{Blocks, Pause};
use super::symbol::Symbol;
use super::window::Window;
use crate::Error;
use crate::budget::PieceBuffers;
use crate::chunk::{Chunk, HISTORY};
use crate::input::Input;

/// Blocks that were decoded without the bytes before them.
#[derive(Debug)]
pub(crate) struct Piece {
    /// The position of the first block in bits of the stream; see [`aligned`].
    pub(crate) start: u64,
    /// The position behind the last block in bits of the stream.
    pub(crate) end: u64,
    /// Whether the last block is the last one of its stream.
    pub(crate) last_block: bool,
    /// The decoded bytes. The first ones are not written yet: see `symbols`.
    pub(crate) chunk: Chunk,
    /// The first symbols, some of which are marks.
    pub(crate) symbols: Symbols,
}

impl Piece {
    /// Returns the number of decoded bytes.
    pub(crate) fn len(&self) -> usize {
        self.chunk.len()
    }

    /// Returns the number of bytes before the first block that matches refer to.
    pub(super) fn reach(&self) -> usize {
        self.symbols.reach()
    }

    /// Replaces the marks by the bytes of `history`.
    pub(crate) fn resolve(&mut self, history: &[u8; HISTORY]) {
        self.symbols.resolve(&ByteTable::new(history), &mut self.chunk.parts().0[HISTORY..]);
    }

    /// Removes bytes that do not belong to a whole block.
    fn cut(&mut self, reached: &GuessEnd) {
        (self.end, self.last_block) = (reached.bit, reached.last_block);
        self.chunk.truncate(reached.len);
        self.symbols.truncate(reached.len);
    }
}

/// The most bits from the start of a stored block to its length: the header and the padding.
pub(super) const BEFORE_LENGTH: u32 = 3 + 7;

/// Returns the position at which a [`Finder`] finds a block that begins at `bit` with the bits `next`. For a stored
/// block, padding zeros look like its header.
///
/// If an encoder writes other padding, it may look like the header of another block. Such a block is not found.
pub(super) fn aligned(bit: u64, next: u32) -> u64 {
    let length = (bit + 3).next_multiple_of(8);
    if next & ((1 << (length - bit)) - 1) == 0 { length - 3 } else { bit }
}

/// The cost of a wrong guess in bits, in addition to the bits that it decodes and two for each decoded byte.
///
/// In a hostile stream, everything may look like blocks. All wrong guesses in a part may together cost as many bits as
/// it has, which takes about as long as decoding it. Ordinary streams have one wrong guess in about two thousand bits.
const ATTEMPT_COST: u64 = 512;

/// The least number of bits that wrong guesses may cost in a part.
const MIN_GUESS_BUDGET: u64 = 64 << 10;

/// The position behind the last whole block of a guess.
struct GuessEnd {
    bit: u64,
    len: usize,
    last_block: bool,
}

/// The reason why decoding stopped.
enum DecodeEnd {
    /// The window is full.
    Full,
    /// The blocks that begin in the part are decoded, or there is no more input.
    Done,
}

/// A candidate that is not a block, or whose block is too long.
struct WrongGuess {
    /// The position at which this was noticed, in bits.
    bit: u64,
}

/// A decoder of parts of streams, from guessed blocks. It reuses its memory.
pub(crate) struct Guesser {
    input: Input<Empty>,
    blocks: Blocks,
    step: usize,
}

impl Guesser {
    /// Creates a guesser for parts of at most `capacity` bytes. After every `step` symbols it checks whether marks
    /// remain.
    pub(crate) fn new(capacity: usize, step: usize) -> Self {
        Self { input: Input::of_part(capacity), blocks: Blocks::default(), step }
    }

    /// Decodes from the first probable block in the first `len` bytes of a part, to the first block that begins after
    /// them. That block may be in the bytes that follow.
    ///
    /// `base` is the position of the part in the stream. If `buffers` are too small, the piece is shorter. They are
    /// returned as an error if there is no piece.
    pub(crate) fn decode<'a>(
        &mut self,
        base: u64,
        part: impl IntoIterator<Item = &'a [u8]>,
        len: usize,
        buffers: PieceBuffers,
    ) -> Result<Piece, PieceBuffers> {
        self.input.load(base, part);
        let (chunk, symbols) = buffers;
        let mut piece = Piece { start: 0, end: 0, last_block: false, chunk, symbols };
        let until = (base + len as u64) * 8;
        let mut budget = (len as u64 * 8).max(MIN_GUESS_BUDGET);
        let mut finder = Finder::new(len);
        while let Some(candidate) = finder.next(self.input.part()) {
            piece.start = base * 8 + candidate;
            match self.attempt(candidate, until, &mut piece) {
                Ok(reached) => {
                    piece.cut(&reached);
                    return Ok(piece);
                }
                Err(wrong) => {
                    let cost = ATTEMPT_COST + wrong.bit.saturating_sub(piece.start) + 2 * piece.len() as u64;
                    let Some(left) = budget.checked_sub(cost) else { break };
                    budget = left;
                }
            }
        }
        Err((piece.chunk, piece.symbols))
    }

    /// Repeats the search for the block at bit `start` of the stream. Returns the number of candidates tried.
    #[cfg(test)]
    pub(crate) fn search(&mut self, start: u64) -> usize {
        let base = (self.input.read_total() - self.input.part().len() as u64) * 8;
        let mut finder = Finder::new(self.input.part().len());
        let candidates = std::iter::from_fn(|| finder.next(self.input.part()));
        candidates.take_while(|candidate| base + candidate < start).count()
    }

    /// Decodes from bit `candidate` of the part.
    fn attempt(&mut self, candidate: u64, until: u64, piece: &mut Piece) -> Result<GuessEnd, WrongGuess> {
        piece.chunk.clear();
        piece.symbols.clear();
        let mut bits = Bits::default();
        self.input.seek((candidate / 8) as usize);
        let begun = bits.top_up(&mut self.input).and_then(|()| bits.take((candidate % 8) as u32, &self.input));
        begun.map_err(|_| WrongGuess { bit: piece.start })?;
        self.blocks.begin(bits, false);
        let mut reached = GuessEnd { bit: piece.start, len: 0, last_block: false };
        self.decode_symbols(until, piece, &mut reached)?;
        if reached.bit == piece.start {
            Err(WrongGuess { bit: self.blocks.position(&self.input) })
        } else {
            Ok(reached)
        }
    }

    /// Decodes to symbols, and then to bytes once matches cannot reach any marks.
    fn decode_symbols(&mut self, until: u64, piece: &mut Piece, reached: &mut GuessEnd) -> Result<(), WrongGuess> {
        let capacity = piece.chunk.capacity();
        loop {
            let room = self.step.min(piece.symbols.room()).min(capacity.saturating_sub(piece.symbols.len()));
            let (pos, limit) = (piece.symbols.end, piece.symbols.end + room);
            let mut window = Window { buffer: &mut piece.symbols.buffer, floor: 0, pos, limit };
            let stopped = self.advance(&mut window, until, reached);
            piece.symbols.end = window.pos;
            piece.chunk.set_len(piece.symbols.len());
            if room == 0 || matches!(stopped?, DecodeEnd::Done) {
                return Ok(());
            }
            if piece.symbols.are_all_bytes() {
                piece.chunk.set_last(piece.symbols.last_bytes());
                return self.decode_bytes(until, piece, reached);
            }
        }
    }

    fn decode_bytes(&mut self, until: u64, piece: &mut Piece, reached: &mut GuessEnd) -> Result<(), WrongGuess> {
        let limit = piece.chunk.limit();
        let (buffer, end) = piece.chunk.parts();
        let mut window = Window { buffer, floor: *end - HISTORY, pos: *end, limit };
        let stopped = self.advance(&mut window, until, reached);
        *end = window.pos;
        stopped.map(drop)
    }

    /// Decodes blocks up to the first one that begins at `until` or later, or to the end of the input.
    fn advance<T: Symbol>(
        &mut self,
        window: &mut Window<'_, T>,
        until: u64,
        reached: &mut GuessEnd,
    ) -> Result<DecodeEnd, WrongGuess> {
        loop {
            let pause = self.blocks.run(&mut self.input, window, reached.bit + 1);
            let bit = self.blocks.position(&self.input);
            match pause {
                Ok(Pause::Full) => return Ok(DecodeEnd::Full),
                Ok(Pause::Block | Pause::Ended) => {
                    let last_block = matches!(pause, Ok(Pause::Ended));
                    *reached = GuessEnd { bit, len: window.pos - HISTORY, last_block };
                    if last_block || bit >= until {
                        return Ok(DecodeEnd::Done);
                    }
                }
                Err(Error::Truncated { .. }) => return Ok(DecodeEnd::Done),
                Err(_) => return Err(WrongGuess { bit }),
            }
        }
    }
}
