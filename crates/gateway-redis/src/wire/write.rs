//! Answers as bytes.

use bytes::{BufMut, BytesMut};

use crate::wire::number::{format_decimal, format_float};
use crate::wire::value::Value;

/// Which version of RESP a connection speaks. It begins with 2 and is changed by `HELLO`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// Strings, integers, arrays.
    #[default]
    Resp2,
    /// Maps, sets, doubles, booleans and pushes as well.
    Resp3,
}

/// Appends an answer to what is to be sent.
pub fn write(value: &Value, protocol: Protocol, out: &mut BytesMut) {
    match value {
        Value::Nil => nil(protocol, b"$-1\r\n", out),
        Value::NilArray => nil(protocol, b"*-1\r\n", out),
        Value::Status(text) => line(b'+', text.as_bytes(), out),
        Value::Error(text) => line(b'-', text.as_bytes(), out),
        Value::Int(value) => head(b':', *value, out),
        Value::Float(value) => float(&format_float(*value), protocol, out),
        Value::Decimal(value) => float(&format_decimal(*value), protocol, out),
        Value::Bool(value) => boolean(*value, protocol, out),
        Value::Bulk(data) => bulk(data, out),
        Value::Text(text) => verbatim(text, protocol, out),
        Value::Array(items) => list(b'*', items, protocol, out),
        Value::Map(entries) => match protocol {
            Protocol::Resp2 => flat(entries, out),
            Protocol::Resp3 => {
                count(b'%', entries.len(), out);
                entries.iter().for_each(|entry| pair(entry, protocol, out));
            }
        },
        Value::Set(items) => list(kind(protocol, b'~'), items, protocol, out),
        Value::Pairs(pairs) => match protocol {
            Protocol::Resp2 => flat(pairs, out),
            Protocol::Resp3 => {
                count(b'*', pairs.len(), out);
                for entry in pairs {
                    count(b'*', 2, out);
                    pair(entry, protocol, out);
                }
            }
        },
        Value::Push(items) => list(kind(protocol, b'>'), items, protocol, out),
        Value::Several(answers) => answers.iter().for_each(|answer| write(answer, protocol, out)),
    }
}

/// The mark of a list that RESP2 does not know.
const fn kind(protocol: Protocol, mark: u8) -> u8 {
    match protocol {
        Protocol::Resp2 => b'*',
        Protocol::Resp3 => mark,
    }
}

fn nil(protocol: Protocol, resp2: &[u8], out: &mut BytesMut) {
    match protocol {
        Protocol::Resp2 => out.put_slice(resp2),
        Protocol::Resp3 => out.put_slice(b"_\r\n"),
    }
}

/// A line of text. A line end inside it would let what a client has sent (in an error that quotes it) forge an answer.
fn line(mark: u8, text: &[u8], out: &mut BytesMut) {
    out.put_u8(mark);
    out.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
    out.put_slice(b"\r\n");
}

fn head(mark: u8, number: i64, out: &mut BytesMut) {
    // Twenty places hold any i64 with its sign.
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number.unsigned_abs());
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).expect("a digit is below ten");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.put_u8(mark);
    if number < 0 {
        out.put_u8(b'-');
    }
    out.put_slice(&digits[at..]);
    out.put_slice(b"\r\n");
}

fn count(mark: u8, count: usize, out: &mut BytesMut) {
    head(mark, i64::try_from(count).expect("no list in memory is longer"), out);
}

fn bulk(data: &[u8], out: &mut BytesMut) {
    out.reserve(data.len() + 24);
    count(b'$', data.len(), out);
    out.put_slice(data);
    out.put_slice(b"\r\n");
}

fn float(text: &str, protocol: Protocol, out: &mut BytesMut) {
    match protocol {
        Protocol::Resp2 => bulk(text.as_bytes(), out),
        Protocol::Resp3 => line(b',', text.as_bytes(), out),
    }
}

fn boolean(value: bool, protocol: Protocol, out: &mut BytesMut) {
    match protocol {
        Protocol::Resp2 => head(b':', i64::from(value), out),
        Protocol::Resp3 => out.put_slice(if value { b"#t\r\n" } else { b"#f\r\n" }),
    }
}

