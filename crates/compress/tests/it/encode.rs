//! Writing compressed streams.

use std::io::{self, Write};

use vmroot_compress::{Compression, Encoder, EncoderOptions, Error};

use crate::samples::{decode_all, layer_like};

fn encode(data: &[u8], options: EncoderOptions) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), &options).unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn encoded_stream_round_trips() {
    let data = layer_like(2_000_000);
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        for level in [None, Some(1), Some(9)] {
            for threads in [0, 2] {
                let options = EncoderOptions { compression, level, threads };
                let stream = encode(&data, options);
                assert!(decode_all(&stream) == data, "{options:?}");
                assert_eq!(Compression::sniff(&stream), compression);
                assert_eq!(decode_all(&encode(b"", options)), b"", "{options:?}");
                assert!(stream == encode(&data, options), "not deterministic: {options:?}");
            }
        }
    }
}

#[test]
fn invalid_levels_and_compressions_are_rejected() {
    let options = |compression, level| EncoderOptions { compression, level, threads: 0 };
    for (compression, level) in
        [(Compression::Gzip, 10), (Compression::Gzip, -1), (Compression::Zstd, 0), (Compression::Zstd, 23)]
    {
        let made = Encoder::new(io::sink(), &options(compression, Some(level)));
        assert!(matches!(made, Err(Error::Level { level: l, .. }) if l == level), "{compression} {level}");
    }
    for compression in [Compression::Bzip2, Compression::Xz] {
        assert!(matches!(Encoder::new(io::sink(), &options(compression, None)), Err(Error::NotWritten(_))));
    }
}

#[test]
fn finish_returns_the_error_of_the_writer() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.0);
            self.0 -= n;
            if n == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(n) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for compression in [Compression::Gzip, Compression::Zstd] {
        let options = EncoderOptions { compression, level: None, threads: 0 };
        let mut encoder = Encoder::new(Full(15), &options).unwrap();
        encoder.write_all(b"a few bytes that wait for the end of the block").unwrap();
        let Err(error) = encoder.finish() else { panic!("{compression}") };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{compression}");
    }
}
