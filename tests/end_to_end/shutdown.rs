//! An orderly end, and one process for each folder.

use tidemark_tests::{Ledger, Node, NodeOptions};

#[test]
fn a_stopped_node_ends_well_and_has_everything_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let options = NodeOptions::default().data(&folder.path().join("data"));
    let mut ledger = Ledger::default();
    let mut node = Node::start(&options);
    for series in 0..10 {
        assert_eq!(node.client().post("/api/put", &Ledger::body(series, 0, 500)).status, 204);
        ledger.acknowledge(series, 0, 500);
    }
    let status = node.stop();
    assert!(status.success(), "{status}, log:\n{}", node.log());
    let node = Node::start(&options);
    ledger.check(&node.client());
}

#[test]
fn a_second_process_on_the_same_folder_is_refused_with_a_sentence() {
    let node = Node::start(&NodeOptions::without_agent());
    let (status, ready, log) = Node::run_to_end(&NodeOptions::without_agent(), node.data());
    assert_eq!((status.code(), ready.as_str()), (Some(1), ""), "{log}");
    assert!(log.contains("another process") && log.contains(&node.data().display().to_string()), "{log}");
    assert_eq!(node.client().get("/-/healthy").status, 200);
}
