//! Lookup tables for Huffman codes (RFC 1951 section 3.2).
//!
//! A table is indexed by the next bits of the stream. An entry has the value of a codeword and its number of bits
//! including extra bits, so that subtracting the whole entry consumes them. For codewords that are longer than the
//! index, the entry points to a second table behind the first one.
//!
//! | bits | literal | length, distance | second table | end of block | no codeword |
//! |---|---|---|---|---|---|
//! | 31 | 1 | 0 | 0 | 0 | 0 |
//! | 16..=30 | the byte | base value | its position | - | - |
//! | 15 | 0 | 0 | 1 | 1 | 1 |
//! | 14 | - | - | 1 | 0 | 0 |
//! | 13 | - | - | 0 | 1 | 0 |
//! | 8..=12 | 0 | bits of the codeword | bits of its index | - | - |
//! | 0..=7 | bits to consume, without those consumed for the first table |||||

/// The tables of a block.
pub(super) struct Tables {
    pub(super) litlen: [u32; LITLEN_SIZE],
    pub(super) distance: [u32; DISTANCE_SIZE],
    lengths: [u32; LENGTHS_SIZE],
    /// Whether the first two tables are those of the fixed codes.
    fixed: bool,
}

impl Default for Tables {
    fn default() -> Self {
        Self { litlen: [0; LITLEN_SIZE], distance: [0; DISTANCE_SIZE], lengths: [0; LENGTHS_SIZE], fixed: false }
    }
}

impl Tables {
    /// Returns the entry of the literal or length at the start of `bits`.
    #[inline(always)]
    pub(super) fn litlen(&self, bits: u64) -> u32 {
        self.litlen[bits as usize & ((1 << LITLEN_BITS) - 1)]
    }

    /// Returns the entry of the distance at the start of `bits`.
    #[inline(always)]
    pub(super) fn distance(&self, bits: u64) -> u32 {
        self.distance[bits as usize & ((1 << DISTANCE_BITS) - 1)]
    }

    /// Returns the entry of the code length at the start of `bits`.
    pub(super) fn length(&self, bits: u64) -> u32 {
        self.lengths[bits as usize & ((1 << LENGTHS_BITS) - 1)]
    }

    /// Builds the tables of a block from its codeword lengths.
    pub(super) fn load(&mut self, litlen: &[u8], distance: &[u8]) -> Result<(), BadCode> {
        self.fixed = false;
        build(&mut self.litlen, LITLEN_BITS, litlen, &LITLEN_SYMBOLS, Incomplete::Single)?;
        build(&mut self.distance, DISTANCE_BITS, distance, &DISTANCE_SYMBOLS, Incomplete::Single)
    }

    /// Builds the table of the code for codeword lengths.
    pub(super) fn load_lengths(&mut self, lengths: &[u8]) -> Result<(), BadCode> {
        build(&mut self.lengths, LENGTHS_BITS, lengths, &LENGTHS_SYMBOLS, Incomplete::Never)
    }

    /// Builds the tables of the fixed codes (section 3.2.6), unless they are already loaded.
    pub(super) fn load_fixed(&mut self) {
        if !self.fixed {
            let mut litlen = [8; 288];
            litlen[144..256].fill(9);
            litlen[256..280].fill(7);
            self.load(&litlen, &[5; 32]).expect("the fixed codes are complete");
            self.fixed = true;
        }
    }
}

/// Returns the value of a length or distance: its base plus the extra bits. `before` has the bits from the start of its
/// codeword.
#[inline(always)]
pub(super) fn value(entry: u32, before: u64) -> usize {
    let codeword_and_extra = before & ((1 << (entry & 63)) - 1);
    (entry >> 16) as usize + (codeword_and_extra >> (entry >> 8 & 31)) as usize
}

/// Returns the index into the second table that an entry points to. `bits` are those after the first table's.
#[inline(always)]
pub(super) fn second_index(entry: u32, bits: u64) -> usize {
    (entry >> 16) as usize + (bits & ((1 << (entry >> 8 & 31)) - 1)) as usize
}

/// The longest codeword of a literal, length or distance code in bits.
const MAX_BITS: usize = 15;

/// The index bits of the first table of a literal and length code.
pub(super) const LITLEN_BITS: usize = 11;
/// The index bits of the first table of a distance code.
pub(super) const DISTANCE_BITS: usize = 8;
/// The index bits of the table of a code for code lengths. It has no second tables.
const LENGTHS_BITS: usize = 7;

