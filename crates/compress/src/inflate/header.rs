//! The codes of a block with dynamic Huffman codes (RFC 1951 section 3.2.7).

use std::io::Read;

use super::Fault;
use super::bits::Bits;
use super::table::Tables;
use crate::Result;
use crate::input::Input;

/// The order of the lengths of the code for code lengths.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The number of literal and length codes.
const MAX_LITLEN: usize = 286;
/// The number of distance codes.
const MAX_DISTANCE: usize = 30;
/// The symbol for the end of a block.
const END: usize = 256;

/// Reads the codes of a block and builds their tables.
pub(super) fn read_codes<R: Read>(bits: &mut Bits, input: &mut Input<R>, tables: &mut Tables) -> Result<()> {
    bits.top_up(input)?;
    let litlens = 257 + bits.take(5, input)? as usize;
    let distances = 1 + bits.take(5, input)? as usize;
    let lengths = 4 + bits.take(4, input)? as usize;
    if litlens > MAX_LITLEN || distances > MAX_DISTANCE {
        return Err(Fault::TooManyCodes.at(bits, input));
    }
    let mut of_lengths = [0; ORDER.len()];
    for symbol in &ORDER[..lengths] {
        if bits.count < 3 {
            bits.top_up(input)?;
        }
        of_lengths[*symbol] = bits.take(3, input)? as u8; // three bits
    }
    tables.load_lengths(&of_lengths).map_err(|_| Fault::Code.at(bits, input))?;

    let mut all = [0; MAX_LITLEN + MAX_DISTANCE];
    let all = &mut all[..litlens + distances];
    read_lengths(bits, input, tables, all)?;
    if all[END] == 0 {
        return Err(Fault::NoEndOfBlock.at(bits, input));
    }
    let (litlen, distance) = all.split_at(litlens);
    tables.load(litlen, distance).map_err(|_| Fault::Code.at(bits, input))
}

/// Reads the codeword lengths of both codes, which are a single sequence.
fn read_lengths<R: Read>(bits: &mut Bits, input: &mut Input<R>, tables: &Tables, all: &mut [u8]) -> Result<()> {
    let mut at = 0;
    while at < all.len() {
        // A codeword, and the extra bits of the longest repetition.
        if bits.count < 7 + 7 {
            bits.top_up(input)?;
        }
        let entry = tables.length(bits.buffer);
        bits.take(entry & 0xff, input)?;
        let (length, repeat) = match (entry >> 16) as u8 {
            16 if at == 0 => return Err(Fault::RepeatOfNothing.at(bits, input)),
            16 => (all[at - 1], 3 + bits.take(2, input)?),
            17 => (0, 3 + bits.take(3, input)?),
            18 => (0, 11 + bits.take(7, input)?),
            length => (length, 1),
        };
        let run = all.get_mut(at..at + repeat as usize).ok_or_else(|| Fault::TooManyRepeats.at(bits, input))?;
        run.fill(length);
        at += run.len();
    }
    Ok(())
}
