//! A gRPC client of unary calls, as thin as it can be over `h2`.
//!
//! The generator shares the machine with the servers that it measures, so whatever it spends on itself flattens the
//! ratio between them. A call here is one HEADERS and one DATA frame out and three frames back, with nothing queued in
//! between; the messages themselves are the same `prost` types that every client sends.

use althing_types::TableName;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{self, SendRequest};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::{Method, Request, Uri};
use prost::Message;
use tokio::net::TcpStream;
use tonic::{Code, Status};

/// The header that names the table of a call.
pub(crate) const TABLE_HEADER: &str = "althing-table";
/// Bytes before a message: a flag, and the length in four.
const PREFIX_BYTES: usize = 5;
/// What the server may send on one stream, and on all, before it is told that it was read.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// The unary calls that workloads make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rpc {
    /// `KV.Put`.
    Put,
    /// `KV.Range`.
    Range,
    /// `KV.Txn`.
    Txn,
}

/// A connection; clones share it.
#[derive(Clone, Debug)]
pub struct Connection {
    requests: SendRequest<Bytes>,
    put: Uri,
    range: Uri,
    txn: Uri,
    headers: HeaderMap,
}

impl Connection {
    /// Connects to `HOST:PORT`, for calls of `table`, or of the default one. The connection's own work is a task of the local set.
    pub async fn open(address: &str, table: Option<&TableName>) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut builder = client::Builder::new();
        builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
        let (requests, connection) = builder.handshake(stream).await.map_err(std::io::Error::other)?;
        // When the connection ends, each call on it fails and says so.
        tokio::task::spawn_local(async move { drop(connection.await) });
        let uri = |method: &str| {
            format!("http://{address}/etcdserverpb.KV/{method}").parse::<Uri>().map_err(std::io::Error::other)
        };
        let mut headers = HeaderMap::with_capacity(3);
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        if let Some(table) = table {
            headers.insert(TABLE_HEADER, table_value(table));
        }
        Ok(Self { requests, put: uri("Put")?, range: uri("Range")?, txn: uri("Txn")?, headers })
    }

    /// Makes a call and waits for its answer.
    pub async fn call<A: Message + Default>(&mut self, rpc: Rpc, message: &impl Message) -> Result<A, Status> {
        self.call_framed(rpc, frame(message)).await
    }

    /// Makes a call with a message that is encoded already.
    pub async fn call_framed<A: Message + Default>(&mut self, rpc: Rpc, message: Bytes) -> Result<A, Status> {
        let mut requests = self.requests.clone().ready().await.map_err(broken)?;
        let (response, mut body) = requests.send_request(self.request(rpc), false).map_err(broken)?;
        body.send_data(message, true).map_err(broken)?;
        let (head, mut body) = response.await.map_err(broken)?.into_parts();
        let answer = read(&mut body).await?;
        match body.trailers().await.map_err(broken)? {
            Some(trailers) => check(&trailers)?,
            None => check(&head.headers)?,
        }
        A::decode(message_of(answer)?).map_err(|error| Status::internal(error.to_string()))
    }

    fn request(&self, rpc: Rpc) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = match rpc {
            Rpc::Put => self.put.clone(),
            Rpc::Range => self.range.clone(),
            Rpc::Txn => self.txn.clone(),
        };
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// The name of a table as a header's value.
fn table_value(table: &TableName) -> HeaderValue {
    HeaderValue::from_str(table.as_str()).expect("a table's name has letters, digits and dashes only")
}

/// A message as it is sent.
pub fn frame(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + len);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    message.encode_raw(&mut frame);
    frame.freeze()
}

/// All of a body; almost always one piece, which is not copied then.
async fn read(body: &mut RecvStream) -> Result<Bytes, Status> {
    let mut whole = Bytes::new();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(broken)?;
        body.flow_control().release_capacity(piece.len()).map_err(broken)?;
        whole = if whole.is_empty() { piece } else { [whole, piece].concat().into() };
    }
    Ok(whole)
}

fn message_of(mut body: Bytes) -> Result<Bytes, Status> {
    if body.len() < PREFIX_BYTES || body[0] != 0 {
        return Err(Status::internal("the answer is not one uncompressed message"));
    }
    body.advance(1);
    let len = body.get_u32() as usize;
    if body.len() == len { Ok(body) } else { Err(Status::internal("the answer is not one message")) }
}

fn check(headers: &HeaderMap) -> Result<(), Status> {
    let status = Status::from_header_map(headers).unwrap_or_else(|| Status::unknown("no grpc-status came"));
    if status.code() == Code::Ok { Ok(()) } else { Err(status) }
}

fn broken(error: h2::Error) -> Status {
    Status::unavailable(error.to_string())
}
