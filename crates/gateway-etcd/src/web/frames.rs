//! Streams between JSON and gRPC's framing, message by message as they come.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Frame;
use serde_json::json;
use tonic::body::Body;
use tonic::{Code, Status};

use super::json::{MAX_JSON_BYTES, error_fields};
use super::schema::Schema;
use crate::status::Refusal;

/// Bytes before each message on gRPC: whether it is compressed, and its length.
pub(super) const HEAD_BYTES: usize = 5;

/// Takes the first whole message off a buffer of gRPC frames.
pub(super) fn take_message(buffer: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(*buffer.get(1..HEAD_BYTES)?.first_chunk()?) as usize;
    if buffer.len() < HEAD_BYTES + length {
        return None;
    }
    buffer.advance(HEAD_BYTES);
    Some(buffer.split_to(length).freeze())
}

/// A request body of JSON values, one after the other, as a body of gRPC frames.
pub(super) struct Requests {
    body: Body,
    schema: Schema,
    buffer: BytesMut,
}

impl Requests {
    pub(super) fn new(body: Body, schema: Schema) -> Self {
        Self { body, schema, buffer: BytesMut::new() }
    }

    /// The next value as a frame, if it is all there.
    fn take_value(&mut self) -> Result<Option<Bytes>, Status> {
        let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<serde_json::Value>();
        match values.next() {
            None => Ok(None),
            Some(Ok(_)) => {
                let length = values.byte_offset();
                let value = self.buffer.split_to(length);
                self.schema.request(&value).map(Some).map_err(Status::invalid_argument)
            }
            Some(Err(error)) if error.is_eof() => Ok(None),
            Some(Err(error)) => Err(Status::invalid_argument(error.to_string())),
        }
    }
}

impl http_body::Body for Requests {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            if let Some(frame) = this.take_value()? {
                return Poll::Ready(Some(Ok(Frame::data(frame))));
            }
            if this.buffer.len() > MAX_JSON_BYTES {
                return Poll::Ready(Some(Err(Refusal::RequestTooLarge.into())));
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        this.buffer.extend_from_slice(&data);
                    }
                }
                None if this.buffer.trim_ascii().is_empty() => return Poll::Ready(None),
                None => return Poll::Ready(Some(Err(Status::invalid_argument("unexpected EOF")))),
            }
        }
    }
}

/// A response body of gRPC frames as lines of JSON: `{"result":…}` each, and `{"error":…}` if it ends with one.
pub(super) struct Results {
    body: Body,
    schema: Schema,
    buffer: BytesMut,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Open,
    Ended,
}

impl Results {
    pub(super) fn new(body: Body, schema: Schema) -> Self {
        Self { body, schema, buffer: BytesMut::new(), state: State::Open }
    }

    fn line(&self, message: Bytes) -> Result<Bytes, Status> {
        let json = self.schema.response(message).map_err(Status::internal)?;
        Ok([b"{\"result\":", json.as_slice(), b"}\n"].concat().into())
    }

    fn end(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.state = State::Ended;
        if status.code() == Code::Ok {
            return Poll::Ready(None);
        }
        let line = format!("{}\n", json!({ "error": error_fields(status) }));
        Poll::Ready(Some(Ok(Frame::data(line.into()))))
    }
}

impl http_body::Body for Results {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        while this.state == State::Open {
            if let Some(message) = take_message(&mut this.buffer) {
                return match this.line(message) {
                    Ok(line) => Poll::Ready(Some(Ok(Frame::data(line)))),
                    Err(status) => this.end(&status),
                };
            }
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                None => return this.end(&Status::ok("")),
                Some(Err(status)) => return this.end(&status),
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) => this.buffer.extend_from_slice(&data),
                Err(frame) => {
                    let status = frame.trailers_ref().and_then(Status::from_header_map);
                    return this.end(&status.unwrap_or_else(|| Status::ok("")));
                }
            }
        }
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;
    use crate::rpc;

    fn requests(body: &'static str) -> Requests {
        Requests::new(Body::new(Full::new(Bytes::from(body))), Schema::of(rpc::by_json_path("/v3/watch").unwrap()))
    }

    #[tokio::test]
    async fn values_that_follow_each_other_become_one_frame_each() {
        let body = r#"{"create_request":{"key":"YQ=="}}
            {"cancel_request":{"watch_id":"1"}} "#;
        let mut bytes = BytesMut::from(&requests(body).collect().await.unwrap().to_bytes()[..]);
        assert!(take_message(&mut bytes).is_some());
        assert!(take_message(&mut bytes).is_some());
        assert!(bytes.is_empty());
    }

    #[tokio::test]
    async fn a_value_that_is_cut_or_malformed_is_an_error() {
        for body in [r#"{"create_request":"#, "}", r#"{"create_request":7}"#] {
            let status = requests(body).collect().await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{body}");
        }
    }

    #[test]
    fn a_message_is_taken_only_when_it_is_whole() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 0, 2, 7][..]);
        assert_eq!(take_message(&mut buffer), None);
        buffer.extend_from_slice(&[8, 0]);
        assert_eq!(take_message(&mut buffer).as_deref(), Some([7, 8].as_slice()));
        assert_eq!(buffer.len(), 1);
    }
}
