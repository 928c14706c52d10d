//! Posting to a server on another port of this machine.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use support::{
    MemoryStore, Running, clock,
    http_server::{Received, Reply, TestServer},
    options,
};
use tidemark_collector::{Agent, AgentOptions, RemoteOptions, RemoteSink, SpoolOptions};
use tidemark_model::{
    DocumentError, MetadataStore, MetricMetadata, PointBatch, PointBatchBuilder, PointSink, RateKind, RefusalReason,
    Value, WriteOutcome, WriteReceipt,
};

const FIRST_MS: i64 = 1_795_343_205_000;

fn batch(points: i64) -> PointBatch {
    let mut builder = PointBatchBuilder::default();
    for at in 0..points {
        builder.push("app.load", &mut [("host", "h")], FIRST_MS + at, Value::Int(at)).unwrap();
    }
    builder.finish()
}

fn sink(server: &TestServer) -> RemoteSink {
    RemoteSink::new(RemoteOptions { token: Some("tdm_write_x".into()), ..RemoteOptions::new(server.url()) }).unwrap()
}

fn no_content() -> Reply {
    Reply::Answer(204, String::new())
}

fn done(stored: usize) -> WriteOutcome {
    WriteOutcome::Done(WriteReceipt { stored, refused: Vec::new() })
}

