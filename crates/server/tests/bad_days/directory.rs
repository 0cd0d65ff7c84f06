//! Data directories that are not this node's, or not this program's.

use std::fs;
use std::path::Path;

use althing_codec::checksum::crc32c;

use crate::common::{Cluster, refusal};

/// Raises the format version of a text file that ends with its checksum.
fn make_newer(file: &Path, first_line: &str) {
    let text = fs::read_to_string(file).unwrap();
    let body = &text[..text.rfind("crc32c ").unwrap()];
    let rest = &body[body.find('\n').unwrap()..];
    let newer = format!("{first_line}{rest}");
    fs::write(file, format!("{newer}crc32c {:08x}\n", crc32c(newer.as_bytes()))).unwrap();
}

#[tokio::test]
async fn a_directory_of_a_newer_format_is_refused_by_file_and_version() {
    let mut cluster = Cluster::start(1).await;
    cluster.stop(0);
    let dir = cluster.nodes[0].dir.clone();
    let engine = dir.join("engine/ENGINE");
    let good = fs::read(&engine).unwrap();
    let mut newer = good.clone();
    newer[8..12].copy_from_slice(&9_u32.to_le_bytes());
    let body = newer.len() - 4;
    let checksum = crc32c(&newer[..body]).to_le_bytes();
    newer[body..].copy_from_slice(&checksum);
    fs::write(&engine, newer).unwrap();
    let (said, code) = refusal(&mut cluster.command(0));
    assert!(said.contains("engine/ENGINE has format version 9; this program knows 1 only"), "{said}");
    assert_eq!(code, Some(1));
    fs::write(&engine, good).unwrap();

    make_newer(&dir.join("identity"), "althing identity 9");
    let (said, code) = refusal(&mut cluster.command(0));
    assert!(
        said.contains("/identity has format version 9; this program knows 1 only: use the program that wrote it"),
        "{said}"
    );
    assert_eq!(code, Some(2));
}

#[tokio::test]
async fn the_log_and_the_tables_of_another_node_are_refused_by_name() {
    let (mut mine, mut other) = (Cluster::start(1).await, Cluster::start(1).await);
    mine.stop(0);
    other.stop(0);
    for part in ["wal", "engine"] {
        let (here, aside) = (mine.nodes[0].dir.join(part), mine.nodes[0].dir.join("aside"));
        fs::rename(&here, &aside).unwrap();
        fs::rename(other.nodes[0].dir.join(part), &here).unwrap();
        let (said, code) = refusal(&mut mine.command(0));
        let says_whose = ["was written by", "belongs to"].iter().any(|words| said.contains(words));
        assert!(says_whose && said.contains(&format!("/{part}/").replace("/wal/", "wal/")), "{said}");
        assert_eq!(code, Some(1));
        fs::remove_dir_all(&here).unwrap();
        fs::rename(&aside, &here).unwrap();
    }
    mine.start_node(0);
    mine.wait_until_serving().await;
}

#[tokio::test]
async fn a_directory_that_lost_its_log_does_not_vote_again_as_if_it_were_new() {
    let mut cluster = Cluster::start(1).await;
    cluster.stop(0);
    fs::remove_dir_all(cluster.nodes[0].dir.join("wal")).unwrap();
    let (said, code) = refusal(&mut cluster.command(0));
    assert!(said.contains("but its log is gone") && said.contains("remove the node from the cluster"), "{said}");
    assert_eq!(code, Some(1));
}
