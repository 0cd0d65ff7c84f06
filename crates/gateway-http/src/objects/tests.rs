//! The API as a client meets it: requests in, answers out.

use std::sync::Arc;

use althing_api::ErrorKind;
use althing_manifest::{Kind, Liveness, Schedule, key_of};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::router;
use crate::testing::{TestNode, node, table};

struct Answer {
    code: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The code and the reason of an error.
    fn refused(&self) -> (u16, String) {
        let json = self.json();
        assert_eq!(json["kind"], "Status", "{json}");
        assert_eq!(json["code"], self.code.as_u16());
        (self.code.as_u16(), json["reason"].as_str().unwrap().to_owned())
    }
}

async fn send(node: &TestNode, method: Method, path: &str, body: Option<&str>) -> Answer {
    let mut request = Request::builder().method(method).uri(format!("/apis/althing/v1{path}"));
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = Full::new(Bytes::from(body.unwrap_or_default().to_owned()));
    let response = router(Arc::new(node.clone())).handle(request.body(body).unwrap()).await;
    let (head, body) = response.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Answer { code: head.status, headers: head.headers, text }
}

async fn get(node: &TestNode, path: &str) -> Answer {
    send(node, Method::GET, path, None).await
}

async fn post(node: &TestNode, path: &str, body: &str) -> Answer {
    send(node, Method::POST, path, Some(body)).await
}

async fn put(node: &TestNode, path: &str, body: &str) -> Answer {
    send(node, Method::PUT, path, Some(body)).await
}

async fn delete(node: &TestNode, path: &str) -> Answer {
    send(node, Method::DELETE, path, None).await
}

fn wanted(name: &str, spec: Value) -> String {
    json!({"apiVersion": "althing/v1", "kind": "Table", "metadata": {"name": name}, "spec": spec}).to_string()
}

#[tokio::test]
async fn a_table_is_made_read_listed_and_deleted() {
    let node = TestNode::default();
    let made = post(&node, "/tables", &wanted("orders", json!({"shards": 4}))).await;
    assert_eq!(made.code, StatusCode::CREATED, "{}", made.text);
    assert_eq!(made.header("location"), "/apis/althing/v1/tables/orders");
    assert_eq!(made.header("althing-cluster-id"), "00000000000000c1");
    let json = made.json();
    assert_eq!((&json["metadata"]["resourceVersion"], &json["metadata"]["generation"]), (&json!("2"), &json!(1)));
    assert_eq!((&json["spec"]["shards"], &json["spec"]["replicas"]), (&json!(4), &json!(3)));
    assert_eq!(get(&node, "/tables/orders").await.json(), json);
    let list = get(&node, "/tables").await.json();
    assert_eq!((&list["kind"], &list["metadata"]["resourceVersion"]), (&json!("TableList"), &json!("2")));
    assert_eq!(list["items"], json!([json]));
    let gone = delete(&node, "/tables/orders").await;
    assert_eq!(gone.code, StatusCode::ACCEPTED);
    assert_eq!(gone.json()["kind"], "Deletion");
    assert_eq!(gone.json()["object"]["metadata"]["deleting"], true);
    assert_eq!(get(&node, "/tables/orders").await.json()["metadata"]["deleting"], true);
    assert_eq!(delete(&node, "/tables/orders").await.code, StatusCode::ACCEPTED, "twice is once");
    assert_eq!(node.revision().get(), 3);
}

#[tokio::test]
async fn what_is_there_already_is_not_made_again() {
    let node = TestNode::default();
    post(&node, "/tables", &wanted("orders", json!({}))).await;
    let again = post(&node, "/tables", &wanted("orders", json!({}))).await;
    assert_eq!(again.refused(), (409, "AlreadyExists".into()));
    node.meanwhile(&key_of(Kind::Table, "raced"), &table("raced", &[]));
    let raced = post(&node, "/tables", &wanted("raced", json!({}))).await;
    assert_eq!(raced.refused(), (409, "AlreadyExists".into()), "somebody was quicker");
}

