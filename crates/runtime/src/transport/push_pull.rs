//! A push/pull of the membership: both sides send all of their pages, the caller first, each page one frame. The last page
//! says that it is the last. Then the connection ends.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use althing_codec::wire::DecodeError;
use althing_gossip::page::{self, MAX_PAGE_BYTES, MAX_PAGES, More};
use althing_types::NodeId;
use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::address::Address;
use super::dial;
use super::frame::{self, FrameError, FrameReader};
use super::handshake::Purpose;
use super::{Shared, Stream};

/// How long a push/pull may take, its connection and handshake included.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A peer has sent its pages and waits for those of this node.
#[derive(Debug)]
pub struct Called {
    /// Who it is; its identity was checked.
    pub from: NodeId,
    /// Its pages.
    pub pages: Vec<Bytes>,
    /// Takes the answer.
    pub answer: oneshot::Sender<Vec<Bytes>>,
}

/// Why a push/pull failed.
#[derive(Debug, thiserror::Error)]
pub enum PushPullError {
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The stream cannot be read on.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// A page does not parse.
    #[error("a page does not parse: {0}")]
    Malformed(#[from] DecodeError),
    /// There are more pages than any node has.
    #[error("more than {MAX_PAGES} pages")]
    TooManyPages,
    /// The connection ended before the last page.
    #[error("the connection ended before the last page")]
    Closed,
    /// Nobody answers push/pulls on this side now.
    #[error("too many push/pulls at once")]
    Busy,
    /// It took too long.
    #[error("not done within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// The peer was not reached, or is not who was wanted.
    #[error("{0}")]
    Unreached(String),
}

async fn send(stream: &mut Box<dyn Stream>, pages: &[Bytes]) -> Result<(), PushPullError> {
    for page in pages {
        stream.write_all(&frame::header(page)).await?;
        stream.write_all(page).await?;
    }
    Ok(stream.flush().await?)
}

async fn receive(stream: &mut Box<dyn Stream>, reader: &mut FrameReader) -> Result<Vec<Bytes>, PushPullError> {
    reader.set_limit(MAX_PAGE_BYTES);
    let mut pages = Vec::new();
    while pages.len() < MAX_PAGES {
        let page = reader.read(stream).await?.ok_or(PushPullError::Closed)?;
        let more = page::more(&page)?;
        pages.push(page);
        if more == More::Last {
            return Ok(pages);
        }
    }
    Err(PushPullError::TooManyPages)
}

/// Serves a caller that was let in.
pub(super) async fn answer(
    shared: &Shared,
    from: NodeId,
    mut stream: Box<dyn Stream>,
    mut reader: FrameReader,
) -> Result<(), PushPullError> {
    let serve = async {
        let pages = receive(&mut stream, &mut reader).await?;
        let (answer, answered) = oneshot::channel();
        let answerer = shared.push_pull.get().ok_or(PushPullError::Busy)?;
        answerer.try_send(Called { from, pages, answer }).map_err(|_| PushPullError::Busy)?;
        let own = answered.await.map_err(|_| PushPullError::Busy)?;
        send(&mut stream, &own).await
    };
    timeout(TIMEOUT, serve).await.map_err(|_| PushPullError::Timeout)?
}

/// Calls peers for a push/pull. Clones are the same.
#[derive(Clone)]
pub struct Caller(Arc<Shared>);

impl Caller {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Sends these pages to a peer and returns its own.
    pub async fn exchange(
        &self,
        peer: NodeId,
        address: &Address,
        pages: &[Bytes],
    ) -> Result<Vec<Bytes>, PushPullError> {
        let call = async {
            let connecting = dial::connect(&self.0, peer, address, Purpose::PushPull);
            let mut stream = connecting.await.map_err(|error| PushPullError::Unreached(error.to_string()))?;
            send(&mut stream, pages).await?;
            receive(&mut stream, &mut FrameReader::new(MAX_PAGE_BYTES)).await
        };
        timeout(TIMEOUT, call).await.map_err(|_| PushPullError::Timeout)?
    }

    /// Sends these pages to whoever is at one of the addresses of a name, and returns who that is and its pages.
    pub async fn exchange_with_anybody(
        &self,
        name: &Address,
        at: SocketAddr,
        pages: &[Bytes],
    ) -> Result<(NodeId, Vec<Bytes>), PushPullError> {
        let call = async {
            let connecting = dial::connect_to_anybody(&self.0, name, at);
            let (node, mut stream) = connecting.await.map_err(|error| PushPullError::Unreached(error.to_string()))?;
            send(&mut stream, pages).await?;
            Ok((node, receive(&mut stream, &mut FrameReader::new(MAX_PAGE_BYTES)).await?))
        };
        timeout(TIMEOUT, call).await.map_err(|_| PushPullError::Timeout)?
    }

    /// Whether a node was removed from the cluster.
    #[must_use]
    pub fn was_removed(&self, node: NodeId) -> bool {
        self.0.removed.lock().unwrap_or_else(PoisonError::into_inner).contains(&node)
    }
}
