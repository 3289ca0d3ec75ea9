//! Properties of all compressions.

use std::io::{self, BufRead, ErrorKind, Read};

use vmroot_compress::{ChunkReader, Compression, Decoder, Error, Limits};

use crate::samples::{COMPRESSED, Dribble, compress, decode, decode_all, layer_like};

#[test]
fn round_trip() {
    let data = layer_like(3_000_000);
    for compression in COMPRESSED.into_iter().chain([Compression::None]) {
        assert!(decode_all(&compress(compression, &data)) == data, "{compression}");
        assert_eq!(decode_all(&compress(compression, b"")), b"", "{compression}");
    }
}

#[test]
fn size_of_reads_does_not_matter() {
    let data = layer_like(100_000);
    for compression in COMPRESSED.into_iter().chain([Compression::None]) {
        for step in [1, 2, 7, 1000] {
            let inner = &compress(compression, &data)[..];
            let (out, ended) = decode(Dribble { inner, step }, &Limits::default());
            ended.unwrap();
            assert!(out == data, "{compression} in pieces of {step}");
        }
    }
}

#[test]
fn concatenated_streams_are_decoded() {
    let (first, second) = (layer_like(200_000), layer_like(50_000));
    for compression in COMPRESSED {
        let both = [compress(compression, &first), compress(compression, b""), compress(compression, &second)].concat();
        assert!(decode_all(&both) == [&first[..], &second].concat(), "{compression}");
    }
}

#[test]
fn skippable_frames_are_skipped() {
    let data = layer_like(10_000);
    let skippable = b"\x5a\x2a\x4d\x18\x05\x00\x00\x00table";
    let stream = [skippable, &compress(Compression::Zstd, &data)[..], skippable].concat();
    assert!(decode_all(&stream) == data);
    assert_eq!(decode_all(skippable), b"");
}

#[test]
fn every_truncation_is_an_error() {
    let data = layer_like(3_000);
    for compression in COMPRESSED {
        let stream = compress(compression, &data);
        // Below the length of the magic number it is a plain stream.
        for len in Compression::SNIFF_LEN..stream.len() {
            let (out, ended) = decode(&stream[..len], &Limits::default());
            let error = ended.expect_err("truncated");
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{compression} {len}: {error}");
            let Some(Error::Truncated { compression: of, consumed }) = Error::in_io(&error) else {
                panic!("{error:?}")
            };
            assert_eq!((*of, *consumed), (compression, len as u64));
            assert!(data.starts_with(&out), "{compression} {len}");
        }
    }
}

#[test]
fn garbage_after_the_end_is_an_error() {
    for compression in COMPRESSED {
        let stream = [&compress(compression, b"data")[..], b"garbage that is long enough"].concat();
        let (out, ended) = decode(&stream[..], &Limits::default());
        assert_eq!(out, b"data", "{compression}");
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::InvalidData, "{compression}");
    }
}

#[test]
fn flipped_bit_is_an_error() {
    let data = layer_like(2_000);
    for compression in [Compression::Gzip, Compression::Bzip2, Compression::Xz] {
        let stream = compress(compression, &data);
        for bit in 48..stream.len() * 8 {
            let mut stream = stream.clone();
            stream[bit / 8] ^= 1 << (bit % 8);
            let (out, ended) = decode(&stream[..], &Limits::default());
            assert!(ended.is_err() || out == data, "{compression} bit {bit}");
        }
    }
}

#[test]
fn consumed_bytes_are_counted() {
    let data = layer_like(2_000_000);
    for compression in COMPRESSED.into_iter().chain([Compression::None]) {
        let stream = compress(compression, &data);
        let mut decoder = Decoder::new(&stream[..], &Limits::default()).unwrap();
        assert_eq!(decoder.compression(), compression);
        decoder.read_exact(&mut [0; 1000]).unwrap();
        assert!(decoder.consumed() < stream.len() as u64, "{compression}");
        io::copy(&mut decoder, &mut io::sink()).unwrap();
        assert_eq!(decoder.consumed(), stream.len() as u64, "{compression}");
        assert!(decoder.into_inner().is_empty());
    }
}

#[test]
fn reader_error_is_returned_unchanged() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(ErrorKind::ConnectionReset, "the reader's own"))
        }
    }
    let data = layer_like(100_000);
    for compression in COMPRESSED.into_iter().chain([Compression::None]) {
        let stream = compress(compression, &data);
        let (out, ended) = decode(stream[..stream.len() / 2].chain(Fails), &Limits::default());
        let error = ended.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::ConnectionReset, "the reader's own"));
        assert!(Error::in_io(&error).is_none());
        assert!(data.starts_with(&out), "{compression}");
    }
}

#[test]
fn reads_after_an_error_fail() {
    let stream = [&compress(Compression::Gzip, b"data")[..], b"garbage"].concat();
    let mut decoder = Decoder::new(&stream[..], &Limits::default()).unwrap();
    assert_eq!(decoder.fill_buf().unwrap(), b"data");
    decoder.consume(4);
    let error = Error::from(decoder.fill_buf().unwrap_err());
    assert!(matches!(error, Error::TrailingGarbage { offset, .. } if offset == stream.len() as u64 - 7));
    assert!(matches!(Error::from(decoder.fill_buf().unwrap_err()), Error::FailedBefore));
}

#[test]
fn decoders_are_send() {
    fn is_send<T: Send>() {}
    is_send::<Decoder<&[u8]>>();
    is_send::<ChunkReader<&[u8]>>();
}
