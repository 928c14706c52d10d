//! `kill -9` under load: what was acknowledged is there after the restart, once.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tidemark_tests::{Client, Ledger, Node, NodeOptions, Stopping, wait_for};

/// Kills of one run. Their moments come from the load itself: after so many acknowledged batches.
const KILLS: usize = 10;
/// Writers at one time, each with a series of its own.
const WRITERS: u32 = 4;
/// Points of a batch.
const BATCH: i64 = 100;

#[test]
fn ten_kills_under_load_lose_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let options = NodeOptions::without_agent().data(&folder.path().join("data"));
    let ledger = Mutex::new(Ledger::default());
    let mut next_step = vec![0; WRITERS as usize];
    for kill in 0..KILLS {
        let mut node = Node::start(&options);
        ledger.lock().unwrap().check(&node.client());
        let acknowledged_before = ledger.lock().unwrap().len();
        // An odd number of batches between the kills, so that they meet different moments of flushes and seals.
        let wanted = acknowledged_before + (37 * (kill + 1) * BATCH as usize) / 2;
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for (series, step) in next_step.iter_mut().enumerate() {
                let (client, stop, ledger) = (node.client(), &stop, &ledger);
                scope.spawn(move || write(&client, series as u32, step, stop, ledger));
            }
            // Also when the wait fails: the scope would wait for the writers for ever.
            let _stopping = Stopping(&stop);
            wait_for("enough batches are acknowledged", Duration::from_secs(60), || {
                (ledger.lock().unwrap().len() >= wanted).then_some(())
            });
            node.kill();
        });
    }
    let node = Node::start(&options);
    let ledger = ledger.into_inner().unwrap();
    assert!(!ledger.is_empty());
    ledger.check(&node.client());
}

/// Writes batch after batch until the server is gone.
fn write(client: &Client, series: u32, step: &mut i64, stop: &AtomicBool, ledger: &Mutex<Ledger>) {
    while !stop.load(Ordering::SeqCst) {
        let body = Ledger::body(series, *step, BATCH).to_string();
        match client.request("POST", "/api/put", &[("Content-Type", "application/json")], body.as_bytes()) {
            Ok(answer) if answer.status == 204 => ledger.lock().unwrap().acknowledge(series, *step, BATCH),
            // Refused or cut off: it may be there or not.
            Ok(_) | Err(_) => ledger.lock().unwrap().lose_track(series, *step, BATCH),
        }
        *step += BATCH;
    }
}
