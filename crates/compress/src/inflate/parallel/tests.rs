//! Finding blocks and decoding from them.

use std::io::Write;

use super::*;

/// Returns text with repetitions at short and long distances.
fn text(len: usize) -> Vec<u8> {
    let mut state = 7u32;
    let mut out = Vec::new();
    while out.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let _ = write!(out, "{} usr/share/{} ", state >> 24, state >> 20);
    }
    out.truncate(len);
    out
}

#[test]
fn every_block_of_a_stream_is_a_candidate() {
    let data = text(1_500_000);
    // Level 1 has only fixed codes, which are not candidates.
    for level in [0, 2, 6, 9] {
        let mut compress = flate2::Compress::new(flate2::Compression::new(level), false);
        let mut stream = Vec::with_capacity(data.len() * 2);
        compress.compress_vec(&data, &mut stream, flate2::FlushCompress::Finish).unwrap();
        let mut input = Input::new(&stream[..]);
        let mut blocks = Blocks::default();
        blocks.begin(Bits::default(), false);
        let mut out = vec![0; HISTORY + data.len() + 1000];
        let limit = out.len() - 320;
        let mut window = Window { buffer: &mut out, floor: HISTORY, pos: HISTORY, limit };
        let mut finder = Finder::new(stream.len());
        let found: Vec<u64> = std::iter::from_fn(|| finder.next(&stream)).collect();
        let mut at = 0;
        let mut seen = 0;
        while let Pause::Block = blocks.run(&mut input, &mut window, at + 1).unwrap() {
            at = blocks.position(&input);
            blocks.bits.top_up(&mut input).unwrap();
            let header = blocks.bits.peek(BEFORE_LENGTH);
            // The last block is not a candidate.
            if header & 1 == 0 {
                assert!(found.contains(&aligned(at, header)), "level {level}, block at {at}");
                seen += 1;
            }
        }
        assert!(seen > 1, "level {level}: {seen}");
        assert!(window.buffer[HISTORY..window.pos] == data);
    }
}

#[test]
fn noise_has_few_candidates() {
    let mut state = 1u64;
    let noise: Vec<u8> = (0..1_000_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect();
    let mut finder = Finder::new(noise.len());
    let found = std::iter::from_fn(|| finder.next(&noise)).count();
    assert!((1..noise.len() * 8 / 500).contains(&found), "{found}");
}

#[test]
fn piece_matches_the_data_at_its_position() {
    let data = text(900_000);
    let mut compress = flate2::Compress::new(flate2::Compression::new(6), false);
    let mut stream = Vec::with_capacity(data.len());
    compress.compress_vec(&data, &mut stream, flate2::FlushCompress::Finish).unwrap();
    let mut guesser = Guesser::new(stream.len(), 10_000);
    let mut pieces = 0;
    for at in (0..stream.len()).step_by(15_000) {
        let room = (Chunk::new(1 << 20), Symbols::new(1 << 20));
        let Ok(mut piece) = guesser.decode(at as u64, [&stream[at..]], 15_000, room) else { continue };
        assert!(piece.start >= at as u64 * 8 && piece.end > piece.start);
        // The piece belongs to the position where it matches, with the bytes before that as history.
        let whole = piece.symbols.len();
        let fits = (HISTORY..data.len() - piece.len()).find(|at| {
            let history = data[at - HISTORY..*at].first_chunk().unwrap();
            let sample: Vec<u8> = {
                let table = ByteTable::new(history);
                let mut out = vec![0; 400];
                piece.symbols.resolve(&table, &mut out);
                out
            };
            data[*at..].starts_with(&sample)
        });
        if whole >= 400
            && let Some(fits) = fits
        {
            piece.resolve(data[fits - HISTORY..fits].first_chunk().unwrap());
            assert!(data[fits..].starts_with(piece.chunk.bytes()));
            pieces += 1;
        }
    }
    assert!(pieces > 1, "{pieces}");
}
