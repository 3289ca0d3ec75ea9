//! Decoding on a separate thread.

use std::io::{self, BufRead, ErrorKind, Read};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use vmroot_compress::{Compression, Error, Limits, pipelined};

use crate::samples::{COMPRESSED, compress, gzip, layer_like};

/// A reader that counts the bytes read and closes its channel when it is dropped.
struct Watched {
    inner: io::Cursor<Vec<u8>>,
    given: u64,
    _alive: Sender<()>,
}

impl Read for Watched {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.given += n as u64;
        Ok(n)
    }
}

#[test]
fn finish_returns_the_reader() {
    let data = layer_like(5_000_000);
    for compression in COMPRESSED.into_iter().chain([Compression::None]) {
        let mut stream = compress(compression, &data);
        if compression == Compression::Gzip {
            stream.resize(stream.len() + 300_000, 0);
        }
        let len = stream.len() as u64;
        let (alive, _watch) = channel();
        let mut reader =
            pipelined(Watched { inner: io::Cursor::new(stream), given: 0, _alive: alive }, &Limits::default());
        let mut out = Vec::new();
        reader.read_to_end(&mut out).unwrap();
        assert!(out == data, "{compression}");
        assert!(reader.fill_buf().unwrap().is_empty(), "further reads stay at the end");
        assert!(reader.consumed() <= len);
        assert_eq!(reader.finish().unwrap().given, len, "{compression}");
    }
}

#[test]
fn finish_reads_the_rest() {
    let stream = gzip(&layer_like(5_000_000), 1);
    let len = stream.len() as u64;
    let mut reader = pipelined(io::Cursor::new(stream), &Limits::default());
    reader.read_exact(&mut [0; 100]).unwrap();
    assert_eq!(reader.finish().unwrap().position(), len);

    let empty = pipelined(io::empty(), &Limits::default());
    empty.finish().unwrap();
}

#[test]
fn decoded_bytes_come_before_the_error() {
    let data = layer_like(3_000_000);
    let mut stream = gzip(&data, 6);
    stream.truncate(stream.len() - 4);
    let mut reader = pipelined(io::Cursor::new(stream.clone()), &Limits::default());
    let mut out = Vec::new();
    let error = reader.read_to_end(&mut out).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert!(matches!(Error::from(error), Error::Truncated { .. }));
    assert!(out == data);
    assert!(matches!(Error::from(reader.fill_buf().unwrap_err()), Error::FailedBefore));
    assert!(matches!(reader.finish(), Err(Error::FailedBefore)));

    let unread = pipelined(io::Cursor::new(stream), &Limits::default());
    assert!(matches!(unread.finish(), Err(Error::Truncated { .. })));
}

#[test]
fn error_at_the_first_byte_is_returned() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::ConnectionReset.into())
        }
    }
    let mut reader = pipelined(Fails, &Limits::default());
    assert_eq!(reader.fill_buf().unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn reader_panic_is_an_error() {
    struct Panics;
    impl Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            std::panic::resume_unwind(Box::new("quietly"))
        }
    }
    let data = layer_like(2_000_000);
    let mut reader = pipelined(io::Cursor::new(data.clone()).chain(Panics), &Limits::default());
    let mut out = Vec::new();
    let error = reader.read_to_end(&mut out).unwrap_err();
    assert!(matches!(Error::from(error), Error::Panicked));
    assert!(data.starts_with(&out));
    assert!(matches!(reader.finish(), Err(Error::FailedBefore)));
}

#[test]
fn early_drop_stops_the_thread() {
    let stream = gzip(&layer_like(30_000_000), 1);
    for read_first in [false, true] {
        let (alive, watch) = channel();
        let watched = Watched { inner: io::Cursor::new(stream.clone()), given: 0, _alive: alive };
        let mut reader = pipelined(watched, &Limits::default());
        if read_first {
            reader.read_exact(&mut [0; 100]).unwrap();
        }
        drop(reader);
        // The channel is closed when the thread drops the reader. The timeout is much longer than that takes.
        assert_eq!(watch.recv_timeout(Duration::from_secs(60)), Err(RecvTimeoutError::Disconnected));
    }
}