/// The most entries of complete codes of 288 and of 32 symbols, as computed by zlib's `enough`.
const LITLEN_SIZE: usize = 2342;
/// See [`LITLEN_SIZE`].
const DISTANCE_SIZE: usize = 402;
/// See [`LITLEN_SIZE`].
const LENGTHS_SIZE: usize = 1 << LENGTHS_BITS;

pub(super) const LITERAL: u32 = 1 << 31;
pub(super) const EXCEPTIONAL: u32 = 1 << 15;
pub(super) const SECOND_TABLE: u32 = 1 << 14;
pub(super) const END_OF_BLOCK: u32 = 1 << 13;

/// The entry for bits that are not a codeword.
const NO_CODEWORD: u32 = EXCEPTIONAL;

/// The entries of literals and lengths by symbol. 286 and 287 are invalid (sections 3.2.5 and 3.2.6).
const LITLEN_SYMBOLS: [u32; 288] = litlen_symbols();
/// The entries of distances by symbol. 30 and 31 are invalid.
const DISTANCE_SYMBOLS: [u32; 32] = distance_symbols();
/// The entries of the code for code lengths, whose symbols are their own values (section 3.2.7).
const LENGTHS_SYMBOLS: [u32; 19] = lengths_symbols();

const fn litlen_symbols() -> [u32; 288] {
    let mut symbols = [NO_CODEWORD; 288];
    let mut byte = 0;
    while byte < 256 {
        symbols[byte] = LITERAL | (byte as u32) << 16;
        byte += 1;
    }
    symbols[256] = EXCEPTIONAL | END_OF_BLOCK;
    // Eight lengths without extra bits, then four for each number of extra bits. The longest length is a special case.
    let (mut symbol, mut base) = (257, 3);
    while symbol < 285 {
        let extra = if symbol < 265 { 0 } else { (symbol as u32 - 261) / 4 };
        symbols[symbol] = base << 16 | extra;
        base += 1 << extra;
        symbol += 1;
    }
    symbols[285] = 258 << 16;
    symbols
}

const fn distance_symbols() -> [u32; 32] {
    let mut symbols = [NO_CODEWORD; 32];
    // Four distances without extra bits, then two for each number of extra bits.
    let (mut symbol, mut base) = (0, 1);
    while symbol < 30 {
        let extra = if symbol < 4 { 0 } else { (symbol as u32 - 2) / 2 };
        symbols[symbol] = base << 16 | extra;
        base += 1 << extra;
        symbol += 1;
    }
    symbols
}

const fn lengths_symbols() -> [u32; 19] {
    let mut symbols = [0; 19];
    let mut symbol = 0;
    while symbol < 19 {
        symbols[symbol] = (symbol as u32) << 16;
        symbol += 1;
    }
    symbols
}

/// Returns the entry for `symbol` with a codeword of `bits` bits.
fn entry(symbol: u32, bits: usize) -> u32 {
    // The low byte already has the extra bits. The length of a literal's codeword is not needed separately.
    let bits = bits as u32;
    if symbol & LITERAL != 0 { symbol + bits } else { symbol + (bits << 8) + bits }
}

/// Whether a code may be incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incomplete {
    Never,
    /// Only if it has a single codeword, of one bit, or none: then the block has no matches, or all of them have the
    /// same distance.
    Single,
}

/// A set of codeword lengths that is not a valid code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadCode {
    /// There are too many codewords.
    Oversubscribed,
    /// Some bit patterns are not codewords.
    Incomplete,
}

/// Builds the table of the canonical code with these codeword lengths. `table_bits` is the number of index bits of the
/// first table.
fn build(
    table: &mut [u32],
    table_bits: usize,
    lengths: &[u8],
    symbols: &[u32],
    incomplete: Incomplete,
) -> Result<(), BadCode> {
    let mut counts = [0usize; MAX_BITS + 1];
    for length in lengths {
        counts[usize::from(*length)] += 1;
    }
    let (longest, free) = code_space(&counts)?;
    let mut sorted = [0u16; 288];
    sort_by_length(lengths, &counts, &mut sorted);
    let used = &sorted[..lengths.len() - counts[0]];
    if free > 0 {
        if longest > 1 || incomplete == Incomplete::Never {
            return Err(BadCode::Incomplete);
        }
        let only = used.first().map_or(NO_CODEWORD + 1, |symbol| entry(symbols[usize::from(*symbol)], 1));
        for pair in table[..1 << table_bits].chunks_exact_mut(2) {
            pair.copy_from_slice(&[only, NO_CODEWORD + 1]);
        }
        return Ok(());
    }
    let used = used.iter().map(|symbol| symbols[usize::from(*symbol)]);
    fill(table, table_bits, &counts, used);
    Ok(())
}

