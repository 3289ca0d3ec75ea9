//! The bytes of a blob between the thread that reads them and the one that sends them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use vmroot_output::{CANCEL_LATENCY, Cancel};

use crate::Result;

/// The number of bytes that are read ahead of the connection.
pub(super) const QUEUE_LIMIT: u64 = 1 << 20;

/// The most buffers that wait to be filled again.
const SPENT_LIMIT: usize = 4;

/// A queue of bytes that keeps those that were sent last, so that an interrupted upload can continue.
///
/// One thread adds bytes at the end and waits while too many are unsent. The body of a request takes them. The threads
/// wake each other only if one waits, and the reader only once half of the queue is sent: a wake-up for each buffer
/// would cost a system call and a switch of threads.
#[derive(Debug)]
pub(super) struct Window {
    /// The maximum number of sent bytes that are kept.
    kept: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// The bytes, each with its offset in the blob, in order and without gaps.
    chunks: VecDeque<(u64, Bytes)>,
    /// Buffers that are no longer needed.
    spent: Vec<Bytes>,
    /// The offset of the next byte for the connection.
    next: u64,
    /// The offset after the last byte.
    end: u64,
    /// The maximum number of unsent bytes.
    capacity: u64,
    /// The number of bodies so far. Only the last one may take bytes.
    bodies: u64,
    /// The reader is at the end of the blob.
    is_finished: bool,
    /// The reader failed.
    has_failed: bool,
    /// No more bytes are needed.
    is_closed: bool,
    /// The body waits for the reader.
    is_starved: bool,
    /// The reader waits until bytes are taken.
    is_reader_waiting: bool,
    /// [`Window::wait_for`] waits for bytes.
    is_awaited: bool,
    /// The time at which the body last took bytes.
    last_taken: Instant,
    waker: Option<Waker>,
}

impl State {
    /// Returns the offset of the first byte that is kept.
    fn start(&self) -> u64 {
        self.chunks.front().map_or(self.end, |(start, _)| *start)
    }

    fn trim(&mut self, kept: u64) {
        while let Some((start, bytes)) = self.chunks.front()
            && start + bytes.len() as u64 <= self.next
            && self.next - start > kept
            && let Some((_, bytes)) = self.chunks.pop_front()
        {
            if self.spent.len() < SPENT_LIMIT {
                self.spent.push(bytes);
            }
        }
    }

    /// Returns whether a reader that has waited goes on.
    fn has_room(&self) -> bool {
        let unsent = self.end.saturating_sub(self.next);
        if self.is_awaited { unsent < self.capacity } else { unsent <= self.capacity / 2 }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The bytes that are ready for a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) length: u64,
    /// The blob ends with them.
    pub(super) is_last: bool,
}

