//! The blocks of a DEFLATE stream, one after another (RFC 1951 section 3.2.3).

use std::io::Read;

use super::Result;
use super::bits::Bits;
use super::symbol::Symbol;
use super::table::{EXCEPTIONAL, LITERAL, SECOND_TABLE, Tables, second_index, value};
use super::window::Window;
use super::{Fault, Stop, end_of_block, fast, header};
use crate::gzip::truncated;
use crate::input::Input;

/// The position of the decoder in the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    BetweenBlocks,
    /// In a stored block, with the number of bytes left.
    Stored(usize),
    /// In a block of Huffman-coded symbols.
    Coded,
    #[default]
    Ended,
}

/// The reason why decoding paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// The window is full.
    Full,
    /// A block begins at or after the requested bit.
    Block,
    /// The stream has ended.
    Ended,
}

/// A decoder of blocks. It does not keep the decoded bytes.
#[derive(Default)]
pub(super) struct Blocks {
    pub(super) state: State,
    last_block: bool,
    pub(super) bits: Bits,
    tables: Box<Tables>,
}

impl Blocks {
    /// Moves to the start of a block. `bits` are the remaining bits of its first byte. `last_block` is true if the
    /// previous block was the last one.
    pub(super) fn begin(&mut self, bits: Bits, last_block: bool) {
        self.state = State::BetweenBlocks;
        self.last_block = last_block;
        self.bits = bits;
    }

    /// Returns true if a block begins here.
    pub(super) fn is_before_block(&self) -> bool {
        self.state == State::BetweenBlocks && !self.last_block
    }

    /// Returns the number of decoded bits of the input.
    pub(super) fn position<R: Read>(&self, input: &Input<R>) -> u64 {
        input.consumed() * 8 - u64::from(self.bits.count)
    }

    /// Decodes until the window is full, the stream ends, or a block begins at bit `until` or later.
    pub(super) fn run<R: Read, T: Symbol>(
        &mut self,
        input: &mut Input<R>,
        window: &mut Window<'_, T>,
        until: u64,
    ) -> Result<Pause> {
        while !window.is_full() {
            self.state = match self.state {
                State::Ended => return Ok(Pause::Ended),
                State::BetweenBlocks if self.last_block => State::Ended,
                State::BetweenBlocks if self.position(input) >= until => return Ok(Pause::Block),
                State::BetweenBlocks => self.begin_block(input)?,
                State::Stored(left) => copy_stored(left, input, window)?,
                State::Coded => self.decode(input, window)?,
            };
        }
        Ok(Pause::Full)
    }

    /// Reads the header of a block (section 3.2.3).
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
            _ => Err(Fault::BlockType.at(&mut self.bits, input)),
        }
    }

    /// Reads the length of a stored block (section 3.2.4).
    fn begin_stored<R: Read>(&mut self, input: &mut Input<R>) -> Result<State> {
        self.bits.align();
        self.bits.top_up(input)?;
        let length = self.bits.take(16, input)?;
        let complement = self.bits.take(16, input)?;
        if length != !complement & 0xffff {
            return Err(Fault::StoredLength.at(&mut self.bits, input));
        }
        self.bits.give_back(input);
        Ok(State::Stored(length as usize))
    }

    /// Decodes symbols until the block ends or the window is full.
    fn decode<R: Read, T: Symbol>(&mut self, input: &mut Input<R>, window: &mut Window<'_, T>) -> Result<State> {
        loop {
            self.bits.give_back(input);
            let bytes = input.fill_to(FAST_INPUT)?;
            let (taken, stopped) = fast::decode(&self.tables, &mut self.bits, bytes, window);
            input.consume(taken);
            let mut stopped = stopped.map_err(|fault| fault.at(&mut self.bits, input))?;
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

    /// Decodes a symbol. The input may end at any bit.
    fn decode_symbol<R: Read, T: Symbol>(&mut self, input: &mut Input<R>, window: &mut Window<'_, T>) -> Result<Stop> {
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
            return end_of_block(entry).map_err(|fault| fault.at(&mut self.bits, input));
        }
        let length = value(entry, before);
        let distance = self.decode_distance(input)?;
        if !window.reaches(distance) {
            return Err(Fault::TooFarBack.at(&mut self.bits, input));
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
            return Err(Fault::Distance.at(&mut self.bits, input));
        }
        Ok(value(entry, before))
    }
}

/// The number of buffered input bytes that the fast loop needs.
const FAST_INPUT: usize = 64;

fn copy_stored<R: Read, T: Symbol>(left: usize, input: &mut Input<R>, window: &mut Window<'_, T>) -> Result<State> {
    let room = left.min(window.limit - window.pos);
    match T::read(input, &mut window.buffer[window.pos..window.pos + room])? {
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
