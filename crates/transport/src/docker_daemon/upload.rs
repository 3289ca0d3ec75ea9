//! The body of a request whose bytes come through a pipe.

use std::io::{self, PipeReader, Read};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::mpsc::Receiver;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};

/// The size in bytes of the pieces of a body, that of a pipe's buffer.
const PIECE: usize = 64 << 10;

/// The body. Polling it blocks until the writer has written. That is no loss, because the runtime has no other task
/// meanwhile.
#[derive(Debug)]
pub(super) struct PipeBody {
    reader: PipeReader,
    /// Receives whether everything was written. Without that, a pipe whose writer failed would look complete.
    complete: Mutex<Receiver<bool>>,
    ended: bool,
}

impl PipeBody {
    /// Creates a body of the bytes of a pipe. At their end, `complete` must receive whether these are all.
    pub(super) fn new(reader: PipeReader, complete: Receiver<bool>) -> Self {
        Self { reader, complete: Mutex::new(complete), ended: false }
    }

    fn read_piece(&mut self) -> io::Result<Option<Bytes>> {
        let mut piece = vec![0; PIECE];
        let read = loop {
            match self.reader.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if read > 0 {
            piece.truncate(read);
            return Ok(Some(piece.into()));
        }
        let complete = self.complete.lock().map_or(Ok(false), |complete| complete.recv());
        // A sender that is gone sent nothing, because its thread failed.
        if complete.unwrap_or(false) { Ok(None) } else { Err(io::Error::other("the archive is not complete")) }
    }
}

impl Body for PipeBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = self.read_piece();
        self.ended = !matches!(piece, Ok(Some(_)));
        Poll::Ready(piece.transpose().map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc::channel;
    use std::task::Waker;

    use super::*;

    fn frames(body: PipeBody) -> Vec<Option<usize>> {
        let mut body = Box::pin(body);
        let mut context = Context::from_waker(Waker::noop());
        let mut frames = Vec::new();
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut context) {
            frames.push(frame.ok().and_then(|frame| frame.into_data().ok()).map(|data| data.len()));
        }
        frames
    }

    #[test]
    fn a_body_ends_well_only_if_everything_was_written() {
        for (sent, wanted) in
            [(Some(true), vec![Some(3)]), (Some(false), vec![Some(3), None]), (None, vec![Some(3), None])]
        {
            let (reader, mut writer) = io::pipe().unwrap();
            let (sender, receiver) = channel();
            writer.write_all(b"abc").unwrap();
            drop(writer);
            if let Some(sent) = sent {
                sender.send(sent).unwrap();
            }
            drop(sender);
            assert_eq!(frames(PipeBody::new(reader, receiver)), wanted);
        }
    }
}