fn verbatim(text: &str, protocol: Protocol, out: &mut BytesMut) {
    match protocol {
        Protocol::Resp2 => bulk(text.as_bytes(), out),
        Protocol::Resp3 => {
            count(b'=', text.len() + 4, out);
            out.put_slice(b"txt:");
            out.put_slice(text.as_bytes());
            out.put_slice(b"\r\n");
        }
    }
}

fn list(mark: u8, items: &[Value], protocol: Protocol, out: &mut BytesMut) {
    count(mark, items.len(), out);
    items.iter().for_each(|item| write(item, protocol, out));
}

fn pair((key, value): &(Value, Value), protocol: Protocol, out: &mut BytesMut) {
    write(key, protocol, out);
    write(value, protocol, out);
}

fn flat(pairs: &[(Value, Value)], out: &mut BytesMut) {
    count(b'*', 2 * pairs.len(), out);
    pairs.iter().for_each(|entry| pair(entry, Protocol::Resp2, out));
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use redis_protocol::resp2::types::OwnedFrame as Frame2;
    use redis_protocol::resp3::types::OwnedFrame as Frame3;

    fn written(value: &Value, protocol: Protocol) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(value, protocol, &mut out);
        out.to_vec()
    }

    fn both(value: &Value) -> [String; 2] {
        [Protocol::Resp2, Protocol::Resp3].map(|protocol| String::from_utf8(written(value, protocol)).unwrap())
    }

    #[test]
    fn each_kind_is_written_as_either_protocol_has_it() {
        let a_one = || vec![(Value::word("a"), Value::Int(1))];
        for (value, resp2, resp3) in [
            (Value::Nil, "$-1\r\n", "_\r\n"),
            (Value::NilArray, "*-1\r\n", "_\r\n"),
            (Value::OK, "+OK\r\n", "+OK\r\n"),
            (Value::Int(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
            (Value::Float(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (Value::Decimal(1e-7), "$9\r\n0.0000001\r\n", ",0.0000001\r\n"),
            (Value::Bool(true), ":1\r\n", "#t\r\n"),
            (Value::Text("hi".to_owned()), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
            (Value::Map(a_one()), "*2\r\n$1\r\na\r\n:1\r\n", "%1\r\n$1\r\na\r\n:1\r\n"),
            (Value::Pairs(a_one()), "*2\r\n$1\r\na\r\n:1\r\n", "*1\r\n*2\r\n$1\r\na\r\n:1\r\n"),
            (Value::Set(vec![Value::Int(1)]), "*1\r\n:1\r\n", "~1\r\n:1\r\n"),
            (Value::Push(vec![Value::Int(1)]), "*1\r\n:1\r\n", ">1\r\n:1\r\n"),
        ] {
            assert_eq!(both(&value), [resp2, resp3]);
        }
    }

    #[test]
    fn an_error_that_quotes_a_line_end_stays_one_line() {
        assert_eq!(written(&Value::Error("ERR 'a\r\n+OK'".into()), Protocol::Resp2), b"-ERR 'a  +OK'\r\n");
    }

    /// Any answer whose keys another decoder takes as keys of a map.
    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<i64>().prop_map(Value::Int),
            any::<bool>().prop_map(Value::Bool),
            (-1e300..1e300f64).prop_map(Value::Float),
            (-180.0..180.0f64).prop_map(Value::Decimal),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(|data| Value::Bulk(Bytes::from(data))),
            "[ -~]{0,10}".prop_map(|text| Value::Status(text.into())),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let pair = ("[a-z]{1,8}".prop_map(Value::text), inner.clone());
            prop_oneof![
                proptest::collection::vec(inner, 0..4).prop_map(Value::Array),
                proptest::collection::vec(pair, 0..4).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn another_decoder_reads_every_answer_whole(value in any_value()) {
            let resp2 = written(&value, Protocol::Resp2);
            let (frame, taken): (Frame2, usize) = redis_protocol::resp2::decode::decode(&resp2).unwrap().unwrap();
            prop_assert_eq!(taken, resp2.len(), "{:?}", frame);
            let resp3 = written(&value, Protocol::Resp3);
            let (frame, taken): (Frame3, usize) = redis_protocol::resp3::decode::complete::decode(&resp3).unwrap().unwrap();
            prop_assert_eq!(taken, resp3.len(), "{:?}", frame);
        }
    }
}
