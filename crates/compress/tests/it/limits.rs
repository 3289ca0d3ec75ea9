//! Streams that exceed limits.

use std::io::Write;

use vmroot_compress::{Compression, Error, Limits};

use crate::samples::{COMPRESSED, compress, decode, layer_like};

#[test]
fn output_stops_at_its_limit() {
    let data = layer_like(700_000);
    for compression in COMPRESSED.into_iter().chain([Compression::None]) {
        let stream = compress(compression, &data);
        let exactly = Limits { max_output: 700_000, ..Limits::default() };
        decode(&stream[..], &exactly).1.unwrap();

        for max_output in [0, 1, 299_999, 699_999] {
            let (out, ended) = decode(&stream[..], &Limits { max_output, ..Limits::default() });
            let error = ended.unwrap_err();
            assert!(out == data[..max_output as usize], "{compression}");
            assert!(error.to_string().contains(&max_output.to_string()), "{error}");
            assert!(matches!(Error::from(error), Error::OutputLimit { limit } if limit == max_output));
        }
    }
}

#[test]
fn data_stops_at_its_limit() {
    let data: Vec<u8> = (0..700_000).map(|place| (place % 251) as u8 + 1).collect();
    for compression in COMPRESSED.into_iter().chain([Compression::None]) {
        let stream = compress(compression, &data);
        for max_data in [0, 1, 299_999, 699_999] {
            let (out, ended) = decode(&stream[..], &Limits { max_data, ..Limits::default() });
            assert!(out == data[..max_data as usize], "{compression}");
            assert!(matches!(Error::from(ended.unwrap_err()), Error::DataLimit { limit } if limit == max_data));
        }
    }
}

/// Returns a zstd stream that repeats a mebibyte `count` times.
fn repeated(piece: &[u8], count: usize) -> Vec<u8> {
    compress(Compression::Zstd, piece).repeat(count)
}

#[test]
fn bomb_exceeds_the_ratio() {
    let page: Vec<u8> = (0..4096).map(|place| (place * 7 % 251) as u8).collect();
    // A single other byte makes a block count as data.
    let dotted = [&[1][..], &[0; 4095]].concat();
    for block in [vec![b'A'; 4096], page, dotted] {
        let stream = repeated(&block.repeat(256), 300);
        let (out, ended) = decode(&stream[..], &Limits::default());
        assert!(out.len() as u64 <= Limits::RATIO_FREE_OUTPUT + (1 << 20));
        assert!(matches!(Error::from(ended.unwrap_err()), Error::RatioLimit { limit: 400, .. }));

        let generous = Limits { max_ratio: u64::MAX, ..Limits::default() };
        assert_eq!(decode(&stream[..], &generous).0.len(), 300 << 20);
    }
}

/// Ordinary layers may be nearly all zeros, for example after `truncate -s 5G`, or with the `lastlog` of a user with a
/// high id.
#[test]
fn zero_blocks_count_only_as_output() {
    let data = layer_like(1 << 20);
    let stream = [repeated(&vec![0; 1 << 20], 600), repeated(&data, 1)].concat();
    let limits = Limits { max_data: (1 << 20) + 8192, ..Limits::default() };
    let (out, ended) = decode(&stream[..], &limits);
    ended.unwrap();
    assert!(out.len() == 601 << 20 && out.ends_with(&data));

    let (out, ended) = decode(&stream[..], &Limits { max_output: 599 << 20, ..limits });
    assert_eq!(out.len(), 599 << 20);
    assert!(matches!(Error::from(ended.unwrap_err()), Error::OutputLimit { .. }));
    let (out, ended) = decode(&stream[..], &Limits { max_data: 1000, ..limits });
    assert!(out.len() >= (600 << 20) + 1000 && out.len() < 601 << 20, "{}", out.len());
    let error = ended.unwrap_err();
    assert!(error.to_string().contains("1000 bytes"), "{error}");
    assert!(matches!(Error::from(error), Error::DataLimit { limit: 1000 }));
}

#[test]
fn zstd_window_limit() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(24).unwrap();
    encoder.write_all(&layer_like(1_000_000)).unwrap();
    let stream = encoder.finish().unwrap();
    decode(&stream[..], &Limits::default()).1.unwrap();

    let (_, ended) = decode(&stream[..], &Limits { zstd_window_log: 23, ..Limits::default() });
    assert!(matches!(
        Error::from(ended.unwrap_err()),
        Error::MemoryLimit { compression: Compression::Zstd, limit } if limit == 1 << 23
    ));
}

#[test]
fn xz_memory_limit() {
    // The header of a block with a 1 GiB LZMA2 dictionary. Written by hand, because an encoder would need gigabytes of
    // memory.
    let block = [0x02, 0x00, 0x21, 0x01, 0x24, 0x00, 0x00, 0x00];
    let crc = crc32fast::hash(&block).to_le_bytes();
    let header = &compress(Compression::Xz, b"data")[..12];
    let stream = [header, &block, &crc, &[0; 64]].concat();
    let (_, ended) = decode(&stream[..], &Limits::default());
    assert!(matches!(Error::from(ended.unwrap_err()), Error::MemoryLimit { compression: Compression::Xz, .. }));
}
