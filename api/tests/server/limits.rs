//! Bombs, slow bodies, half requests and everything that is too large.

use std::{
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::{put_http::gzip, started::Started};

/// Bytes of memory that the process holds now.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_bomb_is_refused_before_it_is_large() {
    let server = Started::with(|options| options.limits.body_bytes_decoded = 4 << 20);
    let bomb = gzip(&vec![b' '; 100 << 20]);
    assert!(bomb.len() < 1 << 20);
    let before = resident_bytes();
    for _ in 0..5 {
        let answer = server.client().request("POST", "/api/put", "Content-Encoding: gzip\r\n", &bomb);
        answer.expect_error(
            413,
            "the body has more than 4194304 bytes after decompression; see `limits.body_bytes_decoded`",
        );
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes");
}

#[test]
fn many_bombs_at_once_stay_within_the_budget_of_all_bodies() {
    let server = Started::with(|options| {
        options.limits.body_bytes_decoded = 16 << 20;
        options.limits.body_bytes_in_flight = 8 << 20;
    });
    let bomb = gzip(&vec![b' '; 32 << 20]);
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let ask = || server.client().request("POST", "/api/put", "Content-Encoding: gzip\r\n", &bomb).status;
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses, [503; 8]);
    // The budget is whole again.
    assert_eq!(server.client().post("/api/put", "[]").status, 400);
}

#[test]
fn bodies_over_the_limit_are_refused_whether_they_say_so_or_not() {
    let server = Started::with(|options| options.limits.body_bytes = 1000);
    let message = "the body has more than 1000 bytes; see `limits.body_bytes`";
    let mut client = server.client();
    client.send("POST /api/put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n");
    client.answer().expect_error(413, message);
    let mut client = server.client();
    client.send("POST /api/put HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("3e9\r\n{}\r\n", " ".repeat(1001)));
    client.answer().expect_error(413, message);
    assert_eq!(server.store.batches(), 0);
}

#[test]
fn unknown_encodings_are_refused() {
    let server = Started::new();
    for encoding in ["br", "zstd", "gzip, gzip"] {
        let header = format!("Content-Encoding: {encoding}\r\n");
        assert_eq!(server.client().request("POST", "/api/put", &header, "x").status, 415);
    }
    let answer = server.client().request("POST", "/api/put", "Content-Encoding: gzip\r\n", "no gzip");
    answer.expect_error(400, "Unable to decode the gzip body");
}

#[test]
fn a_body_that_stalls_or_drips_is_given_up() {
    let server = Started::with(|options| options.limits.body_timeout = Duration::from_millis(300));
    let mut client = server.client();
    client.send("POST /api/put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n[");
    client.answer().expect_error(408, "the body stalled after 1 bytes");
    let mut client = server.client();
    client.send("POST /api/put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n");
    let mut drip = client.writer();
    let answered = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while !answered.load(Ordering::SeqCst) && drip.write_all(b" ").is_ok() {
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        let answer = client.answer();
        answered.store(true, Ordering::SeqCst);
        assert_eq!(answer.status, 408);
    });
    assert_eq!(server.store.batches(), 0);
}

#[test]
fn a_body_in_chunks_that_is_not_read_to_its_end_ends_its_connection() {
    let server = Started::with(|options| {
        options.limits.body_bytes = 1000;
        options.limits.body_timeout = Duration::from_millis(300);
    });
    let check = |path: &str, chunk: &str, status: u16| {
        let mut client = server.client();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"));
        client.send(format!("{:x}\r\n{chunk}\r\n", chunk.len()));
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")));
        assert!(client.is_closed());
    };
    check("/api/put", &" ".repeat(1001), 413);
    check("/api/put", "[", 408);
    check("/api/nosuch", "[", 404);
    check("/api/version", "[", 200);
    server.wait_until("closing", |server| server.state.counters.connections.get() == 0);
}

#[test]
fn half_a_request_stores_nothing() {
    let server = Started::new();
    let mut client = server.client();
    client.send("POST /api/put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n[{\"metric\":\"m\"");
    drop(client);
    let mut client = server.client();
    client.send("POST /api/put HTTP/1.1\r\nHost: te");
    drop(client);
    server.wait_until("closing", |server| server.state.counters.connections.get() == 0);
    assert_eq!(server.store.batches(), 0);
}

#[test]
fn heads_that_are_slow_or_too_large_are_refused() {
    let server = Started::with(|options| options.limits.head_timeout = Duration::from_millis(300));
    let mut client = server.client();
    client.send("GET /api/version HTTP/1.1\r\n");
    assert_eq!(client.answer().status, 408);
    let mut client = server.client();
    client.try_send(format!("GET /api/version HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200 << 10)));
    assert_eq!(client.answer().status, 431);
    let mut client = server.client();
    client.send(format!("GET /api/version HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200)));
    assert!([400, 431].contains(&client.answer().status));
}

#[test]
fn a_silent_connection_is_closed_in_the_end() {
    let server = Started::with(|options| options.limits.first_byte_timeout = Duration::from_millis(100));
    assert!(server.client().is_closed());
}

#[test]
fn deep_json_and_many_parameters_are_no_danger() {
    let server = Started::new();
    let mut client = server.client();
    client.post("/api/put", &"[".repeat(200_000)).expect_error(400, "Unable to parse the given JSON");
    let deep = format!("[{}{}]", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(client.post("/api/put", &deep).status, 400);
    let query = format!("/api/version?{}", "a&".repeat(1001));
    client.get(&query).expect_error(400, "more than 1000 parameters in the query string");
}

#[test]
fn rude_clients_do_not_keep_others_from_being_served() {
    let server = Started::with(|options| options.limits.head_timeout = Duration::from_secs(2));
    let mut rude = Vec::new();
    for number in 0..200 {
        let mut client = server.client();
        match number % 4 {
            0 => {}
            1 => client.send("GET /api/ver"),
            2 => client.send("POST /api/put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n["),
            _ => client.send("put a 1 "),
        }
        rude.push(client);
    }
    server.wait_until("the connections", |server| server.state.counters.connections.get() == 200);
    let mut honest = server.client();
    (0..50).for_each(|_| assert_eq!(honest.get("/api/version").status, 200));
    drop(rude);
    server.wait_until("closing", |server| server.state.counters.connections.get() == 1);
}

#[test]
fn junk_of_every_kind_leaves_the_server_standing() {
    let server = Started::new();
    let beginnings =
        ["", "GET ", "POST /api/put HTTP/1.1\r\nContent-Length: 50\r\n\r\n", "put ", "GET /api/query?", "A"];
    // A linear congruential generator: the same junk in every run.
    let mut seed = 1_u64;
    let mut byte = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed.to_be_bytes()[0]
    };
    for round in 0..300 {
        let mut client = server.client();
        let junk: Vec<u8> = (0..200)
            .map(|_| if round % 2 == 0 { byte() } else { b" \r\n{}[]\":,=put01"[usize::from(byte() % 16)] })
            .collect();
        client.try_send(beginnings[round % beginnings.len()]);
        client.try_send(junk);
    }
    let mut client = server.client();
    assert_eq!(client.get("/api/version").status, 200);
    assert_eq!(server.store.len(), 0);
}
