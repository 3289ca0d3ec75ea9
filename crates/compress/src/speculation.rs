//! Decoding a gzip stream on several threads, each of which starts in the middle at a guessed block.
//!
//! The thread of the stream decodes it in order. It gives parts of the compressed bytes to other threads. When it
//! reaches a block from which one of them has decoded, it takes that [`Piece`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::Result;
use crate::budget::{Budget, MAX_PIECES, PieceBuffers, StreamShare};
use crate::chunk::Chunk;
use crate::inflate::{Guesser, Inflate, Piece};
use crate::input::Input;
use crate::pieces::{NextStep, Pieces};
use crate::read_ahead::ReadAhead;

/// The sizes for decoding ahead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// The compressed bytes of a stream before decoding ahead begins.
    pub(crate) start: u64,
    /// The size of a unit of compressed bytes. A part consists of several units.
    pub(crate) unit: usize,
    /// The most units of a part.
    pub(crate) units: usize,
    /// The number of units behind a part that its last block may extend into.
    pub(crate) overlap: usize,
    /// The most bytes that a part is decoded to.
    pub(crate) piece: usize,
    /// The number of bytes of a piece between two checks for marks.
    pub(crate) step: usize,
    /// Whether to wait for parts to be read and started, even if decoding in order would be faster. With small parts,
    /// this ensures that pieces are taken at all.
    pub(crate) wait: bool,
}

impl Sizes {
    pub(crate) const NORMAL: Self =
        Self { start: 1 << 20, unit: 128 << 10, units: 4, overlap: 2, piece: 2 << 20, step: 64 << 10, wait: false };

    /// Returns the number of units whose output probably fits in a piece, from the compression ratio so far.
    fn units_of_part(&self, compressed: u64, decoded: u64) -> usize {
        let of_unit = (decoded / (compressed / self.unit as u64).max(1)).max(1);
        ((self.piece as u64 * 3 / 4 / of_unit) as usize).clamp(1, self.units)
    }
}

/// A part that is queued or being decoded.
struct Job {
    /// The position of the part in bits of the stream.
    start: u64,
    claimed: Arc<AtomicBool>,
    receive: Receiver<Option<Piece>>,
    piece: Option<Piece>,
}

/// A job as it is sent to a thread.
struct Task {
    base: u64,
    units: Vec<Arc<Vec<u8>>>,
    len: usize,
    buffers: PieceBuffers,
    claimed: Arc<AtomicBool>,
    send: SyncSender<Option<Piece>>,
}

/// The pieces of one stream.
pub(crate) struct Speculation {
    share: StreamShare,
    sizes: Sizes,
    /// The number of the first unit of the next part.
    next_unit: u64,
    jobs: VecDeque<Job>,
    tasks: Sender<Task>,
    queue: Arc<Mutex<Receiver<Task>>>,
    threads: usize,
    /// Chunks that were replaced by pieces.
    replaced: Vec<Chunk>,
    /// The most bytes that a piece may have.
    max_size: u64,
    /// The compressed bits and the decoded bytes of the piece that was taken last.
    last: (u64, u64),
    /// The number of pieces taken.
    taken: u64,
}

impl Speculation {
    pub(crate) fn new(share: StreamShare, sizes: Sizes) -> Self {
        let (tasks, queue) = channel();
        Self {
            share,
            sizes,
            next_unit: 0,
            jobs: VecDeque::new(),
            tasks,
            queue: Arc::new(Mutex::new(queue)),
            threads: 0,
            replaced: Vec::new(),
            max_size: 0,
            last: (0, 0),
            taken: 0,
        }
    }

    /// Returns a chunk that was replaced by a piece.
    pub(crate) fn replaced(&mut self) -> Option<Chunk> {
        self.replaced.pop()
    }

    /// Queues parts, twice as many as there are threads.
    fn hand_out<R>(&mut self, input: &mut Input<ReadAhead<R>>) {
        let workers = self.share.worker_count();
        if workers == 0 || input.read_total() < self.sizes.start {
            return;
        }
        let ahead = input.get_mut();
        let most = MAX_PIECES.min(2 * workers);
        ahead.receive_units((most + 1) * self.sizes.units + self.sizes.overlap, self.sizes.wait);
        while self.jobs.len() < most
            && let Some(task) = self.next_task(ahead)
            && self.tasks.send(task).is_ok()
        {
            if self.threads < workers.min(self.jobs.len()) && self.start_thread() {
                self.threads += 1;
            }
        }
    }