impl Window {
    /// Creates an empty window that keeps `kept` sent bytes.
    pub(super) fn new(kept: u64) -> Arc<Self> {
        let state = State {
            chunks: VecDeque::new(),
            spent: Vec::new(),
            next: 0,
            end: 0,
            capacity: QUEUE_LIMIT,
            bodies: 0,
            is_finished: false,
            has_failed: false,
            is_closed: false,
            is_starved: false,
            is_reader_waiting: false,
            is_awaited: false,
            last_taken: Instant::now(),
            waker: None,
        };
        Arc::new(Self { kept, state: Mutex::new(state), changed: Condvar::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>, cancel: &Cancel) -> Result<MutexGuard<'s, State>> {
        cancel.check()?;
        Ok(self.changed.wait_timeout(state, CANCEL_LATENCY).unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Adds bytes at the end, once few enough are unsent. Returns false if no more are needed.
    pub(super) fn push(&self, bytes: Bytes, cancel: &Cancel) -> Result<bool> {
        let mut state = self.state();
        if state.end.saturating_sub(state.next) >= state.capacity {
            state.is_reader_waiting = true;
            while !state.is_closed && !state.has_room() {
                state = self.wait(state, cancel)?;
            }
            state.is_reader_waiting = false;
        }
        if state.is_closed {
            return Ok(false);
        }
        let offset = state.end;
        state.end += bytes.len() as u64;
        state.chunks.push_back((offset, bytes));
        state.trim(self.kept);
        state.wake();
        if state.is_awaited {
            self.changed.notify_all();
        }
        Ok(true)
    }

    /// Returns a buffer that is no longer needed. New memory would have to be mapped and cleared.
    pub(super) fn spent(&self) -> Option<BytesMut> {
        self.state().spent.pop()?.try_into_mut().ok()
    }

    /// Marks the blob as whole: the reader is at its end.
    pub(super) fn mark_whole(&self) {
        self.state().is_finished = true;
    }

    /// Marks the end of reading. If the blob is not marked as whole, the reader has failed.
    pub(super) fn finish(&self) {
        let mut state = self.state();
        state.has_failed = !state.is_finished && !state.is_closed;
        state.wake();
        self.changed.notify_all();
    }

    /// Makes [`Self::push`] return false from now on.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    /// Returns whether the reader failed.
    pub(super) fn has_failed(&self) -> bool {
        self.state().has_failed
    }

    /// Returns whether bytes can be sent from `offset` on: they are kept, or follow the kept ones.
    pub(super) fn can_send_from(&self, offset: u64) -> bool {
        let state = self.state();
        (state.start()..=state.end).contains(&offset)
    }

    /// Returns the offset after the last byte that a body took.
    pub(super) fn taken(&self) -> u64 {
        self.state().next
    }

    /// Returns whether the reader is at the end of the blob, and the blob has `size` bytes.
    pub(super) fn is_whole(&self, size: u64) -> bool {
        let state = self.state();
        state.is_finished && state.end == size
    }

    /// Waits until `length` bytes from `offset` on are there, or the blob ends.
    pub(super) fn wait_for(&self, offset: u64, length: u64, cancel: &Cancel) -> Result<Ready> {
        let mut state = self.state();
        state.next = offset;
        state.capacity = length.max(QUEUE_LIMIT);
        state.is_awaited = true;
        self.changed.notify_all();
        loop {
            let ready = state.end.saturating_sub(offset);
            if ready >= length || state.is_finished || state.has_failed {
                state.is_awaited = false;
                return Ok(Ready { length: ready.min(length), is_last: state.is_finished && ready <= length });
            }
            state = self.wait(state, cancel)?;
        }
    }

    /// Lets a new body take bytes from `offset` on. Returns its number, or `None` if these bytes are not kept.
    pub(super) fn rewind(&self, offset: u64) -> Option<u64> {
        let mut state = self.state();
        if !(state.start()..=state.end).contains(&offset) {
            return None;
        }
        state.next = offset;
        state.bodies += 1;
        state.last_taken = Instant::now();
        state.is_starved = false;
        Some(state.bodies)
    }

    /// Takes the next bytes for a body, at most up to the offset `end`. Returns `None` at the end of the blob.
    pub(super) fn poll_take(&self, body: u64, end: Option<u64>, waker: &Waker) -> Poll<Result<Option<Bytes>, Stopped>> {
        let mut state = self.state();
        if state.bodies != body || state.has_failed {
            return Poll::Ready(Err(Stopped));
        }
        let next = state.next;
        if end == Some(next) {
            return Poll::Ready(Ok(None));
        }
        if next == state.end {
            if state.is_finished {
                return Poll::Ready(if end.is_none() { Ok(None) } else { Err(Stopped) });
            }
            state.is_starved = true;
            state.waker = Some(waker.clone());
            return Poll::Pending;
        }
        let after = state.chunks.partition_point(|(start, _)| *start <= next);
        let (start, chunk) = &state.chunks[after - 1];
        let mut bytes = chunk.slice((next - start) as usize..);
        if let Some(end) = end {
            bytes.truncate(usize::try_from(end - next).unwrap_or(usize::MAX));
        }
        state.next += bytes.len() as u64;
        state.is_starved = false;
        state.last_taken = Instant::now();
        state.trim(self.kept);
        if state.is_reader_waiting && state.has_room() {
            self.changed.notify_all();
        }
        Poll::Ready(Ok(Some(bytes)))
    }

    /// Returns the time since a body last took bytes. It is zero while the body waits for the reader.
    pub(super) fn idle(&self) -> Duration {
        let state = self.state();
        if state.is_starved { Duration::ZERO } else { state.last_taken.elapsed() }
    }
}

/// The error of a body whose reader failed, or that another body has replaced.
#[derive(Debug, thiserror::Error)]
#[error("the source of the upload ended early")]
pub(super) struct Stopped;

#[cfg(test)]
mod tests {
    use super::*;

    fn take(window: &Window, body: u64, end: Option<u64>) -> Poll<Option<Bytes>> {
        match window.poll_take(body, end, Waker::noop()) {
            Poll::Ready(taken) => Poll::Ready(taken.unwrap()),
            Poll::Pending => Poll::Pending,
        }
    }

    fn bytes(text: &'static str) -> Poll<Option<Bytes>> {
        Poll::Ready(Some(Bytes::from_static(text.as_bytes())))
    }

    fn window(kept: u64, parts: &[&'static str]) -> Arc<Window> {
        let window = Window::new(kept);
        for part in parts {
            assert!(window.push(Bytes::from_static(part.as_bytes()), &Cancel::new()).unwrap());
        }
        window
    }

    #[test]
    fn bytes_are_taken_in_order_and_again_from_any_kept_one() {
        let window = window(100, &["abc", "def", "ghi"]);
        let first = window.rewind(0).unwrap();
        assert_eq!(take(&window, first, None), bytes("abc"));
        assert_eq!(take(&window, first, None), bytes("def"));
        let second = window.rewind(1).unwrap();
        assert!(fails(&window, first, None), "it was replaced");
        assert_eq!(take(&window, second, Some(5)), bytes("bc"));
        assert_eq!(take(&window, second, Some(5)), bytes("de"));
        assert_eq!(take(&window, second, Some(5)), Poll::Ready(None));
        let third = window.rewind(6).unwrap();
        assert_eq!(take(&window, third, None), bytes("ghi"));
        assert_eq!(take(&window, third, None), Poll::Pending);
        assert_eq!(window.idle(), Duration::ZERO, "the reader is slow");
        window.mark_whole();
        window.finish();
        assert_eq!(take(&window, third, None), Poll::Ready(None));
        assert!(window.is_whole(9) && !window.has_failed());
        assert!(window.rewind(9).is_some() && window.rewind(10).is_none());
    }

    #[test]
    fn only_the_last_sent_bytes_are_kept() {
        let window = window(4, &["abc", "def", "ghi", "jkl"]);
        let body = window.rewind(0).unwrap();
        for _ in 0..3 {
            take(&window, body, None).is_ready();
        }
        // 9 bytes were sent. The parts that fit into 4 bytes stay.
        assert!(window.can_send_from(6) && window.can_send_from(9));
        assert!(!window.can_send_from(5) && window.rewind(5).is_none());
        assert!(window.can_send_from(12), "unsent bytes are kept");
    }

    #[test]
    fn a_failure_of_the_reader_ends_the_body() {
        let window = window(100, &["abc"]);
        let body = window.rewind(0).unwrap();
        window.finish();
        assert!(window.has_failed());
        assert!(fails(&window, body, None));
        // A blob that is shorter than its size.
        let window = self::window(100, &["abc"]);
        let body = window.rewind(0).unwrap();
        window.mark_whole();
        assert_eq!(take(&window, body, Some(5)), bytes("abc"));
        assert!(fails(&window, body, Some(5)));
    }

    #[test]
    fn a_reader_that_is_far_ahead_waits_until_the_sender_ends() {
        let window = Window::new(0);
        let large = Bytes::from(vec![0; QUEUE_LIMIT as usize]);
        assert!(window.push(large.clone(), &Cancel::new()).unwrap());
        let cancel = Cancel::new();
        cancel.cancel();
        assert!(window.push(large.clone(), &cancel).is_err(), "it waits, and is cancelled");
        assert_eq!(window.wait_for(0, 10, &Cancel::new()).unwrap(), Ready { length: 10, is_last: false });
        window.close();
        assert!(!window.push(large, &Cancel::new()).unwrap());
        window.finish();
        assert!(!window.has_failed(), "the sender ended first");
    }

    #[test]
    fn a_waiting_reader_goes_on_once_half_of_the_queue_is_sent_or_a_chunk_wants_more() {
        let window = Window::new(0);
        let quarter = Bytes::from(vec![0; QUEUE_LIMIT as usize / 4]);
        let push = || assert!(window.push(quarter.clone(), &Cancel::new()).unwrap());
        (0..4).for_each(|_| push());
        std::thread::scope(|scope| {
            let reader = scope.spawn(push);
            let body = window.rewind(0).unwrap();
            assert!(take(&window, body, None).is_ready() && !window.state().has_room());
            assert!(take(&window, body, None).is_ready());
            reader.join().unwrap();
            push();
            // Four quarters are unsent again. A chunk needs five.
            let reader = scope.spawn(push);
            let wanted = QUEUE_LIMIT / 4 * 5;
            let ready = window.wait_for(QUEUE_LIMIT / 2, wanted, &Cancel::new()).unwrap();
            assert_eq!(ready, Ready { length: wanted, is_last: false });
            reader.join().unwrap();
        });
    }

    fn fails(window: &Window, body: u64, end: Option<u64>) -> bool {
        matches!(window.poll_take(body, end, Waker::noop()), Poll::Ready(Err(Stopped)))
    }
}
