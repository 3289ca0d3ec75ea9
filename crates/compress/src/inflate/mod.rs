//! Raw DEFLATE (RFC 1951).
//!
//! Decodes straight into the chunks that are handed over: each has room for 32 KiB before its data, where the end of the
//! previous chunk is copied, so that matches never wrap around. What is a valid stream is what zlib takes for one.

mod bits;
mod copy;
mod fast;
mod header;
mod table;
#[cfg(test)]
mod tests;
mod window;

use std::fmt;
use std::io::Read;

use crate::Error;
use crate::chunk::{Chunk, HISTORY};
use crate::gzip::{corrupt, truncated};
use crate::input::Input;
use crate::stream::Progress;
use bits::Bits;
use table::{END_OF_BLOCK, EXCEPTIONAL, LITERAL, SECOND_TABLE, Tables, second_index, value};
use window::Window;

/// The result of what reads the input as well.
type Result<T, E = Error> = std::result::Result<T, E>;

/// What makes a stream invalid.
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
            Self::BlockType => "a block has a type that does not exist",
            Self::StoredLength => "a stored block contradicts itself about its length",
            Self::TooManyCodes => "a block has more length or distance codes than there are",
            Self::Code => "a block has a set of codeword lengths that is no code",
            Self::RepeatOfNothing => "a block repeats a codeword length before the first",
            Self::TooManyRepeats => "a block repeats codeword lengths past the last",
            Self::NoEndOfBlock => "a block has no codeword for its end",
            Self::Symbol => "a literal or length that does not exist",
            Self::Distance => "a distance that does not exist",
            Self::TooFarBack => "a match from before the first byte",
        }
    }

    fn at<R: Read>(self, input: &Input<R>) -> Error {
        corrupt(input, self.reason())
    }
}

/// Why a loop over symbols stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// Input or room is short.
    Margin,
    /// The block is at its end.
    EndOfBlock,
}

/// What an entry that is neither a symbol nor a second table stands for.
fn end_of_block(entry: u32) -> Result<Stop, Fault> {
    if entry & END_OF_BLOCK != 0 { Ok(Stop::EndOfBlock) } else { Err(Fault::Symbol) }
}

/// Where in the stream decoding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    BetweenBlocks,
    /// In a stored block, with so many bytes left.
    Stored(usize),
    /// In a block of symbols.
    Coded,
    Ended,
}

/// Decoder of one DEFLATE stream after another.
pub(crate) struct Inflate {
    state: State,
    last_block: bool,
    bits: Bits,
    tables: Box<Tables>,
    history: Box<[u8; HISTORY]>,
    /// How much of `history`, at its end, belongs to the stream.
    remembered: usize,
    /// Where the stream begins in the chunk that it began in, until that is full.
    floor: Option<usize>,
}

impl Default for Inflate {
    fn default() -> Self {
        Self {
            state: State::Ended,
            last_block: false,
            bits: Bits::default(),
            tables: Box::default(),
            history: Box::new([0; HISTORY]),
            remembered: 0,
            floor: None,
        }
    }
}

impl Inflate {
    /// Begins a stream whose first decoded byte goes to the end of `chunk`.
    pub(crate) fn begin(&mut self, chunk: &mut Chunk) {
        self.state = State::BetweenBlocks;
        self.last_block = false;
        self.bits = Bits::default();
        self.floor = Some(*chunk.parts().1);
    }

    /// Decodes to the end of `chunk`, which is the one from [`Self::begin`] or an empty one after a full one.
    ///
    /// At the end of the stream the input is at the byte that follows it.
    pub(crate) fn fill<R: Read>(&mut self, input: &mut Input<R>, chunk: &mut Chunk) -> Result<Progress> {
        let limit = chunk.limit();
        let (buffer, end) = chunk.parts();
        let floor = self.floor.unwrap_or_else(|| {
            buffer[..HISTORY].copy_from_slice(&self.history[..]);
            HISTORY - self.remembered
        });
        self.floor = Some(floor);
        let mut window = Window { buffer, floor, pos: *end, limit };
        let progress = self.run(input, &mut window);
        self.bits.give_back(input);
        *end = window.pos;
        if let Ok(Progress::Full) = progress {
            self.remember(&window);
        }
        progress
    }

    /// Keeps what the next chunk's matches may refer to.
    fn remember(&mut self, window: &Window<'_>) {
        self.remembered = (window.pos - window.floor).min(HISTORY);
        self.history.copy_from_slice(&window.buffer[window.pos - HISTORY..window.pos]);
        self.floor = None;
    }

