//! Streams of many encoders, and streams that mislead the search for blocks.

use super::*;

#[test]
fn streams_of_every_encoder() {
    let data = data(700_000, 1);
    for level in 0..=9 {
        let taken = assert_decodes(&gzip(&data, level), &data);
        let least = match level {
            // Stored blocks are longer than the small parts with their overlap.
            0 => 1,
            // A single block of fixed codes has no candidates.
            1 => 0,
            _ => 3,
        };
        assert!(taken >= least, "level {level}: {taken}");
    }
    for level in [1, 6, 12] {
        assert!(assert_decodes(&libdeflate(&data, level), &data) > 0, "libdeflate's level {level}");
    }
    for every in [500, 5_000, 128 << 10] {
        assert!(assert_decodes(&gzip_flushed(&data, every), &data) > 3, "flushed after {every}");
    }
}

#[test]
fn many_members() {
    let data = data(500_000, 2);
    for size in [300, 3_000, 60_000] {
        let members: Vec<u8> = data.chunks(size).flat_map(|part| [gzip(part, 6), gzip(b"", 6)].concat()).collect();
        assert_decodes(&members, &data);
        assert_agree(&[&members[..], &[0; 5000]].concat(), &Limits::default());
    }
}

#[test]
fn fixed_codes_only() {
    let mut data = Vec::new();
    // Runs so short that dynamic codes would cost more. Each flush ends a block.
    for i in 0..20_000u32 {
        write!(data, "{i} ").unwrap();
    }
    assert_decodes(&gzip_flushed(&data, 20), &data);
}

/// Bytes that look like blocks: streams in stored blocks, and lengths with their complements.
#[test]
fn bytes_that_look_like_blocks() {
    let inner = gzip(&data(300_000, 3), 6);
    for level in [0, 1, 6] {
        assert_decodes(&gzip(&inner, level), &inner);
    }
    for pattern in [&[0, 0, 0, 0xff, 0xff][..], &[0, 5, 0, 0xfa, 0xff], &[4, 0, 0xff, 0xff], &[0], &[0b100, 0x92, 0x49]]
    {
        let data = pattern.repeat(200_000 / pattern.len());
        for level in [0, 6] {
            assert_decodes(&gzip(&data, level), &data);
        }
    }
    let lengths =
        (0..60_000u16).flat_map(|n| [[0, 0], n.to_le_bytes(), (!n).to_le_bytes()].concat()).collect::<Vec<_>>();
    assert_decodes(&gzip(&lengths, 0), &lengths);
}

#[test]
fn damage_is_reported_at_the_same_position() {
    let mut random = Random(4);
    let data = data(200_000, 4);
    let streams = [
        gzip(&data, 6),
        gzip(&data, 0),
        libdeflate(&data, 12),
        gzip_flushed(&data, 3_000),
        data.chunks(20_000).flat_map(|part| gzip(part, 6)).collect(),
    ];
    for stream in &streams {
        for _ in 0..12 {
            let mut damaged = stream.clone();
            let at = random.below(stream.len());
            match random.below(5) {
                0 => damaged.truncate(at),
                1 => damaged[at] ^= 1 << random.below(8),
                2 => damaged[at..].iter_mut().take(200).for_each(|byte| *byte = random.next() as u8),
                3 => drop(damaged.drain(at..(at + 1 + random.below(5_000)).min(stream.len()))),
                _ => damaged.extend((0..=random.below(9)).map(|_| random.next() as u8)),
            }
            assert_agree(&damaged, &Limits::default());
        }
        for last in 1..=8 {
            let mut damaged = stream.clone();
            let at = stream.len() - last;
            damaged[at] ^= 1;
            assert_agree(&damaged, &Limits::default());
        }
    }
}

/// The start of the member is missing, so matches refer to bytes before the first one.
#[test]
fn matches_before_the_first_byte() {
    let data = data(300_000, 5);
    let stream = gzip_flushed(&data, 2_000);
    let flushes: Vec<usize> =
        stream.windows(4).enumerate().filter(|(_, w)| *w == [0, 0, 0xff, 0xff]).map(|w| w.0 + 4).collect();
    for flush in flushes.iter().step_by(flushes.len() / 6) {
        assert_agree(&[&stream[..10], &stream[*flush..]].concat(), &Limits::default());
    }
}

#[test]
fn output_stops_at_its_limit() {
    let data = data(300_000, 6);
    let stream = gzip(&data, 6);
    for max_output in [0, 1, 49_999, 50_000, 123_456, 299_999, 300_000] {
        assert_agree(&stream, &Limits { max_output, ..Limits::default() });
        assert_agree(&stream, &Limits { max_data: max_output, ..Limits::default() });
    }
}

