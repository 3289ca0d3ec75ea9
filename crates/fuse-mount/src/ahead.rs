//! Reading ahead from one small file to the next.
//!
//! The kernel reads ahead within a file. Who reads a whole tree, as tar(1), cp(1) and grep(1) do, waits mostly for one
//! small file after the other. The inodes of a directory are numbered in the order of its listing, so that such a reader
//! is easily told: once it has read a few files in a row, the next ones are put into the kernel's page cache before it
//! asks for them (`FUSE_NOTIFY_STORE`). One in the midst of them is left out, and asked for: so we hear that the reader
//! is still coming, and send the next while it reads the rest.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use fuser::Notifier;
use vmroot_container_fs::{ContainerFs, InodeId, InodeKind};

use crate::attributes::number;

/// The largest file that is sent ahead, in bytes. The kernel's own readahead does well with larger ones.
const MAX_FILE: u64 = 128 << 10;

/// The most bytes sent at once.
const MAX_BYTES: u64 = 4 << 20;

/// How many inodes are looked at for files to send, at first and at most.
const FIRST: u32 = 8;
const MOST: u32 = 64;

/// How many files in a row make a reader of a tree.
const ROW: u32 = 3;

/// How many other inodes may lie between two files of a row: directories, links, empty files, files in memory already.
const GAP: u32 = 16;

/// Watches what is read, and sends what will be.
pub(crate) struct Ahead {
    reader: Arc<Mutex<Reader>>,
    orders: SyncSender<Order>,
}

/// The other end, for [`Ahead::serve`].
pub(crate) struct Orders {
    reader: Arc<Mutex<Reader>>,
    orders: Receiver<Order>,
}

/// Who has read the last files, taken for one reader. Several in different places make no rows, and are served as if
/// this were not here.
#[derive(Debug)]
struct Reader {
    /// Counts readers.
    generation: u32,
    /// The inode read last.
    last: u32,
    /// How many files it has read in a row.
    row: u32,
    /// Where the inodes begin that have not been sent.
    sent: u32,
    /// Inodes to look at next time.
    window: u32,
    /// When it reads this inode or a later one, more is to be sent. Nothing while that is being done.
    more_at: Option<u32>,
}

/// Files to send.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    generation: u32,
    start: u32,
    window: u32,
}

impl Default for Reader {
    fn default() -> Self {
        Self { generation: 0, last: 0, row: 0, sent: 0, window: FIRST, more_at: Some(0) }
    }
}

impl Reader {
    /// A file is read from its start.
    fn sees(&mut self, inode: u32) -> Option<Order> {
        let reached = self.last.max(self.sent).saturating_add(GAP);
        if inode > reached || inode.saturating_add(GAP) < self.last {
            let generation = self.generation.wrapping_add(1);
            *self = Self { generation, last: inode, row: 1, ..Self::default() };
            return None;
        }
        // Two that share the work go by turns, each a little behind at times.
        self.last = self.last.max(inode);
        self.row = self.row.saturating_add(1);
        if self.row < ROW || self.more_at.is_none_or(|at| inode < at) {
            return None;
        }
        self.more_at = None;
        let order = Order { generation: self.generation, start: self.sent.max(self.last + 1), window: self.window };
        self.window = (self.window * 2).min(MOST);
        Some(order)
    }

    /// An order has been carried out up to the inode `end`, with `left_out` in the midst.
    fn has_been_sent(&mut self, order: &Order, end: u32, left_out: Option<u32>) {
        if order.generation == self.generation {
            self.sent = end;
            self.more_at = Some(left_out.unwrap_or(end));
        }
    }
}

impl Ahead {
    pub(crate) fn new() -> (Self, Orders) {
        let reader = Arc::new(Mutex::new(Reader::default()));
        let (sender, receiver) = sync_channel(1);
        (Self { reader: Arc::clone(&reader), orders: sender }, Orders { reader, orders: receiver })
    }