    fn run<R: Read>(&mut self, input: &mut Input<R>, window: &mut Window<'_>) -> Result<Progress> {
        while !window.is_full() {
            self.state = match self.state {
                State::Ended => return Ok(Progress::Ended),
                State::BetweenBlocks if self.last_block => State::Ended,
                State::BetweenBlocks => self.begin_block(input)?,
                State::Stored(left) => copy_stored(left, input, window)?,
                State::Coded => self.decode(input, window)?,
            };
        }
        Ok(Progress::Full)
    }

    /// Takes the header of a block (section 3.2.3).
    fn begin_block<R: Read>(&mut self, input: &mut Input<R>) -> Result<State> {
        self.bits.top_up(input)?;
        self.last_block = self.bits.take(1, input)? == 1;
        match self.bits.take(2, input)? {
            0 => self.begin_stored(input),
            1 => {
                self.tables.load_fixed();
                Ok(State::Coded)
            }
            2 => {
                header::read_codes(&mut self.bits, input, &mut self.tables)?;
                Ok(State::Coded)
            }
            _ => Err(Fault::BlockType.at(input)),
        }
    }

    /// Takes the lengths of a stored block (section 3.2.4).
    fn begin_stored<R: Read>(&mut self, input: &mut Input<R>) -> Result<State> {
        self.bits.align();
        self.bits.top_up(input)?;
        let length = self.bits.take(16, input)?;
        let complement = self.bits.take(16, input)?;
        if length != !complement & 0xffff {
            return Err(Fault::StoredLength.at(input));
        }
        self.bits.give_back(input);
        Ok(State::Stored(length as usize))
    }

    /// Decodes symbols until the block is at its end or the window is full.
    fn decode<R: Read>(&mut self, input: &mut Input<R>, window: &mut Window<'_>) -> Result<State> {
        loop {
            self.bits.give_back(input);
            let bytes = input.fill_to(FAST_INPUT)?;
            let (taken, stopped) = fast::decode(&self.tables, &mut self.bits, bytes, window);
            input.consume(taken);
            let mut stopped = stopped.map_err(|fault| fault.at(input))?;
            if stopped == Stop::Margin && !window.is_full() {
                stopped = self.decode_symbol(input, window)?;
            }
            if stopped == Stop::EndOfBlock {
                return Ok(State::BetweenBlocks);
            }
            if window.is_full() {
                return Ok(State::Coded);
            }
        }
    }

    /// Decodes one symbol, where the input may end at any bit.
    fn decode_symbol<R: Read>(&mut self, input: &mut Input<R>, window: &mut Window<'_>) -> Result<Stop> {
        self.bits.top_up(input)?;
        let mut entry = self.tables.litlen(self.bits.buffer);
        if entry & SECOND_TABLE != 0 && entry & LITERAL == 0 {
            self.bits.take(entry & 0xff, input)?;
            entry = self.tables.litlen[second_index(entry, self.bits.buffer)];
        }
        let before = self.bits.buffer;
        self.bits.take(entry & 0xff, input)?;
        if entry & LITERAL != 0 {
            window.push((entry >> 16) as u8); // its low byte
            return Ok(Stop::Margin);
        }
        if entry & EXCEPTIONAL != 0 {
            return end_of_block(entry).map_err(|fault| fault.at(input));
        }
        let length = value(entry, before);
        let distance = self.decode_distance(input)?;
        if !window.reaches(distance) {
            return Err(Fault::TooFarBack.at(input));
        }
        window.repeat(distance, length);
        Ok(Stop::Margin)
    }

    fn decode_distance<R: Read>(&mut self, input: &mut Input<R>) -> Result<usize> {
        self.bits.top_up(input)?;
        let mut entry = self.tables.distance(self.bits.buffer);
        if entry & SECOND_TABLE != 0 {
            self.bits.take(entry & 0xff, input)?;
            entry = self.tables.distance[second_index(entry, self.bits.buffer)];
        }
        let before = self.bits.buffer;
        self.bits.take(entry & 0xff, input)?;
        if entry & EXCEPTIONAL != 0 {
            return Err(Fault::Distance.at(input));
        }
        Ok(value(entry, before))
    }
}

/// What the fast loop wants to find buffered, in bytes.
const FAST_INPUT: usize = 64;

fn copy_stored<R: Read>(left: usize, input: &mut Input<R>, window: &mut Window<'_>) -> Result<State> {
    let room = left.min(window.limit - window.pos);
    match input.read(&mut window.buffer[window.pos..window.pos + room])? {
        0 if left > 0 => Err(truncated(input)),
        n if n == left => {
            window.pos += n;
            Ok(State::BetweenBlocks)
        }
        n => {
            window.pos += n;
            Ok(State::Stored(left - n))
        }
    }
}

impl fmt::Debug for Inflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflate").field("state", &self.state).field("bits", &self.bits).finish_non_exhaustive()
    }
}
