//! The body of a request that sends a part of a blob.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::window::{Stopped, Window};
use crate::{Error, Result};

/// A part of a blob that is sent while it is read.
#[derive(Clone, Debug)]
pub(crate) struct StreamedBody {
    pub(super) window: Arc<Window>,
    /// The offset of the first byte.
    pub(super) start: u64,
    /// The offset after the last byte, or `None` for the end of a blob of unknown size, which is sent with
    /// `Transfer-Encoding: chunked`.
    pub(super) end: Option<u64>,
    /// The URL of the upload, for messages.
    pub(super) url: String,
}

impl StreamedBody {
    /// Returns a body that sends from the start. A body that was returned before ends with an error.
    ///
    /// # Errors
    /// [`Error::UploadInterrupted`] if the first bytes are no longer in the window.
    pub(crate) fn start(&self) -> Result<reqwest::Body> {
        let body = self.window.rewind(self.start).ok_or_else(|| Error::UploadInterrupted {
            url: self.url.clone(),
            offset: self.start,
            reason: "it must be sent again from a byte that is no longer in memory".to_owned(),
        })?;
        Ok(reqwest::Body::wrap(Sending { streamed: self.clone(), body, sent: 0 }))
    }

    /// Returns the time for which the connection took no bytes, although there are some.
    pub(crate) fn idle(&self) -> Duration {
        self.window.idle()
    }
}

/// One attempt at sending a part.
struct Sending {
    streamed: StreamedBody,
    /// The number of the body.
    body: u64,
    sent: u64,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        let StreamedBody { window, end, .. } = &self.streamed;
        let taken = match window.poll_take(self.body, *end, context.waker()) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(taken) => taken,
        };
        if let Ok(Some(bytes)) = &taken {
            self.sent += bytes.len() as u64;
        }
        Poll::Ready(taken.map(|bytes| bytes.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.streamed.end == Some(self.streamed.start + self.sent)
    }

    fn size_hint(&self) -> SizeHint {
        let left = |end: u64| end - self.streamed.start - self.sent;
        self.streamed.end.map_or_else(SizeHint::new, |end| SizeHint::with_exact(left(end)))
    }
}
