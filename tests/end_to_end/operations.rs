//! Backups, checks and copies of a store, with the real binary.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;
use tidemark_tests::{Client, Ledger, Node, NodeOptions, wait_for};

fn tidemark(arguments: &[&str]) -> Output {
    let mut command = tidemark_tests::tidemark();
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn succeeds(arguments: &[&str]) -> Output {
    let output = tidemark(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A node without load of its own, with its data in a folder.
fn node(data: &Path) -> Node {
    Node::start(&NodeOptions::without_agent().data(data))
}

fn url(node: &Node) -> String {
    format!("http://{}", node.address())
}

/// Batches of 1000 points of one series after the other.
fn put(client: &Client, ledger: &Mutex<Ledger>, series: u32, steps: std::ops::Range<i64>) {
    for step in steps.step_by(1000) {
        let answer = client.post("/api/put", &Ledger::body(series, step, 1000));
        assert_eq!(answer.status, 204, "{}", answer.text());
        ledger.lock().unwrap().acknowledge(series, step, 1000);
    }
}

#[test]
fn a_backup_of_a_server_that_is_writing_has_what_was_acknowledged_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("backup.tdm"));
    let from = node(&data);
    let ledger = Mutex::new(Ledger::default());
    put(&from.client(), &ledger, 0, 0..50_000);
    let before = ledger.lock().unwrap().clone();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (client, stop, ledger) = (from.client(), &stop, &ledger);
        scope.spawn(move || {
            let mut step = 50_000;
            while !stop.load(Ordering::SeqCst) {
                put(&client, ledger, 0, step..step + 1000);
                step += 1000;
            }
        });
        let acknowledged = before.len();
        wait_for("somebody writes", Duration::from_secs(30), || {
            (ledger.lock().unwrap().len() > acknowledged).then_some(())
        });
        let taken = tidemark(&["backup", "create", "--to", &text(&file), "--url", &url(&from)]);
        stop.store(true, Ordering::SeqCst);
        assert!(taken.status.success(), "{taken:?}");
    });
    assert!(json(&succeeds(&["backup", "verify", &text(&file), "-o", "json"]))["complete"] == true);

    let restored = folder.path().join("restored");
    succeeds(&["backup", "restore", &text(&file), "--data", &text(&restored)]);
    let again = tidemark(&["backup", "restore", &text(&file), "--data", &text(&restored)]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains("not empty"), "{again:?}");
    let mut to = node(&restored);
    // What was written later may be there or not, and nothing else.
    let mut expected = before;
    let later = i64::try_from(ledger.lock().unwrap().len()).unwrap();
    expected.lose_track(0, 50_000, later - 50_000);
    expected.check(&to.client());
    put(&to.client(), &Mutex::new(Ledger::default()), 7, 0..1000);
    assert!(to.stop().success());
    let report = json(&succeeds(&["doctor", "--data", &text(&restored), "-o", "json"]));
    assert_eq!(report["sound"], true, "{report}");
}

#[test]
fn a_backup_that_was_broken_off_goes_on_and_one_of_a_stopped_store_needs_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("backup.tdm"));
    let mut from = node(&data);
    let ledger = Mutex::new(Ledger::default());
    for series in 0..20 {
        put(&from.client(), &ledger, series, 0..20_000);
    }
    let busy = tidemark(&["doctor", "--data", &text(&data)]);
    assert_eq!(busy.status.code(), Some(1), "{busy:?}");
    assert!(String::from_utf8_lossy(&busy.stderr).contains("another process"), "{busy:?}");
    assert!(from.stop().success());
    let create = || tidemark(&["backup", "create", "--to", &text(&file), "--data", &text(&data)]);
    assert!(create().status.success());
    let whole = fs::read(&file).unwrap();
    // As if it had been broken off, in the middle of a chunk.
    let partial = folder.path().join("backup.tdm.partial");
    fs::rename(&file, &partial).unwrap();
    fs::write(&partial, &whole[..whole.len() * 2 / 3]).unwrap();
    let verify = tidemark(&["backup", "verify", &text(&partial)]);
    assert!(!verify.status.success(), "{verify:?}");
    let output = create();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(create().status.code(), Some(1));
    succeeds(&["backup", "verify", &text(&file)]);
    let restored = folder.path().join("restored");
    succeeds(&["backup", "restore", &text(&file), "--data", &text(&restored)]);
    ledger.into_inner().unwrap().check(&node(&restored).client());
}

