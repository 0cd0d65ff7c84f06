//! How much of what clients send is read between two turns of the driver.
//!
//! Clients' connections and the driver take turns on one thread. Admission refuses what is too much, but to refuse costs
//! something, too: a request has been announced by then, and a small one has been read. A thousand connections that bring a hundred
//! requests each would keep the driver from its next turn for seconds, and a leader that is silent for so long is no leader any more.
//! So all connections together may read for so long, and then nobody reads on before the driver has had its turn, with the frames
//! of peers and the reports of the log. What is not read waits where it costs nothing: in the sockets, and at last with
//! the clients, which TCP tells to wait.
//!
//! It is time that counts, and bytes only besides: hundreds of small requests take as long as megabytes of great ones that are
//! refused unread, and those stand in the sockets before whatever comes next.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use althing_env::Clock;
use althing_types::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// For how long clients may be read in one turn, from the first that is. It is a fraction of the time between two heartbeats.
const READ_FOR: Duration = Duration::from_millis(4);
/// Bytes that all clients together may send in one turn, whatever time that takes: what is parsed later, in one go, is bounded by it.
const BYTES_PER_TURN: usize = 256 * 1024;

#[derive(Debug)]
struct State {
    /// When the first was read since the last turn.
    began: Option<Instant>,
    left: usize,
    waiting: Vec<Waker>,
    turns: usize,
}

/// What may still be read before the driver's next turn.
pub(crate) struct Pace {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    spent: Notify,
}

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pace").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Pace {
    /// Nothing has been read.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State { began: None, left: BYTES_PER_TURN, waiting: Vec::new(), turns: 0 };
        Self { clock, state: Mutex::new(state), spent: Notify::new() }
    }

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
        (state.began, state.left) = (None, left);
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
        // Once nobody need wait there are no more turns, and time does not count either.
        let is_over = state.began.is_some_and(|began| self.clock.now().since(began) >= READ_FOR);
        if state.left > BYTES_PER_TURN || (state.left > 0 && !is_over) {
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
        if state.began.is_none() {
            state.began = Some(self.clock.now());
        }
    }
}

/// A client's stream that is read at the driver's pace, and written as ever.
pub(crate) struct Paced<S> {
    pub(crate) stream: S,
    pub(crate) pace: Arc<Pace>,
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
    use althing_types::WallTime;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::timeout;

    /// A clock on which each look takes so long.
    struct Slow(Mutex<Instant>, Duration);

    impl Clock for Slow {
        fn now(&self) -> Instant {
            let mut now = self.0.lock().unwrap();
            *now += self.1;
            *now
        }

        fn wall(&self) -> WallTime {
            WallTime::default()
        }
    }

    fn pace(each: Duration) -> Arc<Pace> {
        Arc::new(Pace::new(Arc::new(Slow(Mutex::new(Instant::ZERO), each))))
    }

    /// A client that has sent a megabyte, and what is read of it.
    async fn client(pace: &Arc<Pace>) -> (DuplexStream, Arc<Mutex<usize>>) {
        let (mut far, near) = tokio::io::duplex(4 * 1024 * 1024);
        far.write_all(&vec![7; 4 * 1024 * 1024]).await.unwrap();
        let (mut paced, count) = (Paced { stream: near, pace: Arc::clone(pace) }, Arc::new(Mutex::new(0)));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(bytes @ 1..) = paced.read(&mut buffer).await {
                assert!(buffer[..bytes].iter().all(|byte| *byte == 7));
                *counted.lock().unwrap() += bytes;
            }
        });
        (far, count)
    }

    async fn until_spent(pace: &Pace) {
        timeout(Duration::from_secs(5), pace.spent()).await.expect("all is spent, and the driver is told");
        // All that wait have been told to.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn clients_together_read_no_more_than_a_turn_allows_and_each_gets_its_share() {
        let pace = pace(Duration::ZERO);
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(client(&pace).await);
        }
        let counts = || clients.iter().map(|(_, count)| *count.lock().unwrap()).collect::<Vec<_>>();
        for turn in 1..=40 {
            until_spent(&pace).await;
            assert_eq!(counts().iter().sum::<usize>(), turn * BYTES_PER_TURN);
            pace.renew();
        }
        assert!(counts().iter().all(|bytes| *bytes >= 40 * BYTES_PER_TURN / 8), "{:?}", counts());
    }

    #[tokio::test]
    async fn what_takes_long_is_read_for_so_long_and_no_longer() {
        let pace = pace(READ_FOR / 4);
        let (_far, count) = client(&pace).await;
        until_spent(&pace).await;
        let first = *count.lock().unwrap();
        assert!(first > 0 && first <= 5 * 16 * 1024, "{first} bytes were read in one turn");
        pace.renew();
        until_spent(&pace).await;
        assert!(*count.lock().unwrap() > first);
        pace.open();
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*count.lock().unwrap(), 4 * 1024 * 1024, "there are no more turns to wait for");
    }
}
