//! Decoding of one gzip stream by many threads: each starts in the middle, at a block that it has guessed.
//!
//! The thread of the stream remains the one that decodes it. It gives parts of the compressed bytes to other
//! threads, and where it comes to a block that one of them began at, it takes the [`Piece`] made from there.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::Result;
use crate::budget::{Budget, MAX_PIECES, Room, Share};
use crate::chunk::Chunk;
use crate::inflate::{Guesser, Inflate, Piece};
use crate::input::Input;
use crate::pieces::{Next, Pieces};
use crate::read_ahead::ReadAhead;

/// Sizes to decode ahead by, all of them in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Compressed bytes of a stream before parts of it are decoded ahead.
    pub(crate) start: u64,
    /// Compressed bytes read at once; a part is some of these units.
    pub(crate) unit: usize,
    /// Most units of a part.
    pub(crate) units: usize,
    /// Units after a part that a block which begins in it may reach into.
    pub(crate) overlap: usize,
    /// Most bytes that a part is decoded to.
    pub(crate) piece: usize,
    /// Bytes of a piece that are decoded between two looks at whether marks are left.
    pub(crate) step: usize,
    /// Whether to wait for parts to be read and to be begun with, where decoding in order would be faster: with small
    /// parts only this makes sure that pieces are taken.
    pub(crate) patient: bool,
}

impl Sizes {
    pub(crate) const NORMAL: Self =
        Self { start: 1 << 20, unit: 128 << 10, units: 4, overlap: 2, piece: 2 << 20, step: 64 << 10, patient: false };

    /// Units whose output will most likely fit a piece, where so many bytes became so many until now.
    fn units_of_part(&self, compressed: u64, decoded: u64) -> usize {
        let of_unit = (decoded / (compressed / self.unit as u64).max(1)).max(1);
        ((self.piece as u64 * 3 / 4 / of_unit) as usize).clamp(1, self.units)
    }
}

/// A part that is being decoded, or is to be.
struct Job {
    /// The bit of the stream that it begins at.
    start: u64,
    claimed: Arc<AtomicBool>,
    receive: Receiver<Option<Piece>>,
    piece: Option<Piece>,
}

/// A job as a thread gets it.
struct Task {
    base: u64,
    units: Vec<Arc<Vec<u8>>>,
    len: usize,
    room: Room,
    claimed: Arc<AtomicBool>,
    send: SyncSender<Option<Piece>>,
}

/// The pieces of one stream.
pub(crate) struct Speculation {
    share: Share,
    sizes: Sizes,
    /// Number of the unit that the next part begins with.
    next_unit: u64,
    jobs: VecDeque<Job>,
    tasks: Sender<Task>,
    queue: Arc<Mutex<Receiver<Task>>>,
    threads: usize,
    /// Chunks that pieces were put in the place of.
    replaced: Vec<Chunk>,
    /// Most bytes that a piece may have.
    allowed: u64,
    /// Bits and bytes of the piece that was taken last.
    last: (u64, u64),
    /// Pieces that were taken.
    taken: u64,
}

impl Speculation {
    pub(crate) fn new(share: Share, sizes: Sizes) -> Self {
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
            allowed: 0,
            last: (0, 0),
            taken: 0,
        }
    }

    /// A chunk that a piece was put in the place of.
    pub(crate) fn replaced(&mut self) -> Option<Chunk> {
        self.replaced.pop()
    }

    /// Hands out parts, twice as many as there are threads.
    fn hand_out<R>(&mut self, input: &mut Input<ReadAhead<R>>) {
        let workers = self.share.workers();
        if workers == 0 || input.read_total() < self.sizes.start {
            return;
        }
        let ahead = input.get_mut();
        let most = MAX_PIECES.min(2 * workers);
        ahead.look((most + 1) * self.sizes.units + self.sizes.overlap, self.sizes.patient);
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
            // The decoder is there, or nearly.
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
        let room = self.share.room(sizes.piece)?;
        let units: Vec<_> = units.take(count + sizes.overlap).cloned().collect();
        let (send, receive) = sync_channel(1);
        let claimed = Arc::new(AtomicBool::new(false));
        let base = self.next_unit * sizes.unit as u64;
        self.jobs.push_back(Job { start: base * 8, claimed: Arc::clone(&claimed), receive, piece: None });
        self.next_unit += count as u64;
        Some(Task { base, len: count * sizes.unit, units, room, claimed, send })
    }

    /// Starts one more thread; without it there are less.
    fn start_thread(&self) -> bool {
        let (queue, sizes, budget) = (Arc::clone(&self.queue), self.sizes, Arc::clone(self.share.budget()));
        thread::Builder::new().name("inflate".into()).spawn(move || work(&queue, &sizes, &budget)).is_ok()
    }

    fn drop_first(&mut self) {
        if let Some(piece) = self.jobs.pop_front().and_then(|job| job.piece) {
            self.keep((piece.chunk, piece.symbols));
        }
    }

    /// Keeps memory for other pieces and chunks.
    fn keep(&mut self, room: Room) {
        self.replaced.extend(self.share.budget().take_back(room));
    }
}

impl Drop for Speculation {
    fn drop(&mut self) {
        // No thread is to begin with a part that will not be taken.
        for job in &self.jobs {
            job.claimed.store(true, Ordering::Relaxed);
        }
    }
}

impl<R> Pieces<ReadAhead<R>> for Speculation {
    fn allow(&mut self, bytes: u64) {
        self.allowed = bytes;
    }

    fn next(&mut self, input: &mut Input<ReadAhead<R>>, inflate: &mut Inflate) -> Result<Next> {
        self.hand_out(input);
        let patient = self.sizes.patient;
        while let Some(job) = self.jobs.front_mut() {
            let Some((at, found_at)) = inflate.block(input)? else { return Ok(Next::Decode(job.start)) };
            if at < job.start {
                return Ok(Next::Decode(job.start));
            }
            match job.wait(patient) {
                Some(piece) if piece.start > found_at => {
                    // The header of a stored block may begin seven bits before where it is found.
                    return Ok(Next::Decode((at + 1).max(piece.start.saturating_sub(7))));
                }
                Some(piece) if piece.start == found_at && piece.len() as u64 <= self.allowed => return Ok(Next::Take),
                _ => self.drop_first(),
            }
        }
        Ok(Next::Decode(u64::MAX))
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

    fn reuse(&mut self, room: Room) {
        self.keep(room);
    }
}

impl Job {
    /// The piece that the job makes; none if no thread has begun with it, because decoding in order is faster then.
    fn wait(&mut self, patient: bool) -> Option<&Piece> {
        if self.piece.is_none() && (patient || self.claimed.swap(true, Ordering::Relaxed)) {
            // A thread that has panicked hangs up.
            self.piece = self.receive.recv().ok().flatten();
        }
        self.piece.as_ref()
    }
}

/// Works on tasks until the stream is done with. This runs on a thread.
fn work(queue: &Mutex<Receiver<Task>>, sizes: &Sizes, budget: &Budget) {
    let mut guesser = Guesser::new((sizes.units + sizes.overlap) * sizes.unit, sizes.step);
    loop {
        let task = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = task else { return };
        if task.claimed.swap(true, Ordering::Relaxed) {
            budget.take_back(task.room);
            continue;
        }
        let units = task.units.iter().map(|unit| &unit[..]);
        let piece = guesser.decode(task.base, units, task.len, task.room);
        let piece = piece.map_err(|room| budget.take_back(room)).ok();
        drop(task.units);
        // The stream may be done with.
        let _ = task.send.send(piece);
    }
}

#[cfg(test)]
mod costs;
#[cfg(test)]
mod tests;
