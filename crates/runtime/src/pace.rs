//! How much of what clients send is read between two turns of the driver.
//!
//! Clients' connections and the driver take turns on one thread. Admission refuses what is too much, but to refuse costs
//! something, too: a request has been read and parsed by then. A thousand connections that bring a hundred requests each
//! would keep the driver from its next turn for seconds, and a leader that is silent for so long is no leader any more. So all
//! connections together may read so many bytes, and then nobody reads on before the driver has had its turn, with the frames
//! of peers and the reports of the log. What is not read waits where it costs nothing: in the sockets, and at last with
//! the clients, which TCP tells to wait.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// Bytes that all clients together may send in one turn. Of the least requests these are some hundreds, which take a few
/// milliseconds; of great values it is still hundreds of megabytes a second.
const BYTES_PER_TURN: usize = 32 * 1024;

#[derive(Debug)]
struct State {
    left: usize,
    waiting: Vec<Waker>,
    turns: usize,
}

/// What may still be read before the driver's next turn.
#[derive(Debug)]
pub(crate) struct Pace {
    state: Mutex<State>,
    spent: Notify,
}

impl Default for Pace {
    fn default() -> Self {
        Self { state: Mutex::new(State { left: BYTES_PER_TURN, waiting: Vec::new(), turns: 0 }), spent: Notify::new() }
    }
}

impl Pace {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The driver has had its turn: those that wait may read on.
    pub(crate) fn renew(&self) {
        self.set(BYTES_PER_TURN);
    }

    /// There are no more turns: nobody need wait for one.
    pub(crate) fn open(&self) {
        self.set(usize::MAX);
    }

    fn set(&self, left: usize) {
        let mut state = self.lock();
        state.left = left;
        state.turns = state.turns.wrapping_add(1);
        let first = state.turns;
        let mut waiting = std::mem::take(&mut state.waiting);
        drop(state);
        // The first to be woken may take all there is, and would be the first to wait again.
        if !waiting.is_empty() {
            let first = first % waiting.len();
            waiting.rotate_left(first);
        }
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits until all is spent: the driver should take a turn even if nobody has asked it anything.
    pub(crate) async fn spent(&self) {
        self.spent.notified().await;
    }

    fn poll_left(&self, cx: &Context<'_>) -> Poll<usize> {
        let mut state = self.lock();
        if state.left > 0 {
            return Poll::Ready(state.left);
        }
        state.waiting.push(cx.waker().clone());
        drop(state);
        self.spent.notify_one();
        Poll::Pending
    }

    fn spend(&self, bytes: usize) {
        let mut state = self.lock();
        state.left = state.left.saturating_sub(bytes);
    }
}

/// A client's stream that is read at the driver's pace, and written as ever.
pub(crate) struct Paced<S> {
    pub(crate) stream: S,
    pub(crate) pace: std::sync::Arc<Pace>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = std::task::ready!(self.pace.poll_left(cx));
        let most = left.min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut part);
        let bytes = part.filled().len();
        buffer.advance(bytes);
        self.pace.spend(bytes);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::{Duration, timeout};

    #[tokio::test]
    async fn clients_together_read_no_more_than_a_turn_allows_and_each_gets_its_share() {
        let pace = Arc::new(Pace::default());
        let counts = Arc::new(Mutex::new([0_usize; 4]));
        for at in 0..4 {
            let (mut far, near) = tokio::io::duplex(1024 * 1024);
            far.write_all(&vec![7; 1024 * 1024]).await.unwrap();
            let (mut paced, counts) = (Paced { stream: near, pace: Arc::clone(&pace) }, Arc::clone(&counts));
            tokio::spawn(async move {
                let mut buffer = vec![0; 16 * 1024];
                while let Ok(bytes @ 1..) = paced.read(&mut buffer).await {
                    assert!(buffer[..bytes].iter().all(|byte| *byte == 7));
                    counts.lock().unwrap()[at] += bytes;
                }
                drop(far);
            });
        }
        for turn in 1..=40 {
            timeout(Duration::from_secs(5), pace.spent()).await.expect("all is spent, and the driver is told");
            // All that wait have been told to.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            assert_eq!(counts.lock().unwrap().iter().sum::<usize>(), turn * BYTES_PER_TURN);
            pace.renew();
        }
        let counts = *counts.lock().unwrap();
        assert!(counts.iter().all(|bytes| *bytes >= 40 * BYTES_PER_TURN / 8), "{counts:?}");
    }
}
