//! The telnet protocol.

use std::time::Duration;

use tidemark_api::OperationMode;
use tidemark_model::{RefusalReason, Value, WriteOutcome, WriteReceipt, WriteRefusal};

use crate::started::Started;

#[test]
fn good_lines_are_stored_in_silence() {
    let server = Started::new();
    let mut client = server.client();
    client.send("put cpu 1356998400 42 host=web01\r\nput cpu 1356998401.123 -1.5 host=web01  dc=lga\n");
    client.send("put cpu 1356998401456 8 host=web01\n");
    client.half_close();
    assert_eq!(client.read_to_end(), "");
    let expected = [(1_356_998_400_000, Value::Int(42)), (1_356_998_401_456, Value::Int(8))];
    assert_eq!(server.store.points("cpu{host=web01}"), expected);
    assert_eq!(server.store.points("cpu{dc=lga,host=web01}"), [(1_356_998_401_123, Value::Float(-1.5))]);
}

#[test]
fn each_batch_begins_a_trace_of_its_own() {
    let server = Started::new();
    for minute in 0..2 {
        let mut client = server.client();
        client.send(format!("put cpu {} 42 host=web01\nexit\n", 1_356_998_400 + minute * 60));
        client.read_to_end();
    }
    let traces = server.store.traces();
    assert!(matches!(traces.as_slice(), [Some(first), Some(second)] if first != second), "{traces:?}");
}

#[test]
fn replies_come_in_the_order_of_the_lines() {
    let server = Started::new();
    let mut client = server.client();
    client.send("put cpu x 42 host=a\nput cpu 1356998400 1 host=a\nfoo bar\nput cpu 1 2\n\nhelp\ndropcaches\nstatus\n");
    client.send("histogram x\nrollup x\nput\nexit\nput cpu 1356998400 2 host=a\n");
    let replies = [
        "put: invalid value: Invalid character 'x' in x",
        "unknown command: foo.  Try `help'.",
        "put: illegal argument: not enough arguments (need least 4, got 3)",
        "unknown command: .  Try `help'.",
        "available commands: stats dropcaches version status exit help put rollup histogram ",
        "Caches dropped.",
        "startup",
        "histogram: illegal argument: not enough arguments (need least 5, got 1)",
        "rollup: illegal argument: not enough arguments (need least 7, got 1)",
        "put: illegal argument: not enough arguments (need least 4, got 0)",
        "",
    ];
    assert_eq!(client.read_to_end(), replies.join("\n"));
    assert_eq!(server.store.points("cpu{host=a}"), [(1_356_998_400_000, Value::Int(1))]);
    assert_eq!(server.state.counters.rejected_lines.snapshot().len(), 5);
}

#[test]
fn a_server_that_only_reads_knows_no_put() {
    let server = Started::with(|options| options.opentsdb.mode = OperationMode::ReadOnly);
    let mut client = server.client();
    client.send(b"put cpu 1356998400 1 host=a\nput a\xff 1356998400 1 host=a\nrollup\nexit \xff\nhelp\n");
    let unknown = |command: &str| format!("unknown command: {command}.  Try `help'.\n");
    assert_eq!(client.read_to_end(), [unknown("put"), unknown("put"), unknown("rollup")].concat());
    assert_eq!(server.state.counters.rejected_lines.snapshot().len(), 0);
    assert_eq!(server.store.points("cpu{host=a}"), []);
}

#[test]
fn nothing_is_said_of_bad_points_where_that_is_set() {
    let server = Started::with(|options| options.opentsdb.telnet_errors = false);
    let mut client = server.client();
    client.send("put cpu x 42 host=a\nrollup x\nput cpu 1356998400 1 host=a\nfoo\ndropcaches\n");
    client.send(format!("put cpu 1356998400 1 host={}\n", "a".repeat(2000)));
    assert_eq!(client.read_to_end(), "unknown command: foo.  Try `help'.\nCaches dropped.\n");
    assert_eq!(server.store.points("cpu{host=a}"), [(1_356_998_400_000, Value::Int(1))]);
    assert_eq!(server.state.counters.rejected_lines.snapshot().len(), 2);
}

#[test]
fn histograms_and_rollups_are_counted_as_what_was_sent() {
    let server = Started::new();
    let mut client = server.client();
    client.send("histogram lat 1356998400 0,1.75=12:1.75,3.5=16 host=a\nhistogram lat 1356998400 wat host=a\n");
    client.send("rollup 1h-SUM cpu 1356998400 5 host=a\nrollup 9h-SUM cpu 1356998400 5 host=a\nexit\n");
    let reply = "rollup: No such rollup: No rollups configured for the interval: 9h\n";
    assert_eq!(client.read_to_end(), reply);
    let [_, telnet, _] = server.state.counters.points.snapshot().try_into().unwrap();
    assert_eq!(telnet.accepted, 2);
    assert_eq!(server.state.counters.rejected_lines.snapshot().len(), 2);
    assert_eq!(server.store.points("\u{1}r/1h/SUM/cpu{host=a}"), [(1_356_998_400_000, Value::Int(5))]);
}

#[test]
fn version_and_stats_answer_in_lines() {
    let server = Started::new();
    let mut client = server.client();
    client.send("version\n");
    let version = client.read_until("tidemark\n");
    assert!(version.starts_with("net.opentsdb.tools ") && version.contains("\nBuilt on "), "{version}");
    client.send("put cpu 1356998400 1 host=a\nstats\nexit\n");
    let stats = client.read_to_end();
    assert!(stats.contains("tsd.connectionmgr.connections "), "{stats}");
}

