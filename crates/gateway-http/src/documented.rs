//! Runs the `curl` lines of `docs/http-api.md`.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};

use crate::router;
use crate::testing::TestNode;

/// The words of a shell's line; single quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut is_quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words
}

/// The request that a line makes, and the code that it says will be answered.
fn request(line: &str) -> (Request<Full<Bytes>>, u16) {
    let (line, code) = line.rsplit_once(" # ").expect("the code stands behind the line");
    let (mut method, mut body, mut url, mut kind) = (None, None, String::new(), "application/x-www-form-urlencoded");
    let words = words(line);
    let mut words = words.iter().map(String::as_str).skip(1);
    while let Some(word) = words.next() {
        match word {
            "-s" | "-sN" => {}
            "-X" => method = words.next(),
            "-d" => body = words.next(),
            "-H" => kind = words.next().and_then(|header| header.strip_prefix("content-type: ")).unwrap(),
            other => url = format!("http://{other}"),
        }
    }
    let method = method.unwrap_or(if body.is_some() { "POST" } else { "GET" });
    let mut request = Request::builder().method(method).uri(url);
    if body.is_some() {
        request = request.header("content-type", kind);
    }
    let body = Full::new(Bytes::from(body.unwrap_or_default().to_owned()));
    (request.body(body).unwrap(), code.parse().unwrap())
}

#[tokio::test]
async fn every_line_of_the_documentation_does_what_it_says() {
    let page = include_str!("../../../docs/http-api.md");
    let node = TestNode::default();
    let mut last = String::new();
    let mut count = 0;
    for line in page.lines().filter(|line| line.starts_with("curl ")) {
        let (request, code) = request(line);
        let is_stream = request.uri().query() == Some("watch=true");
        let mut response = router(Arc::new(node.clone())).handle(request).await;
        let frame = response.body_mut().frame().await.map(|frame| frame.unwrap().into_data().unwrap());
        let said = String::from_utf8_lossy(&frame.unwrap_or_default()).into_owned();
        assert_eq!(response.status().as_u16(), code, "{line}\n{said}");
        if code == 422 {
            last = said;
        } else if is_stream {
            assert!(said.contains("\"type\":\"BOOKMARK\""), "{said}");
        }
        count += 1;
    }
    assert!(count > 15, "the page has its lines");
    assert!(page.contains(&format!("```json\n{last}```")), "the page shows another error than this:\n{last}");
}