#[tokio::test]
async fn a_replacement_of_what_has_changed_meanwhile_names_both_versions() {
    let node = TestNode::default();
    let mut object = post(&node, "/tables", &wanted("orders", json!({}))).await.json();
    object["spec"]["replicas"] = json!(5);
    let changed = put(&node, "/tables/orders", &object.to_string()).await;
    assert_eq!((changed.code, changed.json()["metadata"]["generation"].as_u64()), (StatusCode::OK, Some(2)));
    object["spec"]["replicas"] = json!(7);
    let late = put(&node, "/tables/orders", &object.to_string()).await;
    assert_eq!(late.refused(), (409, "Conflict".into()));
    let said = late.json()["message"].as_str().unwrap().to_owned();
    assert!(said.contains("it is at 3, and 2 was given"), "{said}");
    let without = wanted("orders", json!({"replicas": 7}));
    assert_eq!(
        put(&node, "/tables/orders", &without).await.code,
        StatusCode::OK,
        "without a version it is unconditional"
    );
}

#[tokio::test]
async fn an_unconditional_replacement_goes_on_when_the_control_plane_was_quicker() {
    let node = TestNode::default();
    post(&node, "/tables", &wanted("orders", json!({}))).await;
    let mut busy: Value = serde_json::from_str(&node.value(&key_of(Kind::Table, "orders")).unwrap()).unwrap();
    busy["status"]["readyShards"] = json!(1);
    node.meanwhile(&key_of(Kind::Table, "orders"), &busy.to_string());
    let answer = put(&node, "/tables/orders", &wanted("orders", json!({"replicas": 5}))).await;
    assert_eq!(answer.code, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.json()["status"]["readyShards"], 1, "what the control plane wrote stays");
}

#[tokio::test]
async fn a_replacement_by_the_same_writes_nothing() {
    let node = TestNode::default();
    let object = post(&node, "/tables", &wanted("orders", json!({}))).await;
    assert_eq!(put(&node, "/tables/orders", &object.text).await.json(), object.json());
    assert_eq!(node.revision().get(), 2);
}

#[tokio::test]
async fn a_dry_run_shows_what_would_be_and_writes_nothing() {
    let (node, before) = (TestNode::default(), 1);
    let shown = post(&node, "/tables?dryRun=true", &wanted("orders", json!({}))).await;
    assert_eq!((shown.code, &shown.json()["spec"]["replicas"]), (StatusCode::CREATED, &json!(3)));
    assert_eq!(node.revision().get(), before);
    let wrong = post(&node, "/tables?dryRun=true", &wanted("orders", json!({"shards": 0}))).await;
    assert_eq!(wrong.refused(), (422, "Invalid".into()));
    assert_eq!(wrong.json()["details"]["causes"][0]["field"], "spec.shards");
    post(&node, "/tables", &wanted("orders", json!({}))).await;
    let replaced = put(&node, "/tables/orders?dryRun=true", &wanted("orders", json!({"replicas": 5}))).await;
    assert_eq!(replaced.json()["spec"]["replicas"], 5);
    assert_eq!(delete(&node, "/tables/orders?dryRun=true").await.code, StatusCode::ACCEPTED);
    assert_eq!(node.revision().get(), before + 1);
}

#[tokio::test]
async fn a_node_goes_once_it_is_drained() {
    let cluster = TestNode::default();
    let key = key_of(Kind::Node, "n1");
    cluster.put(&key, &node("n1", 0xa, Schedule::Drain, Liveness::Up, 2));
    let early = delete(&cluster, "/nodes/n1").await;
    assert_eq!(early.refused(), (403, "Forbidden".into()));
    assert!(early.json()["message"].as_str().unwrap().contains("still holds 2 replicas"), "{}", early.text);
    cluster.put(&key, &node("n1", 0xa, Schedule::Drain, Liveness::Up, 0));
    let gone = delete(&cluster, "/nodes/n1").await;
    assert_eq!(gone.code, StatusCode::OK, "{}", gone.text);
    assert_eq!(cluster.value(&key), None);
    assert_eq!(delete(&cluster, "/nodes/n1").await.refused(), (404, "NotFound".into()));
}

#[tokio::test]
async fn two_nodes_have_neither_an_id_nor_an_address_in_common() {
    let cluster = TestNode::default();
    let newcomer = |name: &str, id: &str, url: &str| {
        json!({
            "apiVersion": "althing/v1", "kind": "Node", "metadata": {"name": name},
            "spec": {"id": id, "peerUrls": [url]}
        })
        .to_string()
    };
    assert_eq!(post(&cluster, "/nodes", &newcomer("n1", "a", "http://h:1")).await.code, StatusCode::CREATED);
    let same_url = post(&cluster, "/nodes", &newcomer("n2", "b", "http://h:1")).await;
    assert_eq!(same_url.refused(), (409, "AlreadyExists".into()));
    assert!(same_url.json()["message"].as_str().unwrap().starts_with("node/n1 is at http://h:1"));
    assert_eq!(post(&cluster, "/nodes", &newcomer("n2", "a", "http://h:2")).await.refused().0, 409);
    assert_eq!(post(&cluster, "/nodes", &newcomer("n2", "b", "http://h:2")).await.code, StatusCode::CREATED);
}

