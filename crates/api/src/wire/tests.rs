//! Whatever a call, a result or a watch is, it comes back as it was; whatever else bytes are, they are refused.

mod generate;

use althing_codec::{DecodeError, Reader, Writer};
use althing_types::limits::MAX_TXN_DEPTH;
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::error::{Error, ErrorKind};
use crate::kv::{Operation, OperationResponse, TxnRequest, TxnResponse};
use crate::request::{Answer, Body, Request};
use crate::service::Call;

fn written<T>(value: &T, write: impl Fn(&mut Writer, &T)) -> Bytes {
    let mut writer = Writer::default();
    write(&mut writer, value);
    writer.finish()
}

fn reads_whole<T>(bytes: Bytes, read: impl Fn(&mut Reader) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let value = read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// Every proper beginning of a message must be refused: no field is optional by absence.
fn every_truncation_is_refused<T>(bytes: &Bytes, read: impl Fn(Bytes) -> Result<T, DecodeError>) -> bool {
    (0..bytes.len()).all(|len| read(bytes.slice(..len)).is_err())
}

proptest! {
    #[test]
    fn a_call_comes_back_as_it_was(call in generate::call()) {
        let bytes = encode_call(&call);
        prop_assert!(every_truncation_is_refused(&bytes, decode_call));
        prop_assert_eq!(decode_call(bytes), Ok(call));
    }

    #[test]
    fn a_result_comes_back_as_it_was(result in generate::result()) {
        let bytes = encode_result(&result);
        prop_assert!(every_truncation_is_refused(&bytes, decode_result));
        prop_assert_eq!(decode_result(bytes), Ok(result));
    }

    #[test]
    fn what_is_said_on_a_watch_stream_comes_back_as_it_was(
        command in generate::watch_command(),
        event in generate::watch_event(),
    ) {
        let bytes = written(&command, write_watch_command);
        prop_assert!(every_truncation_is_refused(&bytes, |bytes| reads_whole(bytes, read_watch_command)));
        prop_assert_eq!(reads_whole(bytes, read_watch_command), Ok(command));
        let bytes = written(&event, write_watch_event);
        prop_assert!(every_truncation_is_refused(&bytes, |bytes| reads_whole(bytes, read_watch_event)));
        prop_assert_eq!(reads_whole(bytes, read_watch_event), Ok(event));
    }

    #[test]
    fn bytes_after_a_message_are_refused(call in generate::call(), result in generate::result(), more in 1_usize..9) {
        let with_more = |bytes: Bytes| Bytes::from([bytes.as_ref(), &vec![0; more]].concat());
        prop_assert_eq!(decode_call(with_more(encode_call(&call))), Err(DecodeError::Trailing(more)));
        prop_assert_eq!(decode_result(with_more(encode_result(&result))), Err(DecodeError::Trailing(more)));
    }

    #[test]
    fn hostile_bytes_are_refused_or_mean_what_they_say(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Some(format) = bytes.first_mut() {
            *format = 1;
        }
        let bytes = Bytes::from(bytes);
        if let Ok(call) = decode_call(bytes.clone()) {
            prop_assert_eq!(decode_call(encode_call(&call)), Ok(call));
        }
        if let Ok(result) = decode_result(bytes.clone()) {
            prop_assert_eq!(decode_result(encode_result(&result)), Ok(result));
        }
        if let Ok(command) = reads_whole(bytes.clone(), read_watch_command) {
            prop_assert_eq!(reads_whole(written(&command, write_watch_command), read_watch_command), Ok(command));
        }
        if let Ok(event) = reads_whole(bytes, read_watch_event) {
            prop_assert_eq!(reads_whole(written(&event, write_watch_event), read_watch_event), Ok(event));
        }
    }

    /// One byte of a good message changed: far more of these parse than of random bytes.
    #[test]
    fn a_damaged_call_is_refused_or_means_what_it_says(
        call in generate::call(),
        place: proptest::sample::Index,
        byte: u8,
    ) {
        let mut bytes = encode_call(&call).to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(call) = decode_call(bytes.into()) {
            prop_assert_eq!(decode_call(encode_call(&call)), Ok(call));
        }
    }

    #[test]
    fn a_damaged_result_is_refused_or_means_what_it_says(
        result in generate::result(),
        place: proptest::sample::Index,
        byte: u8,
    ) {
        let mut bytes = encode_result(&result).to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(result) = decode_result(bytes.into()) {
            prop_assert_eq!(decode_result(encode_result(&result)), Ok(result));
        }
    }
}

fn nested_request(depth: usize) -> TxnRequest {
    let success = if depth == 0 { Vec::new() } else { vec![Operation::Txn(nested_request(depth - 1))] };
    TxnRequest { compare: Vec::new(), success, failure: Vec::new() }
}

fn nested_response(depth: usize) -> TxnResponse {
    let responses = if depth == 0 { Vec::new() } else { vec![OperationResponse::Txn(nested_response(depth - 1))] };
    TxnResponse { succeeded: true, responses }
}

#[test]
fn what_nests_too_deep_is_refused_and_what_may_is_not() {
    let call = |depth| encode_call(&Call::new(Request::Txn(nested_request(depth))));
    let body = |depth| Body::Txn(nested_response(depth));
    let result = |depth| encode_result(&Ok(Answer { header: Default::default(), body: body(depth) }));
    assert!(decode_call(call(MAX_TXN_DEPTH)).is_ok());
    assert!(decode_result(result(MAX_TXN_DEPTH)).is_ok());
    assert!(matches!(decode_call(call(5_000)), Err(DecodeError::Unknown { .. })));
    assert!(matches!(decode_result(result(5_000)), Err(DecodeError::Unknown { .. })));
}

#[test]
fn a_count_beyond_the_bytes_that_are_left_is_refused_before_anything_is_made_of_it() {
    // Format, the default table, no timeout, no leader, a member to add with 2^56 addresses.
    let call = b"\x01\x02\x07default\x00\x00\x0c\xff\xff\xff\xff\xff\xff\xff\x7f";
    assert_eq!(decode_call(Bytes::from_static(call)), Err(DecodeError::Truncated("urls")));
}

#[test]
fn a_later_format_is_named() {
    let expected = |what| DecodeError::Version { what, found: 2, known: 1 };
    assert_eq!(decode_call(Bytes::from_static(&[2])), Err(expected("a call")));
    assert_eq!(decode_result(Bytes::from_static(&[2])), Err(expected("the result of a call")));
}

#[test]
fn a_name_that_no_table_can_have_is_refused() {
    let call = b"\x01\x02\x07Default\x00\x00\x10";
    assert!(matches!(decode_call(Bytes::from_static(call)), Err(DecodeError::Unknown { .. })));
}

/// The bytes of docs/formats/calls.md: they never change.
#[test]
fn the_bytes_of_a_call_and_of_an_error_are_those_of_the_format() {
    let call = Call { timeout: Some(std::time::Duration::from_millis(300)), ..Call::new(Request::Status) };
    assert_eq!(&encode_call(&call)[..], b"\x01\x02\x07default\x01\xac\x02\x00\x10");
    let error = Error::maybe_done(ErrorKind::Timeout);
    assert_eq!(&encode_result(&Err(error))[..], b"\x01\x01\x01\x13");
}