/// Blocks of zeros are not counted, wherever they are in a chunk.
#[test]
fn blocks_are_aligned_to_the_stream() {
    let mut data = data(200_000, 9);
    for at in [4096 * 3, 4096 * 7 - 1, 50_000, 100_001] {
        data[at..at + 9_000].fill(0);
    }
    let blocks = data.chunks(4096).filter(|block| block.iter().any(|byte| *byte != 0));
    let counted = blocks.map(|block| block.len() as u64).sum();
    let stream = gzip(&data, 6);
    for (max_data, whole) in [(counted, true), (counted - 1, false)] {
        let limits = Limits { max_data, ..Limits::default() };
        let (out, ended) = in_order(&stream, &limits);
        assert_eq!((out.len() == data.len(), ended.is_ok()), (whole, whole), "{max_data}: {ended:?}");
        assert_agree(&stream, &limits);
    }
}

/// If the limit on data is within the leading zeros of a block, these are output. A chunk may end between them.
#[test]
fn data_limit_within_leading_zeros() {
    let mut data = Vec::new();
    let mut random = Random(10);
    while data.len() < 300_000 {
        data.resize(data.len() + 3_500, 0);
        data.extend((0..596).map(|_| random.next() as u8));
    }
    let stream = gzip_flushed(&data, 5_000);
    for block in 0..70 {
        assert_agree(&stream, &Limits { max_data: block * 4096 + random.below(3_600) as u64, ..Limits::default() });
    }
}

/// The padding before the length of a stored block is not zero here. With the length and the bytes of the block it
/// looks like a block with dynamic codes, at the position where a stored block with zero padding would be found.
///
/// All decoders must skip the padding. A decoder that does not would produce other bytes, and the author of the stream
/// could make the checksum match them.
#[test]
fn padding_that_looks_like_a_block() {
    let mut bits = BitWriter::default();
    // Stored blocks of letters, which do not look like blocks.
    let mut data = vec![b'U'; 20_000];
    bits.stored(0, &data);
    // An empty block of fixed codes, which ends at the second bit of a byte.
    bits.put(0b010, 3);
    bits.put(0, 7);
    let contents: Vec<u8> = {
        let mut inner = BitWriter::default();
        inner.dynamic_after_length();
        inner.bytes.resize(LENGTH.into(), b'U');
        inner.bytes
    };
    bits.stored(0b001, &contents);
    data.extend(&contents);
    bits.put(0b011, 3);
    bits.put(0, 7);
    let mut stream = gzip(b"", 6)[..10].to_vec();
    stream.append(&mut bits.bytes);
    stream.extend(crc32fast::hash(&data).to_le_bytes());
    stream.extend((data.len() as u32).to_le_bytes());
    assert_decodes(&stream, &data);
}

/// The length of a stored block that, with its complement, looks like the start of a header: 257 and 1 codes, and 18
/// code lengths, of which the first six are 7, 7, 7, 7, 1 and 0 for the symbols 16, 17, 18, 0, 8 and 7.
const LENGTH: u16 = 0xf800;

#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    /// The number of bits used in the last byte.
    used: u32,
}

impl BitWriter {
    fn put(&mut self, value: u32, count: u32) {
        for at in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
                self.used = 0;
            }
            *self.bytes.last_mut().unwrap() |= (value >> at & 1) as u8 * (1 << self.used);
            self.used += 1;
        }
    }

    /// Writes a codeword. Its highest bit comes first.
    fn code(&mut self, codeword: u32, count: u32) {
        self.put(codeword.reverse_bits() >> (32 - count), count);
    }

    /// Writes a stored block that is not the last. `filling` has the last three bits of the padding.
    fn stored(&mut self, filling: u8, data: &[u8]) {
        self.put(0, 3);
        if !self.used.is_multiple_of(8) {
            *self.bytes.last_mut().unwrap() |= filling.reverse_bits() >> 5 << 5;
        }
        self.bytes.extend((data.len() as u16).to_le_bytes());
        self.bytes.extend((!(data.len() as u16)).to_le_bytes());
        self.bytes.extend(data);
        self.used = 0;
    }

    /// Writes the rest of the block that begins before [`LENGTH`], with some letters, and the start of a long stored
    /// block.
    fn dynamic_after_length(&mut self) {
        // The lengths for the symbols 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14 and 1 complete the code.
        for length in [2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 5] {
            self.put(length, 3);
        }
        // In the order of the lengths: 8, 9, 6, 10, 1, then 0, 16, 17 and 18 with seven bits.
        let one = (0b11110, 5);
        let zeros = |bits: &mut Self, count: u32| {
            bits.code(0b111_1111, 7);
            bits.put(count - 11, 7);
        };
        zeros(self, 65);
        self.code(one.0, one.1);
        zeros(self, 138);
        zeros(self, 52);
        self.code(one.0, one.1);
        // No distance codes.
        self.code(0b111_1100, 7);
        for _ in 0..50 {
            self.put(0, 1);
        }
        self.put(1, 1);
        self.put(0, 3);
        self.bytes.extend([0xff, 0xff, 0, 0]);
    }
}
