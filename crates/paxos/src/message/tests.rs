//! Everything that is written is read again, and nothing else is.

use althing_types::NodeId;
use proptest::prelude::*;

use super::{Accepted, Answer, Ask, Ballot, Bytes, MAX_KEY_BYTES, Request, VERSION, Word};
use crate::acceptor::Standing;
use crate::acceptor::record::{Record, Shard};
use crate::config::Stage;
use crate::register::{Register, Value as Held};

fn ballot() -> impl Strategy<Value = Ballot> {
    let any_ballot = (0..=1_u64 << 56, any::<u64>(), any::<u64>());
    any_ballot.prop_map(|(counter, node, incarnation)| Ballot { counter, node: NodeId(node), incarnation })
}

fn value() -> impl Strategy<Value = Held> {
    let bytes = || any::<Vec<u8>>().prop_map(Bytes::from);
    prop_oneof![bytes().prop_map(Held::Present), bytes().prop_map(Held::Absent)]
}

fn accepted() -> impl Strategy<Value = Option<Accepted>> {
    let accepted = (ballot(), ballot(), ballot(), value());
    proptest::option::of(accepted.prop_map(|(ballot, version, parent, value)| Accepted {
        ballot,
        version,
        parent,
        value,
    }))
}

fn register() -> impl Strategy<Value = Register> {
    (ballot(), accepted()).prop_map(|(promised, accepted)| Register { promised, accepted })
}

fn request() -> impl Strategy<Value = Request> {
    let ask = prop_oneof![
        Just(Ask::Read),
        Just(Ask::Prepare),
        (ballot(), ballot(), value(), proptest::option::of(ballot()))
            .prop_map(|(version, parent, value, next)| Ask::Accept { version, parent, value, next }),
        Just(Ask::Erase),
    ];
    (any::<u64>(), any::<Vec<u8>>(), ballot(), ask).prop_map(|(epoch, key, ballot, ask)| Request {
        epoch,
        key: key.into(),
        ballot,
        ask,
    })
}

fn answer() -> impl Strategy<Value = Answer> {
    let word = prop_oneof![
        (accepted(), ballot()).prop_map(|(accepted, floor)| Word::Value { accepted, floor }),
        (accepted(), ballot()).prop_map(|(accepted, floor)| Word::Promised { accepted, floor }),
        Just(Word::Accepted),
        Just(Word::Erased),
        ballot().prop_map(|promised| Word::Refused { promised }),
        any::<u64>().prop_map(|current| Word::WrongEpoch { current }),
    ];
    (any::<Vec<u8>>(), ballot(), word).prop_map(|(key, ballot, word)| Answer { key: key.into(), ballot, word })
}

fn record() -> impl Strategy<Value = Record> {
    let stage = prop_oneof![Just(Stage::Stable), Just(Stage::Moving)];
    let standing = prop_oneof![Just(Standing::Member), Just(Standing::Filling)];
    let shard = (any::<u64>(), stage, standing, ballot())
        .prop_map(|(epoch, stage, standing, floor)| Shard { epoch, stage, standing, floor })
        .boxed();
    let key = || any::<Vec<u8>>().prop_map(Bytes::from);
    prop_oneof![
        shard.clone().prop_map(Record::Shard),
        (key(), register()).prop_map(|(key, register)| Record::Register { key, register }),
        (key(), shard).prop_map(|(key, shard)| Record::Erased { key, shard }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(request in request(), answer in answer(), register in register(), record in record()) {
        prop_assert_eq!(Request::decode(request.encode()), Ok(request));
        prop_assert_eq!(Answer::decode(answer.encode()), Ok(answer));
        prop_assert_eq!(Register::decode(register.encode()), Ok(register));
        prop_assert_eq!(Record::decode(record.encode()), Ok(record));
    }

    #[test]
    fn hostile_bytes_are_refused(mut input: Vec<u8>, kind in 0_u8..8) {
        for _ in 0..2 {
            let bytes = Bytes::from(input.clone());
            let _ = Request::decode(bytes.clone());
            let _ = Answer::decode(bytes.clone());
            let _ = Register::decode(bytes.clone());
            let _ = Record::decode(bytes);
            input.splice(0..0, [VERSION, 1, 0, 1, 1, 1, kind]);
        }
    }

    #[test]
    fn what_is_cut_is_refused(request in request(), answer in answer(), at: prop::sample::Index) {
        let bytes = request.encode();
        prop_assert!(Request::decode(bytes.slice(..at.index(bytes.len()))).is_err());
        let bytes = answer.encode();
        prop_assert!(Answer::decode(bytes.slice(..at.index(bytes.len()))).is_err());
    }
}

#[test]
fn keys_and_counters_beyond_their_limits_are_refused() {
    let request = |key: usize, counter| Request {
        epoch: 1,
        key: vec![0; key].into(),
        ballot: Ballot { counter, ..Ballot::ZERO },
        ask: Ask::Read,
    };
    assert!(Request::decode(request(MAX_KEY_BYTES, 1).encode()).is_ok());
    assert!(Request::decode(request(MAX_KEY_BYTES + 1, 1).encode()).is_err());
    assert!(Request::decode(request(1, u64::MAX).encode()).is_err());
}
