//! The loop that decodes nearly all bytes of a DEFLATE stream.
//!
//! It runs only while there is enough input and output space for a whole round, so it does not check for their end. It
//! reads eight bytes of input at a time, and copies matches many symbols at a time, possibly beyond their end. The loop
//! in the parent module decodes the rest.

use super::bits::Bits;
use super::copy::copy_match;
use super::symbol::Symbol;
use super::table::{DISTANCE_BITS, EXCEPTIONAL, LITERAL, LITLEN_BITS, SECOND_TABLE, Tables, second_index, value};
use super::window::Window;
use super::{Fault, Stop, end_of_block};
use crate::chunk::MARGIN;

/// The least number of input bytes for a round of the loop: it has at most three refills of eight bytes.
const INPUT: usize = 32;

/// The least number of bits after a refill. These suffice for two literals of the first table, followed either by a
/// length with its extra bits (20) and a lookup in the distance table, or by any literal and a lookup of the next
/// entry.
const REFILLED: u32 = 56;

/// The bits for a distance of the first table with its extra bits, and a lookup of the next entry.
const NEAR: u32 = DISTANCE_BITS as u32 + 13 + LITLEN_BITS as u32;
/// The bits for any distance with its extra bits, and a lookup of the next entry.
const FAR: u32 = 15 + 13 + LITLEN_BITS as u32;

/// Decodes symbols of a block from `input`. Returns the number of bytes consumed and the reason for stopping.
///
/// `bits` has less than eight bits before and after the call.
#[inline(never)]
pub(super) fn decode<T: Symbol>(
    tables: &Tables,
    bits: &mut Bits,
    input: &[u8],
    window: &mut Window<'_, T>,
) -> (usize, Result<Stop, Fault>) {
    if input.len() < INPUT {
        return (0, Ok(Stop::Margin));
    }
    let mut source = Source { rest: input, buffer: bits.buffer, count: bits.count };
    let mut pos = window.pos;
    let stopped = run(tables, &mut source, &mut window.buffer[..window.limit + MARGIN], window.floor, &mut pos);
    window.pos = pos;
    let spare = source.finish(bits);
    (input.len() - source.rest.len() - spare, stopped)
}

#[inline(always)]
fn run<T: Symbol>(
    tables: &Tables,
    source: &mut Source<'_>,
    out: &mut [T],
    floor: usize,
    pos: &mut usize,
) -> Result<Stop, Fault> {
    source.refill();
    // The entry of the next symbol. Its bits are not consumed yet.
    let mut entry = tables.litlen(source.buffer);
    loop {
        if source.rest.len() < INPUT {
            return Ok(Stop::Margin);
        }
        let Some(room) = out[*pos..].first_chunk_mut::<MARGIN>() else { return Ok(Stop::Margin) };
        let mut before = source.take(entry);
        if entry & LITERAL != 0 {
            room[0] = literal(entry).into();
            entry = tables.litlen(source.buffer);
            before = source.take(entry);
            *pos += 1;
            if entry & LITERAL != 0 {
                room[1] = literal(entry).into();
                entry = tables.litlen(source.buffer);
                before = source.take(entry);
                *pos += 1;
                if entry & LITERAL != 0 {
                    room[2] = literal(entry).into();
                    entry = tables.litlen(source.buffer);
                    source.refill();
                    *pos += 1;
                    continue;
                }
            }
        }
        if entry & EXCEPTIONAL != 0 {
            if entry & SECOND_TABLE == 0 {
                return end_of_block(entry);
            }
            entry = tables.litlen[second_index(entry, source.buffer)];
            before = source.take(entry);
            if entry & LITERAL != 0 {
                out[*pos] = literal(entry).into();
                entry = tables.litlen(source.buffer);
                source.refill();
                *pos += 1;
                continue;
            }
            if entry & EXCEPTIONAL != 0 {
                return end_of_block(entry);
            }
        }
        let length = value(entry, before);

        entry = tables.distance(source.buffer);
        if entry & EXCEPTIONAL != 0 {
            if entry & SECOND_TABLE == 0 {
                source.take(entry);
                return Err(Fault::Distance);
            }
            source.refill_below(FAR);
            source.take(entry);
            entry = tables.distance[second_index(entry, source.buffer)];
            if entry & EXCEPTIONAL != 0 {
                source.take(entry);
                return Err(Fault::Distance);
            }
        } else {
            source.refill_below(NEAR);
        }
        before = source.take(entry);
        let distance = value(entry, before);
        if distance > *pos - floor {
            return Err(Fault::TooFarBack);
        }
        // The next entry is looked up before the copy, so that the lookup overlaps with it.
        entry = tables.litlen(source.buffer);
        source.refill();
        copy_match(out, *pos, distance, length);
        *pos += length;
    }
}

#[inline(always)]
fn literal(entry: u32) -> u8 {
    (entry >> 16) as u8
}

/// The input, and the bits read from it.
struct Source<'a> {
    rest: &'a [u8],
    buffer: u64,
    /// The number of bits in the buffer. Only the low six bits are valid, because whole entries are subtracted.
    count: u32,
}

impl Source<'_> {
    /// Reads as many whole bytes as fit.
    ///
    /// The unused bits above contain a part of the next byte. The next refill writes the same bits there.
    #[inline(always)]
    fn refill(&mut self) {
        // There always is a word: see `INPUT`.
        if let Some(word) = self.rest.first_chunk() {
            self.buffer |= u64::from_le_bytes(*word).wrapping_shl(self.count);
            self.rest = &self.rest[((63 - (self.count & 63)) >> 3) as usize..];
            self.count |= REFILLED;
        }
    }

    #[inline(always)]
    fn refill_below(&mut self, wanted: u32) {
        if self.count & 63 < wanted {
            self.refill();
        }
    }

    /// Consumes the bits of an entry. Returns the buffer from before, which has the extra bits.
    #[inline(always)]
    fn take(&mut self, entry: u32) -> u64 {
        let before = self.buffer;
        self.buffer = before.wrapping_shr(entry);
        self.count = self.count.wrapping_sub(entry);
        before
    }

    /// Stores the remaining bits, fewer than eight. Returns the number of whole bytes to return to the input.
    fn finish(&self, bits: &mut Bits) -> usize {
        let count = self.count & 63;
        *bits = Bits { buffer: self.buffer & ((1 << (count % 8)) - 1), count: count % 8 };
        count as usize / 8
    }
}
