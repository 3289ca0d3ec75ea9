//! Decoding a compressed stream, chunk by chunk.

use std::io::Read;

use crate::bzip2::Bzip2;
use crate::chunk::Chunk;
use crate::gzip::Gzip;
use crate::input::Input;
use crate::limits::Meter;
use crate::pieces::Pieces;
use crate::progress::Progress;
use crate::xz::Xz;
use crate::zstd::Zstd;
use crate::{Compression, Error, Limits, Result};

/// The decoder of one compression.
#[derive(Debug)]
enum Codec {
    Plain,
    Gzip(Box<Gzip>),
    Zstd(Zstd),
    Bzip2(Bzip2),
    Xz(Xz),
}

impl Codec {
    fn new(compression: Compression, limits: &Limits) -> Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain,
            Compression::Gzip => Self::Gzip(Box::default()),
            Compression::Zstd => Self::Zstd(Zstd::new(limits.zstd_window_log)?),
            Compression::Bzip2 => Self::Bzip2(Bzip2::new()),
            Compression::Xz => Self::Xz(Xz::new()?),
        })
    }

    fn fill<R: Read>(
        &mut self,
        input: &mut Input<R>,
        chunk: &mut Chunk,
        pieces: &mut impl Pieces<R>,
    ) -> Result<Progress> {
        match self {
            Self::Plain => fill_plain(input, chunk),
            Self::Gzip(gzip) => gzip.fill(input, chunk, pieces),
            Self::Zstd(zstd) => zstd.fill(input, chunk),
            Self::Bzip2(bzip2) => bzip2.fill(input, chunk),
            Self::Xz(xz) => xz.fill(input, chunk),
        }
    }
}

fn fill_plain<R: Read>(input: &mut Input<R>, chunk: &mut Chunk) -> Result<Progress> {
    while !chunk.is_full() {
        match input.read(chunk.room())? {
            0 => return Ok(Progress::Ended),
            n => chunk.advance(n),
        }
    }
    Ok(Progress::Full)
}

#[derive(Debug)]
enum State {
    Running,
    /// The error to return after the bytes decoded before it.
    Failing(Error),
    Failed,
    Ended,
}

/// A compressed stream of any kind, its limits and its state.
#[derive(Debug)]
pub(crate) struct Stream<R> {
    input: Input<R>,
    compression: Compression,
    codec: Codec,
    meter: Meter,
    /// The size of a chunk in bytes, if it is not a piece. The ratio is checked after each multiple of it.
    step: usize,
    state: State,
}

impl<R: Read> Stream<R> {
    /// Reads the first bytes and selects the codec.
    pub(crate) fn open(reader: R, limits: &Limits, step: usize) -> Result<Self> {
        let mut input = Input::new(reader);
        let compression = Compression::sniff(input.fill_to(Compression::SNIFF_LEN)?);
        let codec = Codec::new(compression, limits)?;
        Ok(Self { input, compression, codec, meter: Meter::new(limits), step, state: State::Running })
    }

    /// Clears `chunk` and decodes until it is full or the stream ends. At the end it stays empty.
    pub(crate) fn fill(&mut self, chunk: &mut Chunk, pieces: &mut impl Pieces<R>) -> Result<()> {
        chunk.clear();
        chunk.set_capacity(self.step - (self.meter.produced() % self.step as u64) as usize);
        if let State::Running = self.state {
            self.state = match self.decode(chunk, pieces) {
                Ok(Progress::Full) => State::Running,
                Ok(Progress::Ended) => State::Ended,
                Err(error) => State::Failing(error),
            };
            if !chunk.is_empty() {
                return Ok(());
            }
        }
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Failing(error) => Err(error),
            State::Failed => Err(Error::FailedBefore),
            kept => {
                self.state = kept;
                Ok(())
            }
        }
    }

    fn decode(&mut self, chunk: &mut Chunk, pieces: &mut impl Pieces<R>) -> Result<Progress> {
        pieces.set_max_size(self.meter.within_ratio(self.input.consumed()));
        let decoded = self.codec.fill(&mut self.input, chunk, pieces);
        chunk.consumed = self.input.consumed();
        let steps = self.meter.produced() / self.step as u64;
        self.meter.count(chunk)?;
        // A chunk that ends early because a piece follows must not add another check.
        if self.meter.produced() / self.step as u64 != steps || !matches!(decoded, Ok(Progress::Full)) {
            self.meter.check_ratio(chunk.consumed)?;
        }
        decoded
    }

    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }

    /// Returns the number of compressed bytes decoded.
    pub(crate) fn consumed(&self) -> u64 {
        self.input.consumed()
    }

    pub(crate) fn get_ref(&self) -> &R {
        self.input.get_ref()
    }

    pub(crate) fn into_reader(self) -> R {
        self.input.into_reader()
    }
}
