//! Reads ahead across small files.
//!
//! The kernel reads ahead within a file. A program that reads a whole tree, such as tar(1), cp(1) or grep(1), mostly
//! waits for one small file after another.
//!
//! The inodes of a directory are numbered in the order of its listing, so such a program is easy to detect. After it
//! has read a few files in a row, the next files are stored in the kernel's page cache before it requests them
//! (`FUSE_NOTIFY_STORE`). One file in the middle is left out. The request for that file shows that the program
//! continues, and the next files are sent while it reads the rest.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use fuser::{INodeNo, Notifier};
use vmroot_container_fs::{ContainerFs, InodeId, InodeKind};
use vmroot_mount::inode_number;

/// The largest file that is prefetched, in bytes. The kernel's own readahead works well for larger files.
const MAX_FILE: u64 = 128 << 10;

/// The most bytes of one prefetch.
const MAX_BYTES: u64 = 4 << 20;

/// Number of inodes of the first prefetch, and of the largest.
const MIN_WINDOW: u32 = 8;
const MAX_WINDOW: u32 = 64;

/// Number of files in a row after which prefetching begins.
const MIN_ROW: u32 = 3;

/// The most other inodes between two files of a row: directories, symlinks, empty files, files that are already in
/// memory.
const MAX_GAP: u32 = 16;

/// Observes reads and requests prefetches.
pub(crate) struct Prefetcher {
    pattern: Arc<Mutex<ReadPattern>>,
    requests: SyncSender<PrefetchRequest>,
}

/// The receiver of prefetch requests; see [`PrefetchWorker::spawn`].
pub(crate) struct PrefetchWorker {
    pattern: Arc<Mutex<ReadPattern>>,
    requests: Receiver<PrefetchRequest>,
}

/// The recent reads, treated as those of one program. Several programs in different places produce no row, so they get
/// no prefetch.
#[derive(Debug)]
struct ReadPattern {
    /// Number of the current row of reads. Changes when a read does not continue the row.
    generation: u32,
    /// The largest inode read.
    last: u32,
    /// Number of files read in the row.
    row_length: u32,
    /// The first inode that has not been prefetched.
    prefetched_end: u32,
    /// Number of inodes of the next prefetch.
    window: u32,
    /// A read of this inode or a later one requests the next prefetch. `None` while a prefetch runs.
    trigger: Option<u32>,
}

/// A range of inodes to prefetch.
#[derive(Debug, PartialEq, Eq)]
struct PrefetchRequest {
    generation: u32,
    start: u32,
    window: u32,
}

impl Default for ReadPattern {
    fn default() -> Self {
        Self { generation: 0, last: 0, row_length: 0, prefetched_end: 0, window: MIN_WINDOW, trigger: Some(0) }
    }
}

impl ReadPattern {
    /// Records that a file is read from its start. Returns a prefetch request if one is due.
    fn record_read(&mut self, inode: u32) -> Option<PrefetchRequest> {
        let reached = self.last.max(self.prefetched_end).saturating_add(MAX_GAP);
        if inode > reached || inode.saturating_add(MAX_GAP) < self.last {
            let generation = self.generation.wrapping_add(1);
            *self = Self { generation, last: inode, row_length: 1, ..Self::default() };
            return None;
        }
        // Two threads that share the work alternate, and each can be a little behind.
        self.last = self.last.max(inode);
        self.row_length = self.row_length.saturating_add(1);
        if self.row_length < MIN_ROW || self.trigger.is_none_or(|at| inode < at) {
            return None;
        }
        self.trigger = None;
        let request = PrefetchRequest {
            generation: self.generation,
            start: self.prefetched_end.max(self.last + 1),
            window: self.window,
        };
        self.window = (self.window * 2).min(MAX_WINDOW);
        Some(request)
    }

    /// Records a prefetch of the inodes before `end`, without the inode `left_out`.
    fn record_prefetch(&mut self, request: &PrefetchRequest, end: u32, left_out: Option<u32>) {
        if request.generation == self.generation {
            self.prefetched_end = end;
            self.trigger = Some(left_out.unwrap_or(end));
        }
    }
}

impl Prefetcher {
    pub(crate) fn new() -> (Self, PrefetchWorker) {
        let pattern = Arc::new(Mutex::new(ReadPattern::default()));
        let (sender, receiver) = sync_channel(1);
        (Self { pattern: Arc::clone(&pattern), requests: sender }, PrefetchWorker { pattern, requests: receiver })
    }