    fn next_task<R>(&mut self, ahead: &ReadAhead<R>) -> Option<Task> {
        let sizes = &self.sizes;
        if self.next_unit <= ahead.number() {
            // The decoder has reached this part, or nearly so.
            self.next_unit = ahead.number() + sizes.units as u64;
        }
        let units = ahead.units(self.next_unit);
        let mut count = sizes.units_of_part(self.last.0 / 8, self.last.1);
        if units.len() < count + sizes.overlap {
            if !ahead.is_ended() || units.len() == 0 {
                return None;
            }
            count = count.min(units.len());
        }
        let buffers = self.share.allocate(sizes.piece)?;
        let units: Vec<_> = units.take(count + sizes.overlap).cloned().collect();
        let (send, receive) = sync_channel(1);
        let claimed = Arc::new(AtomicBool::new(false));
        let base = self.next_unit * sizes.unit as u64;
        self.jobs.push_back(Job { start: base * 8, claimed: Arc::clone(&claimed), receive, piece: None });
        self.next_unit += count as u64;
        Some(Task { base, len: count * sizes.unit, units, buffers, claimed, send })
    }

    /// Starts another thread. If it fails, decoding continues with fewer threads.
    fn start_thread(&self) -> bool {
        let (queue, sizes, budget) = (Arc::clone(&self.queue), self.sizes, Arc::clone(self.share.budget()));
        thread::Builder::new().name("inflate".into()).spawn(move || work(&queue, &sizes, &budget)).is_ok()
    }

    fn drop_first(&mut self) {
        if let Some(piece) = self.jobs.pop_front().and_then(|job| job.piece) {
            self.keep((piece.chunk, piece.symbols));
        }
    }

    /// Keeps memory for reuse.
    fn keep(&mut self, buffers: PieceBuffers) {
        self.replaced.extend(self.share.budget().reclaim(buffers));
    }
}

impl Drop for Speculation {
    fn drop(&mut self) {
        // Threads must not start parts that will not be used.
        for job in &self.jobs {
            job.claimed.store(true, Ordering::Relaxed);
        }
    }
}

impl<R> Pieces<ReadAhead<R>> for Speculation {
    fn set_max_size(&mut self, bytes: u64) {
        self.max_size = bytes;
    }

    fn next_step(&mut self, input: &mut Input<ReadAhead<R>>, inflate: &mut Inflate) -> Result<NextStep> {
        self.hand_out(input);
        let wait = self.sizes.wait;
        while let Some(job) = self.jobs.front_mut() {
            let Some((at, found_at)) = inflate.block_position(input)? else { return Ok(NextStep::Decode(job.start)) };
            if at < job.start {
                return Ok(NextStep::Decode(job.start));
            }
            match job.await_piece(wait) {
                Some(piece) if piece.start > found_at => {
                    // The header of a stored block may begin up to seven bits before the position where it is found.
                    return Ok(NextStep::Decode((at + 1).max(piece.start.saturating_sub(7))));
                }
                Some(piece) if piece.start == found_at && piece.len() as u64 <= self.max_size => {
                    return Ok(NextStep::Take);
                }
                _ => self.drop_first(),
            }
        }
        Ok(NextStep::Decode(u64::MAX))
    }

    fn take(&mut self) -> Option<Piece> {
        let piece = self.jobs.pop_front()?.piece?;
        self.taken += 1;
        self.last = (piece.end - piece.start, piece.len() as u64);
        Some(piece)
    }

    fn skip_to(&mut self, input: &mut Input<ReadAhead<R>>, at: u64) {
        let beyond = input.skip_to(at);
        input.get_mut().skip(beyond);
    }

    fn reuse(&mut self, buffers: PieceBuffers) {
        self.keep(buffers);
    }
}

impl Job {
    /// Returns the piece of the job. Returns `None` if no thread has started it, because decoding in order is then
    /// faster.
    fn await_piece(&mut self, wait: bool) -> Option<&Piece> {
        if self.piece.is_none() && (wait || self.claimed.swap(true, Ordering::Relaxed)) {
            // A thread that panicked has closed the channel.
            self.piece = self.receive.recv().ok().flatten();
        }
        self.piece.as_ref()
    }
}

/// The main function of a decoding thread. It runs until the stream is dropped.
fn work(queue: &Mutex<Receiver<Task>>, sizes: &Sizes, budget: &Budget) {
    let mut guesser = Guesser::new((sizes.units + sizes.overlap) * sizes.unit, sizes.step);
    loop {
        let task = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = task else { return };
        if task.claimed.swap(true, Ordering::Relaxed) {
            budget.reclaim(task.buffers);
            continue;
        }
        let units = task.units.iter().map(|unit| &unit[..]);
        let piece = guesser.decode(task.base, units, task.len, task.buffers);
        let piece = piece.map_err(|buffers| budget.reclaim(buffers)).ok();
        drop(task.units);
        // The stream may have been dropped.
        let _ = task.send.send(piece);
    }
}

#[cfg(test)]
mod costs;
#[cfg(test)]
mod tests;