#[tokio::test]
async fn a_list_is_chosen_by_labels_and_read_as_of_a_revision() {
    let node = TestNode::default();
    node.put(&key_of(Kind::Table, "a"), &table("a", &[("team", "x")]));
    node.put(&key_of(Kind::Table, "b"), &table("b", &[]));
    let names = |answer: Answer| {
        let json = answer.json();
        let items = json["items"].as_array().unwrap();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(get(&node, "/tables?labelSelector=team%3Dx").await), ["a"]);
    assert_eq!(names(get(&node, "/tables?labelSelector=!team").await), ["b"]);
    assert_eq!(names(get(&node, "/tables?resourceVersion=2").await), ["a"]);
    assert_eq!(get(&node, "/tables?labelSelector==x").await.refused(), (400, "BadRequest".into()));
}

#[tokio::test]
async fn what_is_not_there_or_not_possible_says_what_is() {
    let node = TestNode::default();
    assert_eq!(get(&node, "/tables/none").await.refused(), (404, "NotFound".into()));
    assert_eq!(get(&node, "/rows").await.refused(), (404, "NotFound".into()));
    let shard = post(&node, "/shards", "{}").await;
    assert_eq!((shard.refused(), shard.header("allow")), ((405, "MethodNotAllowed".into()), "GET, HEAD"));
    let text = wanted("orders", json!({"guarantee": "blob"}));
    let later = post(&node, "/tables", &text).await;
    assert!(later.json()["message"].as_str().unwrap().contains("is not built yet"), "{}", later.text);
    assert_eq!(post(&node, "/tables", "{").await.refused(), (400, "BadRequest".into()));
    let long = format!("\"{}\"", "x".repeat(crate::gateway::MAX_BODY_BYTES));
    assert_eq!(post(&node, "/tables", &long).await.refused(), (413, "RequestEntityTooLarge".into()));
    let request = Request::post("/apis/althing/v1/tables").body(Full::new(Bytes::from_static(b"{}"))).unwrap();
    let untyped = router(Arc::new(node.clone())).handle(request).await;
    assert_eq!(untyped.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn without_a_leader_the_client_is_told_to_send_again() {
    let node = TestNode::default();
    node.refuse(Some(ErrorKind::NoLeader));
    let answer = get(&node, "/tables").await;
    assert_eq!((answer.refused(), answer.header("retry-after")), ((503, "ServiceUnavailable".into()), "1"));
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let node = TestNode::default();
    post(&node, "/tables", &wanted("orders", json!({}))).await;
    let (head, whole) = (send(&node, Method::HEAD, "/tables/orders", None).await, get(&node, "/tables/orders").await);
    assert_eq!((head.code, head.text.as_str()), (StatusCode::OK, ""));
    assert_eq!(head.header("content-length"), whole.text.len().to_string());
    assert_eq!(
        send(&node, Method::HEAD, "/tables?watch=true", None).await.code,
        StatusCode::OK,
        "it does not go on for ever"
    );
}

#[tokio::test]
async fn the_api_says_which_kinds_there_are() {
    let json = get(&TestNode::default(), "").await.json();
    assert_eq!(json["groupVersion"], "althing/v1");
    let kinds: Vec<_> =
        json["resources"].as_array().unwrap().iter().map(|kind| kind["name"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["clusters", "nodes", "tables", "shards"]);
    assert_eq!(json["resources"][3]["verbs"], json!(["get", "list", "watch"]));
}

#[tokio::test]
async fn what_a_later_version_wrote_is_named_instead_of_guessed_at() {
    let node = TestNode::default();
    node.put(&key_of(Kind::Table, "new"), "{\"apiVersion\":\"althing/v2\"}");
    let answer = get(&node, "/tables").await;
    assert_eq!(answer.refused(), (500, "InternalError".into()));
    assert!(answer.json()["message"].as_str().unwrap().starts_with("/althing/v1/tables/new: "), "{}", answer.text);
}