/// Returns the longest codeword in bits, and the unused part of the code space.
fn code_space(counts: &[usize; MAX_BITS + 1]) -> Result<(usize, usize), BadCode> {
    let (mut longest, mut free) = (0, 1);
    for (length, count) in counts.iter().enumerate().skip(1) {
        free = (free * 2usize).checked_sub(*count).ok_or(BadCode::Oversubscribed)?;
        if *count > 0 {
            longest = length;
        }
    }
    Ok((longest, free))
}

/// Sorts the symbols that have a codeword by its length, then by symbol.
fn sort_by_length(lengths: &[u8], counts: &[usize; MAX_BITS + 1], sorted: &mut [u16; 288]) {
    let mut next = [0; MAX_BITS + 1];
    for length in 1..MAX_BITS {
        next[length + 1] = next[length] + counts[length];
    }
    for (symbol, length) in lengths.iter().enumerate().filter(|(_, length)| **length != 0) {
        let at = &mut next[usize::from(*length)];
        sorted[*at] = symbol as u16; // below 288
        *at += 1;
    }
}

/// Fills the table of a complete code.
///
/// The first table is doubled after all codewords of a length are added. This repeats each entry for all values of the
/// bits after its codeword.
fn fill(table: &mut [u32], table_bits: usize, counts: &[usize; MAX_BITS + 1], mut used: impl Iterator<Item = u32>) {
    let mut codeword = Codeword::default();
    let mut size = 1;
    for (length, count) in counts.iter().enumerate().take(table_bits + 1).skip(1) {
        table.copy_within(..size, size);
        size *= 2;
        for symbol in used.by_ref().take(*count) {
            table[codeword.reversed] = entry(symbol, length);
            codeword.advance(length);
        }
    }
    let mut second = Second { prefix: usize::MAX, start: size, end: size };
    for length in table_bits + 1..=MAX_BITS {
        for left in (1..=counts[length]).rev() {
            let Some(symbol) = used.next() else { return };
            let prefix = codeword.reversed & (size - 1);
            if prefix != second.prefix {
                second = Second::after(&second, prefix, second_bits(counts, table_bits, length, left));
                let bits = (second.end - second.start).trailing_zeros();
                let pointer = (second.start as u32) << 16 | bits << 8 | table_bits as u32;
                table[prefix] = pointer | EXCEPTIONAL | SECOND_TABLE;
            }
            let first = second.start + (codeword.reversed >> table_bits);
            for at in (first..second.end).step_by(1 << (length - table_bits)) {
                table[at] = entry(symbol, length - table_bits);
            }
            codeword.advance(length);
        }
    }
}

/// A second table: its index in the first table, and its position.
struct Second {
    prefix: usize,
    start: usize,
    end: usize,
}

impl Second {
    fn after(previous: &Self, prefix: usize, bits: usize) -> Self {
        Self { prefix, start: previous.end, end: previous.end + (1 << bits) }
    }
}

/// Returns the number of index bits of a second table whose first codeword has `length` bits. `left` codewords of this
/// length remain. The table has as many bits as the codewords that follow need to fill it.
fn second_bits(counts: &[usize; MAX_BITS + 1], table_bits: usize, length: usize, left: usize) -> usize {
    let mut bits = length - table_bits;
    let mut taken = left;
    while taken < 1 << bits && table_bits + bits < MAX_BITS {
        bits += 1;
        taken = taken * 2 + counts[table_bits + bits];
    }
    bits
}

/// The next codeword of a canonical code. Its first bit is the lowest, as in the stream.
#[derive(Default)]
struct Codeword {
    reversed: usize,
}

impl Codeword {
    /// Advances to the next codeword. If codewords become longer, zero bits are appended.
    fn advance(&mut self, length: usize) {
        let ones = (1 << length) - 1;
        let zeros = self.reversed ^ ones;
        // The carry clears the ones at the end of the codeword and sets the zero before them. The last codeword is all
        // ones and has no successor.
        self.reversed = match zeros.checked_ilog2() {
            Some(zero) => (self.reversed & ((1 << zero) - 1)) | 1 << zero,
            None => 0,
        };
    }
}
