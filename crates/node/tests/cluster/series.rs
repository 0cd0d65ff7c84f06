//! Operations on one key that are asked for at once: done in their order, answered one by one, wherever they come in.

use althing_api::keyed::{Access, KeyedAnswer, KeyedRequest, MAX_SERIES};
use althing_api::request::Body;
use althing_api::{Answer, Error, ErrorKind, Request};
use althing_datatypes::op::{SetOp, StringOp};
use althing_datatypes::{Message, Op, OpError, Reply};
use althing_manifest::Conditional;
use althing_node::Input;
use althing_types::{NodeId, RequestId};
use bytes::Bytes;

use super::Cluster;
use super::cas::with_table;
use super::control::call;

fn add(by: i64) -> Op {
    Op::String(StringOp::Increment(by))
}

fn series(key: &str, ops: &[Op]) -> KeyedRequest {
    KeyedRequest::Series {
        key: Bytes::copy_from_slice(key.as_bytes()),
        operations: ops.iter().map(Op::encode).collect(),
        access: Access::Write,
        read_level: None,
        write_level: None,
    }
}

fn replies(answer: Result<KeyedAnswer, Error>) -> Vec<Result<Reply, OpError>> {
    let KeyedAnswer::Series(answers) = answer.unwrap() else { panic!("another answer") };
    let reply = |answer: Result<KeyedAnswer, Error>| match answer.unwrap() {
        KeyedAnswer::Operated(reply) | KeyedAnswer::Refused(reply) => Message::decode(&reply).unwrap(),
        other => panic!("{other:?}"),
    };
    answers.into_iter().map(reply).collect()
}

fn operated(answer: Result<Answer, Error>) -> Result<KeyedAnswer, Error> {
    match answer?.body {
        Body::Keyed(answer) => Ok(answer),
        other => panic!("{other:?}"),
    }
}

fn counted(from: i64, count: usize) -> Vec<Result<Reply, OpError>> {
    (from..).take(count).map(|number| Ok(Reply::Int(number))).collect()
}

fn asked(cluster: &mut Cluster, node: u64, request: KeyedRequest) -> Result<KeyedAnswer, Error> {
    operated(cluster.call(NodeId(node), call("locks", Request::Keyed(request))))
}

#[test]
fn a_series_is_done_in_its_order_at_every_node() {
    for conditional in [Conditional::Refuse, Conditional::Paxos] {
        let mut cluster = with_table(conditional);
        for node in 1..=3 {
            let key = format!("hits of {node}");
            let found = replies(asked(&mut cluster, node, series(&key, &vec![add(1); 20])));
            assert_eq!(found, counted(1, 20), "{conditional:?}, node {node}");
            let read = replies(asked(&mut cluster, node, series(&key, &[add(5), Op::String(StringOp::Get)])));
            assert_eq!(read, [Ok(Reply::Int(25)), Ok(Reply::Bytes("25".into()))], "{conditional:?}, node {node}");
        }
    }
}

#[test]
fn what_one_of_a_series_is_refused_does_not_stop_the_others() {
    let mut cluster = with_table(Conditional::Refuse);
    let set = Op::Set(SetOp::Add(vec!["milk".into()]));
    let found = replies(asked(&mut cluster, 2, series("hits", &[add(1), set, add(1)])));
    assert_eq!(found, [Ok(Reply::Int(1)), Err(OpError::WrongType), Ok(Reply::Int(2))]);
}

#[test]
fn a_series_of_none_or_too_many_is_refused() {
    let mut cluster = with_table(Conditional::Refuse);
    for count in [0, MAX_SERIES + 1] {
        let refused = asked(&mut cluster, 1, series("hits", &vec![add(1); count])).unwrap_err();
        assert!(matches!(refused.kind, ErrorKind::InvalidArgument(_)), "{refused:?}");
    }
    let in_session = KeyedRequest::InSession { token: Bytes::new(), request: Box::new(series("hits", &[add(1)])) };
    let refused = asked(&mut cluster, 1, in_session).unwrap_err();
    assert!(matches!(refused.kind, ErrorKind::InvalidArgument(_)), "{refused:?}");
}

#[test]
fn series_of_many_clients_at_all_nodes_count_exactly_and_each_in_its_order() {
    for conditional in [Conditional::Refuse, Conditional::Paxos] {
        let mut cluster = with_table(conditional);
        let input = |client: u64| {
            let call = call("locks", Request::Keyed(series("hits", &vec![add(1); 8])));
            (NodeId(1 + client % 3), Input::Request { id: RequestId(1 + client), call })
        };
        cluster.all((0..9).map(input).collect());
        cluster.until("all are told", |cluster| cluster.told.len() == 9);
        let mut all = Vec::new();
        for (_, result) in std::mem::take(&mut cluster.told) {
            let numbers: Vec<_> = replies(operated(result)).into_iter().map(Result::unwrap).collect();
            let numbers = numbers.iter().map(|reply| match reply {
                Reply::Int(number) => *number,
                other => panic!("{other:?}"),
            });
            let numbers: Vec<_> = numbers.collect();
            assert!(numbers.is_sorted(), "{conditional:?}: {numbers:?}");
            all.extend(numbers);
        }
        all.sort_unstable();
        assert_eq!(all, (1..=72).collect::<Vec<_>>(), "{conditional:?}");
    }
}

#[test]
fn a_client_that_went_away_leaves_no_series_and_what_it_asked_for_takes_its_course() {
    let mut cluster = with_table(Conditional::Refuse);
    let request = call("locks", Request::Keyed(series("hits", &vec![add(1); 8])));
    let (node, id) = (NodeId(1), RequestId(1));
    cluster.all(vec![(node, Input::Request { id, call: request }), (node, Input::Cancel { id })]);
    cluster.ticks(20);
    assert!(cluster.told.is_empty());
    let found = replies(asked(&mut cluster, 2, series("hits", &[Op::String(StringOp::Get)])));
    assert!(matches!(&found[..], [Ok(Reply::Bytes(_))]), "{found:?}");
}
