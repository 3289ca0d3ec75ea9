//! The threads of a stream: how they end, and how many there are.

use std::io::{BufRead, ErrorKind};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::*;
use crate::pipeline::spread;

/// A reader that ends in an error or a panic.
struct Breaks {
    stream: Cursor<Vec<u8>>,
    end: fn() -> io::Result<usize>,
}

impl Read for Breaks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.stream.read(out)? {
            0 => (self.end)(),
            n => Ok(n),
        }
    }
}

#[test]
fn the_end_of_the_reader() {
    let data = data(400_000, 7);
    let stream = gzip(&data, 6);
    let whole = Cursor::new(stream.clone());
    let len = stream.len() as u64;
    assert_eq!(spread(whole, &Limits::default(), Budget::new(8), SMALL).finish().unwrap().position(), len);

    let read = |end| {
        let stream = Cursor::new(stream[..stream.len() / 2].to_vec());
        let mut reader = spread(Breaks { stream, end }, &Limits::default(), Budget::new(8), SMALL);
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
fn dropping_it_early_ends_all_threads() {
    /// Tells of its end by hanging up.
    struct Watched(Cursor<Vec<u8>>, #[allow(dead_code)] std::sync::mpsc::Sender<()>);
    impl Read for Watched {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0.read(out)
        }
    }
    let stream = gzip(&data(2_000_000, 8), 6);
    for (taken, sizes) in [(0, SMALL), (1, SMALL), (700_000, SMALL), (700_000, HASTY), (1_900_000, HASTY)] {
        let budget = Budget::new(8);
        let (alive, watch) = channel();
        let mut reader =
            spread(Watched(Cursor::new(stream.clone()), alive), &Limits::default(), Arc::clone(&budget), sizes);
        io::copy(&mut reader.by_ref().take(taken), &mut io::sink()).unwrap();
        assert!(reader.fill_buf().is_ok());
        drop(reader);
        let limit = Instant::now() + Duration::from_secs(60);
        assert!(watch.recv_timeout(Duration::from_secs(60)).is_err());
        // Each thread that decodes ahead holds the budget by the chunk that it decodes into.
        while Arc::strong_count(&budget) > 1 {
            assert!(Instant::now() < limit, "something still holds on to it");
            std::thread::yield_now();
        }
    }
}

#[test]
fn streams_share_the_machine() {
    let budget = Budget::new(8);
    let first = Arc::clone(&budget).share();
    assert_eq!(first.workers(), 6);
    let second = Arc::clone(&budget).share();
    let third = Arc::clone(&budget).share();
    assert_eq!(first.workers(), 3);
    drop((second, third));
    assert_eq!(first.workers(), 6);
    for (cores, workers) in [(1, 0), (2, 0), (3, 0), (4, 3), (5, 4), (64, 6)] {
        assert_eq!(Budget::new(cores).share().workers(), workers, "{cores} cores");
    }
}

/// Memory goes from one stream to another, and there is never more than for the most pieces of a process.
#[test]
fn streams_share_the_memory() {
    let budget = Budget::new(8);
    let (first, second) = (Arc::clone(&budget).share(), Arc::clone(&budget).share());
    let mut rooms: Vec<_> = std::iter::from_fn(|| first.room(1000)).collect();
    assert_eq!(rooms.len(), 8);
    assert!(second.room(1000).is_none());

    // A piece that was taken: its symbols are free, its chunk is on the way to another thread.
    let (chunk, symbols) = rooms.pop().unwrap();
    assert!(budget.take_back((Chunk::new(10), symbols)).is_some_and(|replaced| replaced.capacity() == 10));
    assert!(second.room(1000).is_none());
    let bytes = chunk.bytes().as_ptr();
    assert!(chunk.give_back().is_none());
    let (chunk, symbols) = second.room(1000).unwrap();
    assert_eq!(chunk.bytes().as_ptr(), bytes);

    // Nothing is kept when no stream is left.
    drop((first, second));
    assert!(budget.take_back((chunk, symbols)).is_none());
    drop(rooms);
    let third = Arc::clone(&budget).share();
    assert_ne!(third.room(2000).unwrap().0.capacity(), 1000);
}