    /// A file is read from its start.
    pub(crate) fn sees(&self, ino: InodeId) {
        let mut reader = lock(&self.reader);
        if let Some(order) = reader.sees(ino.0)
            && self.orders.try_send(order).is_err()
        {
            // The last order, for one who has left, is still being carried out.
            reader.more_at = Some(0);
        }
    }
}

impl Orders {
    /// Starts the thread that sends, until [`Ahead`] is dropped. It is a thread of its own because the kernel may let it
    /// wait for a page that a reader waits for, whom one of the others has to answer.
    pub(crate) fn serve(self, root: Arc<ContainerFs>, notifier: Notifier) -> io::Result<()> {
        thread::Builder::new().name("fuse-ahead".to_owned()).spawn(move || {
            let mut buffer = vec![0; MAX_FILE as usize];
            for order in self.orders {
                let (end, left_out) = send(&root, &order, &notifier, &mut buffer);
                lock(&self.reader).has_been_sent(&order, end, left_out);
            }
        })?;
        Ok(())
    }
}

/// Sends files until a limit is reached; gives the inode after the last, and the one that was left out.
fn send(root: &ContainerFs, order: &Order, notifier: &Notifier, buffer: &mut [u8]) -> (u32, Option<u32>) {
    let mut bytes = 0;
    let mut left_out = None;
    let end = order.start.saturating_add(order.window);
    for inode in order.start..end {
        let Some(ino) = root.inode_id(inode.into()) else { return (inode, left_out) };
        let stat = root.stat(ino);
        if stat.kind != InodeKind::Regular || stat.size == 0 || stat.size > MAX_FILE {
            continue;
        }
        bytes += stat.size;
        if left_out.is_none() && (inode - order.start >= order.window / 2 || bytes >= MAX_BYTES / 2) {
            left_out = Some(inode);
            continue;
        }
        // What cannot be read or sent is asked for, and whoever asks hears why.
        let sent =
            root.read_at(ino, 0, buffer).is_ok_and(|count| notifier.store(number(ino), 0, &buffer[..count]).is_ok());
        if !sent || bytes >= MAX_BYTES {
            return (inode + 1, left_out);
        }
    }
    (end, left_out)
}

fn lock(reader: &Mutex<Reader>) -> MutexGuard<'_, Reader> {
    reader.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(reader: &mut Reader, inodes: impl IntoIterator<Item = u32>) -> Vec<Order> {
        inodes.into_iter().filter_map(|inode| reader.sees(inode)).collect()
    }

    #[test]
    fn three_in_a_row_are_a_reader_of_a_tree() {
        let mut reader = Reader::default();
        assert_eq!(orders(&mut reader, [100, 101]), []);
        let [order] = &orders(&mut reader, [104, 105, 106])[..] else { panic!("one order, until it is carried out") };
        assert_eq!((order.start, order.window), (105, FIRST));
        reader.has_been_sent(order, 113, Some(109));
        let [next] = &orders(&mut reader, [107, 109, 113])[..] else { panic!("one order, for the file left out") };
        assert_eq!((next.start, next.window), (113, 2 * FIRST));
    }

    #[test]
    fn reading_here_and_there_sends_nothing() {
        let mut reader = Reader::default();
        assert_eq!(orders(&mut reader, (0..100).map(|turn| turn * 7919 % 1000)), []);
    }

    #[test]
    fn two_readers_side_by_side_are_one() {
        let mut reader = Reader::default();
        assert_eq!(orders(&mut reader, [11, 10, 13, 12]).len(), 1);
    }

    #[test]
    fn an_order_for_one_who_has_left_changes_nothing() {
        let mut reader = Reader::default();
        let order = orders(&mut reader, [1, 2, 3]).pop().unwrap();
        assert_eq!(orders(&mut reader, [5000, 5001]), []);
        reader.has_been_sent(&order, 12, None);
        assert_eq!(reader.sees(5002).map(|order| order.start), Some(5003));
    }

    #[test]
    fn the_last_numbers_do_not_overflow() {
        let mut reader = Reader::default();
        let last = u32::MAX - 3;
        assert_eq!(orders(&mut reader, [last - 2, last - 1, last]).len(), 1);
    }
}