/// Timestamps of the points of all requests, in the order in which they came.
fn timestamps(received: &[Received]) -> Vec<i64> {
    received.iter().flat_map(Received::points).map(|point| point["timestamp"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn points_are_posted_compressed_with_the_token() {
    let server = TestServer::start(|_| no_content()).await;
    assert_eq!(sink(&server).write(batch(3)).await, done(3));
    let [request] = &server.received()[..] else { panic!() };
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/api/put?details"));
    assert_eq!(request.headers["authorization"], "Bearer tdm_write_x");
    assert_eq!(request.headers["content-encoding"], "gzip");
    assert_eq!(request.headers["content-type"], "application/json");
    let expect = serde_json::json!({"metric": "app.load", "timestamp": FIRST_MS, "value": 0, "tags": {"host": "h"}});
    assert_eq!(request.points()[0], expect);
}

#[tokio::test]
async fn a_large_batch_becomes_requests_of_bounded_size() {
    let server = TestServer::start(|_| no_content()).await;
    let options = RemoteOptions { request_points_max: 400, ..RemoteOptions::new(server.url()) };
    assert_eq!(RemoteSink::new(options).unwrap().write(batch(1000)).await, done(1000));
    let sizes: Vec<usize> = server.received().iter().map(|request| request.points().len()).collect();
    assert_eq!(sizes, [400, 400, 200]);
    assert_eq!(timestamps(&server.received()), (FIRST_MS..FIRST_MS + 1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_request_that_is_too_large_is_halved_and_the_size_remembered() {
    let server =
        TestServer::start(
            |request| {
                if request.points().len() > 300 { Reply::Answer(413, String::new()) } else { no_content() }
            },
        )
        .await;
    let sink = sink(&server);
    assert_eq!(sink.write(batch(1000)).await, done(1000));
    let before = server.received().len();
    assert_eq!(sink.write(batch(1000)).await, done(1000));
    let sizes: Vec<usize> = server.received()[before..].iter().map(|request| request.points().len()).collect();
    assert_eq!(sizes, [250; 4]);
}

#[tokio::test]
async fn a_refused_point_does_not_hold_up_the_others() {
    let server = TestServer::start(|request| {
        let bad: Vec<_> = request.points().into_iter().filter(|point| point["value"] == 7).collect();
        if bad.is_empty() {
            return no_content();
        }
        let errors: Vec<_> =
            bad.iter().map(|point| serde_json::json!({"datapoint": point, "error": "too many series"})).collect();
        let good = request.points().len() - bad.len();
        Reply::Answer(400, serde_json::json!({"success": good, "failed": bad.len(), "errors": errors}).to_string())
    })
    .await;
    let WriteOutcome::Done(receipt) = sink(&server).write(batch(20)).await else { panic!() };
    assert_eq!(receipt.stored, 19);
    let [(7, refusal)] = &receipt.refused[..] else { panic!("{receipt:?}") };
    assert_eq!((refusal.reason, refusal.message.as_str()), (RefusalReason::Limit, "too many series"));
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_request_refused_without_details_is_narrowed_down_to_the_point() {
    let server = TestServer::start(|request| {
        let poison = request.points().iter().any(|point| point["value"] == 7);
        if poison { Reply::Answer(400, "no".into()) } else { no_content() }
    })
    .await;
    let WriteOutcome::Done(receipt) = sink(&server).write(batch(64)).await else { panic!() };
    assert_eq!((receipt.stored, receipt.refused.len(), receipt.refused[0].0), (63, 1, 7));
}

#[tokio::test]
async fn a_server_that_refuses_everything_is_not_asked_point_by_point() {
    let server = TestServer::start(|_| Reply::Answer(400, "no".into())).await;
    let WriteOutcome::Done(receipt) = sink(&server).write(batch(5000)).await else { panic!() };
    assert_eq!((receipt.stored, receipt.refused.len()), (0, 5000));
    assert!(server.received().len() < 150, "{}", server.received().len());
}

#[tokio::test]
async fn an_outage_is_told_from_a_refusal() {
    let options = |server: &TestServer| RemoteOptions {
        total_timeout: Duration::from_millis(100),
        ..RemoteOptions::new(server.url())
    };
    for (reply, known) in [
        (Reply::Answer(503, "busy".into()), true),
        (Reply::Answer(507, "full".into()), true),
        (Reply::Answer(500, "bug".into()), false),
        (Reply::Silence, false),
        (Reply::HangUp, false),
    ] {
        let server = TestServer::start({
            let reply = reply.clone();
            move |_| reply.clone()
        })
        .await;
        let outcome = RemoteSink::new(options(&server)).unwrap().write(batch(3)).await;
        match outcome {
            WriteOutcome::Refused(refusal) => assert!(known && refusal.reason != RefusalReason::Limit, "{reply:?}"),
            WriteOutcome::Unknown(_) => assert!(!known, "{reply:?}"),
            WriteOutcome::Done(_) => panic!("{reply:?}"),
        }
    }
    let gone = TestServer::start(|_| no_content()).await;
    let sink = sink(&gone);
    drop(gone);
    tokio::task::yield_now().await;
    let WriteOutcome::Refused(refusal) = sink.write(batch(3)).await else { panic!() };
    assert_eq!(refusal.reason, RefusalReason::Unavailable);
    assert!(refusal.message.starts_with("connect to `127.0.0.1:"), "{refusal}");
}

#[tokio::test]
async fn a_proxy_is_asked_with_its_user_and_password() {
    let proxy = TestServer::start(|_| no_content()).await;
    let mut url = proxy.url();
    url.set_username("agent").unwrap();
    url.set_password(Some("s3cret")).unwrap();
    let remote = RemoteOptions {
        proxy: Some(url),
        token: Some("tdm_write_x".into()),
        ..RemoteOptions::new("http://tidemark.invalid:4242/".parse().unwrap())
    };
    assert_eq!(RemoteSink::new(remote).unwrap().write(batch(3)).await, done(3));
    let [request] = &proxy.received()[..] else { panic!() };
    assert_eq!(request.target, "http://tidemark.invalid:4242/api/put?details");
    // base64 of `agent:s3cret`
    assert_eq!(request.headers["proxy-authorization"], "Basic YWdlbnQ6czNjcmV0");
    assert_eq!(request.headers["authorization"], "Bearer tdm_write_x");
}

#[tokio::test]
async fn metadata_travel_in_bosuns_format() {
    let server = TestServer::start(|request| match request.method.as_str() {
        "POST" => no_content(),
        _ if request.target.ends_with("metric=known") => {
            Reply::Answer(200, r#"[{"Metric":"known","Name":"unit","Value":"bytes"}]"#.into())
        }
        _ if request.target.ends_with("metric=broken") => Reply::Answer(500, "oops".into()),
        _ => Reply::Answer(404, String::new()),
    })
    .await;
    let sink = sink(&server);
    let entry = MetricMetadata {
        metric: "os.cpu".into(),
        unit: "percent".into(),
        rate: Some(RateKind::Counter),
        description: "Use.".into(),
    };
    sink.put_metadata(vec![entry]).await.unwrap();
    let [request] = &server.received()[..] else { panic!() };
    assert_eq!(request.target, "/api/metadata/put");
    assert!(!request.headers.contains_key("content-encoding"));
    let expect = r#"[{"Metric":"os.cpu","Name":"unit","Value":"percent"},{"Metric":"os.cpu","Name":"rate","Value":"counter"},{"Metric":"os.cpu","Name":"desc","Value":"Use."}]"#;
    assert_eq!(request.body, expect);
    assert_eq!(sink.metadata("known").await.unwrap().unwrap().unit, "bytes");
    assert_eq!(sink.metadata("unknown").await.unwrap(), None);
    assert!(matches!(sink.metadata("broken").await, Err(DocumentError::Unavailable(_))));
}

fn spooling(folder: &Path) -> AgentOptions {
    AgentOptions { spool: Some(SpoolOptions::in_folder(folder)), disabled: vec!["filesystems".into()], ..options() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_loses_nothing_in_an_outage_of_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let down = Arc::new(AtomicBool::new(true));
    let server = TestServer::start({
        let down = Arc::clone(&down);
        move |_| if down.load(Ordering::SeqCst) { Reply::Answer(503, "later".into()) } else { no_content() }
    })
    .await;
    let sink = Arc::new(sink(&server));
    let (agent, handle) = Agent::new(spooling(folder.path()), clock(), sink.clone(), sink).unwrap();
    let running = Running::start_agent(agent, handle);
    server.until("three attempts", |received| received.len() >= 3).await;
    running.until("points in the spool", |_| running.handle.counts().spool_bytes > 10_000).await;
    down.store(false, Ordering::SeqCst);
    let spooled = running.handle.counts().spooled;
    running.until("all of them sent", |_| running.handle.counts().sent > spooled).await;
    let counts = running.stop().await.counts();
    assert!(counts.send_errors > 0 && counts.spooled > 0);
    assert_eq!((counts.sent, counts.dropped, counts.refused), (counts.gathered, 0, 0));
    let puts: Vec<Received> =
        server.received().into_iter().filter(|request| request.target.starts_with("/api/put")).collect();
    assert!(!timestamps(&puts).is_empty());
    assert!(server.received().iter().any(|request| request.target == "/api/metadata/put"));
}

/// Run as a process of its own by the test below, in whose folder it spools until it is killed.
#[tokio::test]
#[ignore = "the other half of `a_killed_agent_sends_after_its_restart_what_it_had_spooled`"]
async fn spool_until_killed() {
    let store = MemoryStore::new();
    store.refuse(true);
    let running = Running::start(spooling(Path::new("spool")), &store);
    running.until("a few frames", |_| running.handle.counts().spooled > 2_000).await;
    std::fs::write("spooled", running.handle.counts().spooled.to_string()).unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
}

#[tokio::test]
async fn a_killed_agent_sends_after_its_restart_what_it_had_spooled() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "spool_until_killed"])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let spooled = tokio::time::timeout(Duration::from_secs(60), async {
        let mut looks = tokio::time::interval(Duration::from_millis(2));
        loop {
            looks.tick().await;
            if let Some(Ok(spooled)) =
                std::fs::read_to_string(folder.path().join("spooled")).ok().map(|text| text.parse::<usize>())
            {
                return spooled;
            }
        }
    });
    let spooled = spooled.await.unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();

    let store = MemoryStore::new();
    let everything_off =
        tidemark_collector::list(&options()).unwrap().collectors.into_iter().map(|one| one.name).collect();
    let restarted = AgentOptions { disabled: everything_off, ..spooling(&folder.path().join("spool")) };
    let running = Running::start(restarted, &store);
    running.until("the spooled points", |_| running.handle.counts().sent >= spooled as u64).await;
    let counts = running.stop().await.counts();
    assert_eq!(counts.spool_frames_damaged, 0);
    assert!(store.look(|contents| contents.has("os.cpu")));
}
