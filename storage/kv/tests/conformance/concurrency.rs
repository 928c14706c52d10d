//! What many callers at once can rely on.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use tidemark_kv::{Commit, CommitOutcome, KeyRange, Kv, KvError, RangeLimit, Versionstamp};
use tokio::task::JoinSet;

use crate::{done, value};

/// Adds one by compare-and-commit, as often as it takes.
async fn increment(store: &dyn Kv, key: &'static str) {
    loop {
        let old = store.snapshot().await.unwrap().get(key.as_bytes()).await.unwrap();
        let number: u64 = old.as_ref().map_or(0, |old| std::str::from_utf8(old).unwrap().parse().unwrap());
        let mut commit = Commit::new();
        commit.expect(key, old).put(key, (number + 1).to_string());
        match store.commit(commit).await {
            CommitOutcome::Done(_) => return,
            CommitOutcome::Refused(KvError::Conflict { .. }) => {}
            other => panic!("expected done or conflict, got {other:?}"),
        }
    }
}

pub(crate) async fn counters_lose_no_increment(store: Arc<dyn Kv>) {
    let mut tasks = JoinSet::new();
    for task in 0..16 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for _ in 0..10 {
                increment(&*store, if task % 2 == 0 { "even" } else { "odd" }).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!((value(&*store, "even").await, value(&*store, "odd").await), (Some("80".into()), Some("80".into())));
}

pub(crate) async fn concurrent_commits_get_distinct_stamps_in_key_order(store: Arc<dyn Kv>) {
    let mut tasks = JoinSet::new();
    for task in 0..20_u32 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut stamps: Vec<Versionstamp> = Vec::new();
            for number in 0..10 {
                let stamp = done(&*store, |commit| {
                    commit.put_versionstamped("log/", format!("{task}-{number}"));
                })
                .await;
                stamps.push(stamp);
                // What is acknowledged is in every later snapshot.
                assert!(value(&*store, [&b"log/"[..], &stamp.0].concat()).await.is_some());
            }
            assert!(stamps.is_sorted_by(|left, right| left < right));
            stamps
        });
    }
    let mut stamps = BTreeSet::new();
    while let Some(ended) = tasks.join_next().await {
        stamps.extend(ended.unwrap());
    }
    assert_eq!(stamps.len(), 200);
    let log = store.snapshot().await.unwrap().range(KeyRange::prefix(b"log/"), RangeLimit::PAGE).await.unwrap();
    let keys: Vec<_> = log.entries.iter().map(|(key, _)| key.slice(4..)).collect();
    let expected: Vec<_> = stamps.iter().map(|stamp| Bytes::copy_from_slice(&stamp.0)).collect();
    assert_eq!(keys, expected);
}

/// Writers expect the epoch that they last saw; once the epoch has moved, no write of the old one may come through.
pub(crate) async fn a_fence_lets_nothing_pass(store: Arc<dyn Kv>) {
    done(&*store, |commit| {
        commit.put("fence", "0");
    })
    .await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut written = 0;
            while written < 10 {
                let epoch = value(&*store, "fence").await.unwrap();
                let mut commit = Commit::new();
                commit.expect("fence", Some(epoch.clone().into()));
                commit.put_versionstamped(format!("log/{epoch}/"), "x");
                if matches!(store.commit(commit).await, CommitOutcome::Done(_)) {
                    written += 1;
                }
            }
        });
    }
    let mut sealed = 0;
    for epoch in 0..10 {
        let next = (epoch + 1).to_string();
        done(&*store, |commit| {
            commit.expect("fence", Some(epoch.to_string().into())).put("fence", next);
        })
        .await;
        let old = KeyRange::prefix(format!("log/{epoch}/").as_bytes());
        let snapshot = store.snapshot().await.unwrap();
        sealed += snapshot.range(old.clone(), RangeLimit::PAGE).await.unwrap().entries.len();
        done(&*store, |commit| {
            commit.delete_range(old);
        })
        .await;
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let rest = store.snapshot().await.unwrap().range(KeyRange::prefix(b"log/"), RangeLimit::PAGE).await.unwrap();
    assert!(rest.entries.iter().all(|(key, _)| key.starts_with(b"log/10/")));
    assert_eq!(sealed + rest.entries.len(), 80);
}
