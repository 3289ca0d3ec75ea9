//! The end and the number of a stream's threads.

use std::io::{BufRead, ErrorKind};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::*;
use crate::pipeline::pipelined_with;

/// A reader that ends with an error or a panic.
struct Breaking {
    stream: Cursor<Vec<u8>>,
    end: fn() -> io::Result<usize>,
}

impl Read for Breaking {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.stream.read(out)? {
            0 => (self.end)(),
            n => Ok(n),
        }
    }
}

#[test]
fn reader_ends_with_eof_error_or_panic() {
    let data = data(400_000, 7);
    let stream = gzip(&data, 6);
    let whole = Cursor::new(stream.clone());
    let len = stream.len() as u64;
    assert_eq!(pipelined_with(whole, &Limits::default(), Budget::new(8), SMALL).finish().unwrap().position(), len);

    let read = |end| {
        let stream = Cursor::new(stream[..stream.len() / 2].to_vec());
        let mut reader = pipelined_with(Breaking { stream, end }, &Limits::default(), Budget::new(8), SMALL);
        let mut out = Vec::new();
        let error = reader.read_to_end(&mut out).unwrap_err();
        assert!(data.starts_with(&out));
        (out.len(), error)
    };
    let (len, error) = read(|| Err(ErrorKind::ConnectionReset.into()));
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(len > data.len() / 4, "{len}");
    let (_, panicked) = read(|| std::panic::resume_unwind(Box::new("quietly")));
    assert!(matches!(Error::from(panicked), Error::Panicked));
}

#[test]
fn early_drop_ends_all_threads() {
    /// Closes its channel when it is dropped.
    struct Watched(Cursor<Vec<u8>>, #[allow(dead_code)] std::sync::mpsc::Sender<()>);
    impl Read for Watched {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0.read(out)
        }
    }
    let stream = gzip(&data(2_000_000, 8), 6);
    for (taken, sizes) in [(0, SMALL), (1, SMALL), (700_000, SMALL), (700_000, NO_WAIT), (1_900_000, NO_WAIT)] {
        let budget = Budget::new(8);
        let (alive, watch) = channel();
        let mut reader =
            pipelined_with(Watched(Cursor::new(stream.clone()), alive), &Limits::default(), Arc::clone(&budget), sizes);
        io::copy(&mut reader.by_ref().take(taken), &mut io::sink()).unwrap();
        assert!(reader.fill_buf().is_ok());
        drop(reader);
        let limit = Instant::now() + Duration::from_secs(60);
        assert!(watch.recv_timeout(Duration::from_secs(60)).is_err());
        // Each decoding thread holds the budget through its chunk.
        while Arc::strong_count(&budget) > 1 {
            assert!(Instant::now() < limit, "a thread still holds the budget");
            std::thread::yield_now();
        }
    }
}

#[test]
fn streams_share_the_cores() {
    let budget = Budget::new(8);
    let first = Arc::clone(&budget).share();
    assert_eq!(first.worker_count(), 6);
    let second = Arc::clone(&budget).share();
    let third = Arc::clone(&budget).share();
    assert_eq!(first.worker_count(), 3);
    drop((second, third));
    assert_eq!(first.worker_count(), 6);
    for (cores, workers) in [(1, 0), (2, 0), (3, 0), (4, 3), (5, 4), (64, 6)] {
        assert_eq!(Budget::new(cores).share().worker_count(), workers, "{cores} cores");
    }
}

/// Memory is reused between streams, and is never more than that of the most pieces of a process.
#[test]
fn streams_share_the_memory() {
    let budget = Budget::new(8);
    let (first, second) = (Arc::clone(&budget).share(), Arc::clone(&budget).share());
    let mut rooms: Vec<_> = std::iter::from_fn(|| first.allocate(1000)).collect();
    assert_eq!(rooms.len(), 8);
    assert!(second.allocate(1000).is_none());

    // After a piece was taken, its symbols are free, and its chunk is used by another thread.
    let (chunk, symbols) = rooms.pop().unwrap();
    assert!(budget.reclaim((Chunk::new(10), symbols)).is_some_and(|replaced| replaced.capacity() == 10));
    assert!(second.allocate(1000).is_none());
    let bytes = chunk.bytes().as_ptr();
    assert!(chunk.give_back().is_none());
    let (chunk, symbols) = second.allocate(1000).unwrap();
    assert_eq!(chunk.bytes().as_ptr(), bytes);

    // Without streams no memory is kept.
    drop((first, second));
    assert!(budget.reclaim((chunk, symbols)).is_none());
    drop(rooms);
    let third = Arc::clone(&budget).share();
    assert_ne!(third.allocate(2000).unwrap().0.capacity(), 1000);
}