#[test]
fn damage_of_a_backup_or_of_a_store_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("backup.tdm"));
    let mut from = node(&data);
    let ledger = Mutex::new(Ledger::default());
    put(&from.client(), &ledger, 0, 0..20_000);
    assert!(from.stop().success());
    succeeds(&["doctor", "--data", &text(&data), "--repair", "--compact"]);
    succeeds(&["backup", "create", "--to", &text(&file), "--data", &text(&data)]);
    let mut rotten = fs::read(&file).unwrap();
    let middle = rotten.len() / 2;
    rotten[middle] ^= 1;
    fs::write(&file, &rotten).unwrap();
    for arguments in [vec!["backup", "verify"], vec!["doctor", "--backup"], vec!["backup", "restore"]] {
        let output = tidemark(&[&arguments[..], &[&text(&file)]].concat());
        assert!(!output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("byte"), "{output:?}");
    }

    let store = data.join("store.redb");
    let sound = fs::read(&store).unwrap();
    let (mut found, mut harmless) = (0, 0);
    for place in 1..40 {
        let mut rotten = sound.clone();
        let position = rotten.len() * place / 40;
        rotten[position] ^= 0x10;
        fs::write(&store, &rotten).unwrap();
        let output = tidemark(&["doctor", "--data", &text(&data), "-o", "json"]);
        match output.status.code() {
            // A page that nothing uses, or one that the engine repairs from its other copy.
            Some(0) => harmless += 1,
            Some(3) => {
                found += 1;
                let report = json(&output);
                let finding = &report["findings"][0];
                let named = finding["key"].is_string() || finding["problem"].as_str().unwrap().contains("store.redb");
                assert!(named, "{report}");
            }
            code => panic!("{code:?} {output:?}"),
        }
    }
    assert!(found > 0, "{harmless} harmless");
    fs::write(&store, &sound[..sound.len() / 2]).unwrap();
    let output = tidemark(&["doctor", "--data", &text(&data)]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    fs::write(&store, &sound).unwrap();
    succeeds(&["doctor", "--data", &text(&data)]);
}

/// Points of both types at the edges of what there is, two series, one of them for more than a day.
pub(crate) fn odd_lines() -> String {
    let mut lines = String::new();
    let values = ["-9223372036854775808", "9223372036854775807", "0", "-0.0", "1.0", "0.1", "1e300", "5e-324", "-1.5"];
    for step in 0..3_000_u64 {
        let at = 1_767_225_600_123 + step * 60_000;
        let value = values[usize::try_from(step).unwrap() % values.len()];
        lines.push_str(&format!("odd.metric {at} {value} host=a\n"));
    }
    lines.push_str("odd.other 1767225600 17 host=b\n");
    lines
}

#[test]
fn what_is_exported_and_imported_is_the_same_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| text(&folder.path().join(name));
    fs::write(file("scan.txt"), format!("{}no point\nodd.metric 1767225600 x host=a\n", odd_lines())).unwrap();
    let mut first = node(&folder.path().join("first"));
    let imported = tidemark(&["import", &file("scan.txt"), "--url", &url(&first)]);
    assert_eq!(imported.status.code(), Some(1), "{imported:?}");
    let said = String::from_utf8_lossy(&imported.stderr).into_owned();
    assert!(said.contains("line 3002: ") && said.contains("line 3003: "), "{said}");
    assert!(said.contains("3001 points are stored, 2 lines were left out"), "{said}");
    let export = |format: &str, to: &str, place: [&str; 2]| {
        succeeds(&["export", "--format", format, "--to-file", &file(to), place[0], place[1]]);
        // The server's figures about itself are there, too.
        let lines = fs::read_to_string(file(to)).unwrap();
        lines.lines().filter(|line| line.starts_with("odd.")).map(|line| format!("{line}\n")).collect::<String>()
    };
    let online = url(&first);
    let expected = export("opentsdb", "first.txt", ["--url", &online]);
    assert_eq!(expected.lines().count(), 3_001);
    let narrow = ["export", "odd.metric{host=a}", "--from", "1767225600", "--to", "1767225660", "--url", &online];
    assert_eq!(String::from_utf8_lossy(&succeeds(&narrow).stdout).lines().count(), 1);
    for format in ["json", "csv", "opentsdb"] {
        export(format, &format!("dump.{format}"), ["--url", &online]);
    }
    assert!(first.stop().success());
    let offline = file("first");
    assert_eq!(export("opentsdb", "offline.txt", ["--data", &offline]), expected);
    for format in ["json", "csv", "opentsdb"] {
        let data = file(&format!("to-{format}"));
        let packed = gzip(&fs::read(file(&format!("dump.{format}"))).unwrap());
        fs::write(file("packed.gz"), packed).unwrap();
        // Twice: nothing changes.
        for _ in 0..2 {
            succeeds(&["import", &file("packed.gz"), "--data", &data]);
        }
        assert_eq!(export("opentsdb", "again.txt", ["--data", &data]), expected, "{format}");
        let rest = tidemark(&["import", &file("packed.gz"), "--data", &data, "--skip-lines", "2990"]);
        assert!(String::from_utf8_lossy(&rest.stderr).contains("0 lines were left out"), "{rest:?}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
