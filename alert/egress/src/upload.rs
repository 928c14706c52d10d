//! A body that is sent piece by piece.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// A body of a known length that somebody hands over piece by piece, so that it need not be in memory.
///
/// When the pieces end before their length is reached, the request fails: a server never takes a part for the whole.
#[derive(Debug)]
pub struct UploadBody {
    left: u64,
    pieces: mpsc::Receiver<Bytes>,
    sent: Arc<AtomicU64>,
}

impl UploadBody {
    /// So many bytes, which come through a channel.
    #[must_use]
    pub fn new(bytes: u64, pieces: mpsc::Receiver<Bytes>) -> Self {
        Self { left: bytes, pieces, sent: Arc::default() }
    }

    /// Watches whether the body goes on.
    pub(crate) fn watch(&self) -> UploadWatch {
        UploadWatch(Arc::clone(&self.sent))
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let Some(piece) = ready!(self.pieces.poll_recv(context)) else {
            let text = format!("{} bytes of the body did not come", self.left);
            return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text))));
        };
        let bytes = piece.len() as u64;
        if bytes > self.left {
            let text = format!("the body has {} bytes more than was said", bytes - self.left);
            return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, text))));
        }
        self.left -= bytes;
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// How much of a body has gone out.
pub(crate) struct UploadWatch(Arc<AtomicU64>);

impl UploadWatch {
    /// Comes back when nothing went out for `limit`.
    pub(crate) async fn stalled(&self, limit: Duration) {
        let mut seen = None;
        loop {
            let sent = self.0.load(Ordering::Relaxed);
            if seen.replace(sent) == Some(sent) {
                return;
            }
            tokio::time::sleep(limit).await;
        }
    }
}