#[test]
fn a_torn_line_at_the_end_is_not_half_stored() {
    let server = Started::new();
    let mut client = server.client();
    client.send("put cpu 1356998400 1 host=a\nput cpu 1356998401 12");
    client.half_close();
    assert_eq!(client.read_to_end(), "");
    assert_eq!(server.store.len(), 1);
}

#[test]
fn lines_in_pieces_are_put_together() {
    let server = Started::new();
    let mut client = server.client();
    for piece in "put größe 1356998400 1 host=a\nput größe 1356998401 2 host=a\n".as_bytes().chunks(3) {
        client.send(piece);
    }
    client.half_close();
    assert_eq!(client.read_to_end(), "");
    assert_eq!(server.store.points("größe{host=a}").len(), 2);
}

#[test]
fn lines_that_are_too_long_or_no_text_are_refused() {
    let server = Started::new();
    let mut client = server.client();
    client.send(b"put a\xff 1356998400 1 host=a\nput b 1356998400 1 host=a\n");
    assert_eq!(client.read_until("\n"), "put: illegal argument: the line is no UTF-8\n");
    client.send("x".repeat(1100));
    assert_eq!(client.read_to_end(), "put: illegal argument: a line is longer than 1024 bytes\n");
    assert_eq!(server.store.points("b{host=a}").len(), 1);
}

#[test]
fn what_the_store_does_not_take_now_is_tried_again() {
    let server = Started::new();
    let refused = |reason| WriteOutcome::Refused(WriteRefusal::new(reason, "later"));
    server.store.dictate([refused(RefusalReason::Busy), WriteOutcome::Unknown("lost".into())]);
    let mut client = server.client();
    client.send("put cpu 1356998400 1 host=a\n");
    client.half_close();
    assert_eq!(client.read_to_end(), "");
    assert_eq!((server.store.len(), server.store.batches()), (1, 3));
}

#[test]
fn what_the_store_does_not_take_at_all_is_said_and_the_connection_is_closed() {
    let server = Started::with(|options| options.limits.telnet_retry = Duration::from_millis(1));
    let refusal = WriteRefusal::new(RefusalReason::DiskFull, "the disk is full");
    server.store.dictate([WriteOutcome::Refused(refusal)]);
    let mut client = server.client();
    client.send("put cpu 1356998400 1 host=a\n");
    assert_eq!(client.read_to_end(), "put: 1 points were not stored: the disk is full\n");
}

#[test]
fn points_over_a_limit_of_the_store_are_said() {
    let server = Started::new();
    let refusal = WriteRefusal::new(RefusalReason::Limit, "too many series");
    server.store.dictate([WriteOutcome::Done(WriteReceipt { stored: 0, refused: vec![(1, refusal)] })]);
    let mut client = server.client();
    client.send("put cpu 1356998400 1 host=a\nput cpu 1356998400 1 host=b\n");
    assert_eq!(client.read_until("\n"), "put: illegal argument: too many series\n");
    assert_eq!(server.store.len(), 1);
}

#[test]
fn a_store_that_is_slow_slows_the_client_down() {
    let server = Started::with(|options| options.limits.telnet_writes_in_flight = 1);
    server.store.hold();
    let mut client = server.client();
    let lines = "put cpu 1356998400 1 host=a\n".repeat(4000);
    let sender = std::thread::spawn(move || {
        // Far more than the buffers of the connection hold.
        (0..120).for_each(|_| client.send(&lines));
        client.half_close();
        client.read_to_end()
    });
    server.wait_until("the connection", |server| server.state.counters.connections.get() == 1);
    assert_eq!(server.store.batches(), 0);
    assert!(!sender.is_finished());
    server.store.release();
    assert_eq!(sender.join().unwrap(), "");
    assert_eq!(server.state.counters.points.snapshot()[1].accepted, 480_000);
}

#[test]
fn a_stopping_server_writes_what_it_has_read() {
    let mut server = Started::new();
    server.store.hold();
    let mut client = server.client();
    client.send("put cpu 1356998400 1 host=a\nfoo\n");
    // The reply waits for the write before it, and so says that the write has begun.
    server.wait_until("the connection", |server| server.state.counters.connections.get() == 1);
    server.store.release();
    assert_eq!(client.read_until("\n"), "unknown command: foo.  Try `help'.\n");
    server.stop();
    assert!(client.is_closed());
    assert_eq!(server.store.len(), 1);
}

#[test]
fn points_of_a_client_that_is_gone_are_stored_although_it_takes_no_replies() {
    let server = Started::with(|options| options.limits.telnet_writes_in_flight = 1);
    server.store.hold();
    let mut client = server.client();
    client.send("put cpu x 1 host=a\n");
    let mut byte = [0];
    assert_eq!(client.writer().peek(&mut byte).unwrap(), 1);
    client.send("put cpu 1356998400 1 host=a\n");
    client.send("put cpu x 1 host=a\nput cpu 1356998401 2 host=a\nversion\nput cpu 1356998402 3 host=a\n");
    // The reply was not read, so the connection is reset.
    drop(client);
    server.store.release();
    server.wait_until("the end of the connection", |server| server.state.counters.connections.get() == 0);
    assert_eq!(server.store.points("cpu{host=a}").len(), 3);
}

#[test]
fn a_client_that_never_reads_is_written_for_all_the_same() {
    let server = Started::with(|options| options.limits.response_timeout = Duration::from_millis(50));
    let mut client = server.client();
    // Far more replies than the buffers of the connection hold.
    let lines = format!("{}put cpu 1356998400 1 host=a\n", "put cpu x 1 host=a\n".repeat(400));
    (0..600).for_each(|_| client.send(&lines));
    client.half_close();
    server.wait_until("the end of the connection", |server| server.state.counters.connections.get() == 0);
    assert_eq!(server.state.counters.points.snapshot()[1].accepted, 600);
}