    /// Records that a file is read from its start.
    pub(crate) fn record_read(&self, ino: InodeId) {
        let mut pattern = lock(&self.pattern);
        if let Some(request) = pattern.record_read(ino.0)
            && self.requests.try_send(request).is_err()
        {
            // The last request, for an earlier row, is still running.
            pattern.trigger = Some(0);
        }
    }
}

impl PrefetchWorker {
    /// Starts the thread that prefetches until the [`Prefetcher`] is dropped. It needs its own thread: the kernel can
    /// block it on a page that a reader waits for, and another thread must serve that reader.
    pub(crate) fn spawn(self, root: Arc<ContainerFs>, notifier: Notifier) -> io::Result<()> {
        thread::Builder::new().name("fuse-prefetch".to_owned()).spawn(move || {
            let mut buffer = vec![0; MAX_FILE as usize];
            for request in self.requests {
                let (end, left_out) = prefetch(&root, &request, &notifier, &mut buffer);
                lock(&self.pattern).record_prefetch(&request, end, left_out);
            }
        })?;
        Ok(())
    }
}

/// Prefetches files until a limit is reached. Returns the inode after the last one, and the inode that was left out.
fn prefetch(
    root: &ContainerFs,
    request: &PrefetchRequest,
    notifier: &Notifier,
    buffer: &mut [u8],
) -> (u32, Option<u32>) {
    let mut bytes = 0;
    let mut left_out = None;
    let end = request.start.saturating_add(request.window);
    for inode in request.start..end {
        let Some(ino) = root.inode_id(inode.into()) else { return (inode, left_out) };
        let stat = root.stat(ino);
        if stat.kind != InodeKind::Regular || stat.size == 0 || stat.size > MAX_FILE {
            continue;
        }
        bytes += stat.size;
        if left_out.is_none() && (inode - request.start >= request.window / 2 || bytes >= MAX_BYTES / 2) {
            left_out = Some(inode);
            continue;
        }
        // Errors are ignored: the kernel requests the file later, and the reader gets the error then.
        let prefetched = root
            .read_at(ino, 0, buffer)
            .is_ok_and(|count| notifier.store(INodeNo(inode_number(ino)), 0, &buffer[..count]).is_ok());
        if !prefetched || bytes >= MAX_BYTES {
            return (inode + 1, left_out);
        }
    }
    (end, left_out)
}

fn lock(pattern: &Mutex<ReadPattern>) -> MutexGuard<'_, ReadPattern> {
    pattern.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(pattern: &mut ReadPattern, inodes: impl IntoIterator<Item = u32>) -> Vec<PrefetchRequest> {
        inodes.into_iter().filter_map(|inode| pattern.record_read(inode)).collect()
    }

    #[test]
    fn three_files_in_a_row_request_a_prefetch() {
        let mut pattern = ReadPattern::default();
        assert_eq!(requests(&mut pattern, [100, 101]), []);
        let [request] = &requests(&mut pattern, [104, 105, 106])[..] else {
            panic!("expected one request until it is finished")
        };
        assert_eq!((request.start, request.window), (105, MIN_WINDOW));
        pattern.record_prefetch(request, 113, Some(109));
        let [next] = &requests(&mut pattern, [107, 109, 113])[..] else {
            panic!("expected one request, for the file left out")
        };
        assert_eq!((next.start, next.window), (113, 2 * MIN_WINDOW));
    }

    #[test]
    fn scattered_reads_request_no_prefetch() {
        let mut pattern = ReadPattern::default();
        assert_eq!(requests(&mut pattern, (0..100).map(|turn| turn * 7919 % 1000)), []);
    }

    #[test]
    fn two_alternating_readers_form_one_row() {
        let mut pattern = ReadPattern::default();
        assert_eq!(requests(&mut pattern, [11, 10, 13, 12]).len(), 1);
    }

    #[test]
    fn a_prefetch_for_an_earlier_row_is_ignored() {
        let mut pattern = ReadPattern::default();
        let request = requests(&mut pattern, [1, 2, 3]).pop().unwrap();
        assert_eq!(requests(&mut pattern, [5000, 5001]), []);
        pattern.record_prefetch(&request, 12, None);
        assert_eq!(pattern.record_read(5002).map(|request| request.start), Some(5003));
    }

    #[test]
    fn the_largest_inodes_do_not_overflow() {
        let mut pattern = ReadPattern::default();
        let last = u32::MAX - 3;
        assert_eq!(requests(&mut pattern, [last - 2, last - 1, last]).len(), 1);
    }
}
