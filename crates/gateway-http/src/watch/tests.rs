use std::future::poll_fn;

use super::*;
use crate::testing::{TestNode, table};
use althing_api::ErrorKind;

fn store(node: &TestNode) -> Store {
    Store::new(Arc::new(node.clone()))
}

async fn open(node: &TestNode, selector: &str, since: Option<Revision>) -> Result<Lines, Status> {
    let place = Watchers::default().enter().unwrap();
    follow(store(node), Kind::Table, Selector::parse(selector).unwrap(), since, place).await
}

/// The events of the next piece of a stream, in short: `ADDED a@2`.
async fn next(lines: &mut Lines) -> Vec<String> {
    let piece = poll_fn(|cx| lines.as_mut().poll_next(cx)).await.expect("the stream goes on");
    let text = String::from_utf8(piece.to_vec()).unwrap();
    let short = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        let (object, metadata) = (&event["object"], &event["object"]["metadata"]);
        let what = event["type"].as_str().unwrap().to_owned();
        match object["kind"].as_str() {
            Some("Status") => format!("{what} {}", object["reason"].as_str().unwrap()),
            _ => format!(
                "{what} {}@{}",
                metadata["name"].as_str().unwrap_or("-"),
                metadata["resourceVersion"].as_str().unwrap()
            ),
        }
    };
    text.lines().map(short).collect()
}

#[tokio::test(start_paused = true)]
async fn all_that_is_there_is_told_then_what_changes() {
    let node = TestNode::default();
    node.put(&key("a"), &table("a", &[]));
    let mut lines = open(&node, "", None).await.unwrap();
    assert_eq!(next(&mut lines).await, ["ADDED a@2", "BOOKMARK -@2"]);
    node.put(&key("b"), &table("b", &[]));
    node.put(&key("a"), &table("a", &[("x", "y")]));
    assert_eq!(next(&mut lines).await, ["ADDED b@3", "MODIFIED a@4"]);
    node.remove(&key("b"));
    node.put(&key("c"), &table("c", &[]));
    assert_eq!(next(&mut lines).await, ["DELETED b@6", "ADDED c@6"]);
    assert_eq!(next(&mut lines).await, ["BOOKMARK -@6"], "a stream without news says that it lives");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_went_and_came_again_is_told_as_two_events() {
    let node = TestNode::default();
    node.put(&key("a"), &table("a", &[]));
    let mut lines = open(&node, "", None).await.unwrap();
    next(&mut lines).await;
    node.remove(&key("a"));
    node.put(&key("a"), &table("a", &[]));
    assert_eq!(next(&mut lines).await, ["DELETED a@4", "ADDED a@4"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_from_a_revision_without_a_gap_or_a_repeat() {
    let node = TestNode::default();
    node.put(&key("a"), &table("a", &[]));
    let since = node.put(&key("b"), &table("b", &[]));
    node.remove(&key("a"));
    node.put(&key("b"), &table("b", &[("x", "y")]));
    let mut lines = open(&node, "", Some(since)).await.unwrap();
    assert_eq!(next(&mut lines).await, ["DELETED a@5", "MODIFIED b@5"]);
    node.compact();
    let Err(status) = open(&node, "", Some(since)).await else { panic!("the past is forgotten") };
    assert_eq!(status.reason, Reason::Expired);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_the_selector_no_longer_means_is_gone_for_the_client() {
    let node = TestNode::default();
    node.put(&key("a"), &table("a", &[("team", "x")]));
    node.put(&key("b"), &table("b", &[]));
    let mut lines = open(&node, "team=x", None).await.unwrap();
    assert_eq!(next(&mut lines).await, ["ADDED a@2", "BOOKMARK -@3"]);
    node.put(&key("a"), &table("a", &[]));
    node.put(&key("b"), &table("b", &[("team", "x")]));
    assert_eq!(next(&mut lines).await, ["DELETED a@4", "ADDED b@5"]);
}

#[tokio::test(start_paused = true)]
async fn more_changes_than_a_page_are_told_once_each() {
    let node = TestNode::default();
    let mut lines = open(&node, "", None).await.unwrap();
    assert_eq!(next(&mut lines).await, ["BOOKMARK -@1"]);
    let count = usize::try_from(crate::store::PAGE).unwrap() * 2 + 1;
    for n in 0..count {
        node.put(&key(&format!("t{n}")), &table(&format!("t{n}"), &[]));
    }
    let told = next(&mut lines).await;
    assert_eq!(told.len(), count);
    assert_eq!(
        (told[0].as_str(), told[count - 1].clone()),
        ("ADDED t0@2", format!("ADDED t{}@{}", count - 1, count + 1))
    );
}

#[tokio::test(start_paused = true)]
async fn a_moment_without_a_leader_is_borne_and_a_long_one_ends_the_stream_with_its_reason() {
    let node = TestNode::default();
    let mut lines = open(&node, "", None).await.unwrap();
    next(&mut lines).await;
    node.refuse(Some(ErrorKind::NoLeader));
    let put = async {
        tokio::time::sleep(POLL_INTERVAL * 3).await;
        node.refuse(None);
        node.put(&key("a"), &table("a", &[]));
    };
    let (told, ()) = tokio::join!(next(&mut lines), put);
    assert_eq!(told, ["ADDED a@2"]);
    node.refuse(Some(ErrorKind::NoLeader));
    assert_eq!(next(&mut lines).await, ["ERROR ServiceUnavailable"]);
    assert_eq!(poll_fn(|cx| lines.as_mut().poll_next(cx)).await, None);
}

#[test]
fn no_more_streams_than_are_allowed_and_a_place_is_free_again() {
    let watchers = Watchers::default();
    let clone = watchers.clone();
    let mut places: Vec<Place> = (0..MAX_WATCHERS).map(|_| clone.enter().unwrap()).collect();
    assert_eq!(watchers.enter().unwrap_err().reason, Reason::TooManyRequests);
    places.pop();
    assert!(watchers.enter().is_ok());
}

fn key(name: &str) -> String {
    althing_manifest::key_of(Kind::Table, name)
}
