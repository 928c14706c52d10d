//! What one caller can rely on.

use std::sync::Arc;

use bytes::Bytes;
use tidemark_kv::{
    COMMIT_BYTES_MAX, KEY_BYTES_MAX, KeyRange, Kv, KvError, RangeLimit, RangePage, VALUE_BYTES_MAX, Versionstamp,
};

use crate::{done, refused, value};

async fn page(store: &dyn Kv, range: KeyRange, limit: RangeLimit) -> RangePage {
    store.snapshot().await.unwrap().range(range, limit).await.unwrap()
}

fn keys(page: &RangePage) -> Vec<String> {
    page.entries.iter().map(|(key, _)| key.escape_ascii().to_string()).collect()
}

async fn put_all(store: &dyn Kv, keys: &[&'static [u8]]) {
    done(store, |commit| {
        keys.iter().for_each(|&key| {
            commit.put(key, "v");
        });
    })
    .await;
}

pub(crate) async fn a_snapshot_sees_one_state(store: Arc<dyn Kv>) {
    done(&*store, |commit| {
        commit.put("a", "1").put("b", "1");
    })
    .await;
    let before = store.snapshot().await.unwrap();
    done(&*store, |commit| {
        commit.put("a", "2").delete("b").put("c", "2");
    })
    .await;
    let after = store.snapshot().await.unwrap();
    done(&*store, |commit| {
        commit.delete_range(KeyRange::new("a", "z"));
    })
    .await;

    assert_eq!(before.get(b"a").await.unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(before.get(b"b").await.unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(before.get(b"c").await.unwrap(), None);
    assert_eq!(keys(&before.range(KeyRange::prefix(b""), RangeLimit::PAGE).await.unwrap()), ["a", "b"]);
    assert_eq!(after.get(b"a").await.unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(keys(&after.range(KeyRange::prefix(b""), RangeLimit::PAGE).await.unwrap()), ["a", "c"]);
    assert!(page(&*store, KeyRange::prefix(b""), RangeLimit::PAGE).await.entries.is_empty());
}

pub(crate) async fn ranges_come_in_byte_order(store: Arc<dyn Kv>) {
    put_all(&*store, &[b"b", b"a\xff", b"a", b"a\x00", b"\x00", b"\xff", b"aa"]).await;
    let all = page(&*store, KeyRange::prefix(b""), RangeLimit::PAGE).await;
    assert_eq!(keys(&all), ["\\x00", "a", "a\\x00", "aa", "a\\xff", "b", "\\xff"]);
    assert!(!all.more);
    let reverse = RangeLimit { reverse: true, ..RangeLimit::PAGE };
    let back = page(&*store, KeyRange::new("a", "b"), reverse).await;
    assert_eq!(keys(&back), ["a\\xff", "aa", "a\\x00", "a"]);
}

pub(crate) async fn a_range_stops_at_its_limits(store: Arc<dyn Kv>) {
    put_all(&*store, &[b"a", b"b", b"c"]).await;
    let all = KeyRange::prefix(b"");
    let two = page(&*store, all.clone(), RangeLimit::entries(2)).await;
    assert_eq!((keys(&two), two.more), (vec!["a".into(), "b".into()], true));
    let three = page(&*store, all.clone(), RangeLimit::entries(3)).await;
    assert_eq!((three.entries.len(), three.more), (3, false));
    let last = page(&*store, all.clone(), RangeLimit::last()).await;
    assert_eq!((keys(&last), last.more), (vec!["c".into()], true));
    let none = page(&*store, all.clone(), RangeLimit::entries(0)).await;
    assert_eq!((none.entries.len(), none.more), (0, true));
    // Each entry is two bytes: the first comes whatever the limit, the second since one byte was still free.
    let bytes = |bytes| RangeLimit { bytes, ..RangeLimit::PAGE };
    assert_eq!(page(&*store, all.clone(), bytes(0)).await.entries.len(), 1);
    assert_eq!(page(&*store, all.clone(), bytes(2)).await.entries.len(), 1);
    assert_eq!(page(&*store, all, bytes(3)).await.entries.len(), 2);
}

pub(crate) async fn prefixes_of_0xff_bytes_have_an_end(store: Arc<dyn Kv>) {
    put_all(&*store, &[b"\xfe\xff\xff", b"\xfe\xff\xffa", b"\xff", b"\xff\xff", b"\xff\xff\xff"]).await;
    let inside = page(&*store, KeyRange::prefix(b"\xfe\xff"), RangeLimit::PAGE).await;
    assert_eq!(keys(&inside), ["\\xfe\\xff\\xff", "\\xfe\\xff\\xffa"]);
    let top = page(&*store, KeyRange::prefix(b"\xff"), RangeLimit::PAGE).await;
    assert_eq!(keys(&top), ["\\xff", "\\xff\\xff", "\\xff\\xff\\xff"]);
    assert_eq!(page(&*store, KeyRange::prefix(b""), RangeLimit::PAGE).await.entries.len(), 5);
}

pub(crate) async fn empty_and_inverted_ranges_hold_nothing(store: Arc<dyn Kv>) {
    put_all(&*store, &[b"a", b"b"]).await;
    let limits = [RangeLimit::PAGE, RangeLimit { reverse: true, ..RangeLimit::PAGE }];
    for (range, limit) in [KeyRange::new("b", "a"), KeyRange::new("a", "a")].into_iter().zip(limits) {
        assert_eq!(page(&*store, range.clone(), limit).await, RangePage::default());
        done(&*store, |commit| {
            commit.delete_range(range);
        })
        .await;
    }
    assert_eq!(page(&*store, KeyRange::prefix(b""), RangeLimit::PAGE).await.entries.len(), 2);
}

/// More entries and bytes than an engine reads at once, so that its pages are put together from parts.
pub(crate) async fn pages_join_without_gap_or_overlap(store: Arc<dyn Kv>) {
    let key = |number: u32| number.to_be_bytes().to_vec();
    for part in 0..5_u32 {
        done(&*store, |commit| {
            for number in part * 400..(part + 1) * 400 {
                commit.put(key(number), vec![7; 1 + number as usize % 1500]);
            }
        })
        .await;
    }
    let snapshot = store.snapshot().await.unwrap();
    for reverse in [false, true] {
        for (entries, bytes) in
            [(10_000, 4_000_000), (700, 4_000_000), (10_000, 300_000), (255, 100_000), (256, 262_144)]
        {
            let mut found = Vec::new();
            let mut range = KeyRange::prefix(b"");
            loop {
                let page = snapshot.range(range.clone(), RangeLimit { entries, bytes, reverse }).await.unwrap();
                assert!(page.entries.len() <= entries);
                found.extend(page.entries.iter().map(|(key, value)| (key.clone(), value.len())));
                if !page.more {
                    break;
                }
                let last = &found.last().unwrap().0;
                range = if reverse {
                    KeyRange::new(range.start, last.clone())
                } else {
                    KeyRange::new([last, &b"\0"[..]].concat(), range.end)
                };
            }
            let mut expected: Vec<_> =
                (0..2000).map(|number| (Bytes::from(key(number)), 1 + number as usize % 1500)).collect();
            if reverse {
                expected.reverse();
            }
            assert_eq!(found, expected, "entries {entries}, bytes {bytes}, reverse {reverse}");
        }
    }
}

pub(crate) async fn a_failed_expectation_writes_nothing(store: Arc<dyn Kv>) {
    done(&*store, |commit| {
        commit.put("fence", "1");
    })
    .await;
    let error = refused(&*store, |commit| {
        commit.expect("fence", Some(Bytes::from_static(b"2"))).put("a", "1").delete("fence");
    })
    .await;
    assert_eq!(error, KvError::Conflict { key: "fence".into() });
    let error = refused(&*store, |commit| {
        commit.expect("other", None).expect("fence", None).put("a", "1");
    })
    .await;
    assert_eq!(error.to_string(), "key fence changed since it was read");
    assert_eq!((value(&*store, "a").await, value(&*store, "fence").await), (None, Some("1".into())));
    done(&*store, |commit| {
        commit.expect("fence", Some(Bytes::from_static(b"1"))).expect("other", None).put("a", "1");
    })
    .await;
    assert_eq!(value(&*store, "a").await, Some("1".into()));
}

pub(crate) async fn expectations_see_the_state_before_the_operations(store: Arc<dyn Kv>) {
    done(&*store, |commit| {
        commit.put("a", "1").expect("a", None);
    })
    .await;
    let error = refused(&*store, |commit| {
        commit.delete("a").expect("a", None);
    })
    .await;
    assert_eq!(error, KvError::Conflict { key: "a".into() });
    // Expectations alone are a check and write nothing.
    done(&*store, |commit| {
        commit.expect("a", Some(Bytes::from_static(b"1")));
    })
    .await;
    refused(&*store, |commit| {
        commit.expect("a", Some(Bytes::from_static(b"")));
    })
    .await;
}

pub(crate) async fn operations_apply_in_order(store: Arc<dyn Kv>) {
    done(&*store, |commit| {
        commit.put("a", "1").put("a", "2").put("b", "1").delete("b").delete("never");
        commit.put("c1", "1").delete_range(KeyRange::prefix(b"c")).put("c2", "2");
    })
    .await;
    let all = page(&*store, KeyRange::prefix(b""), RangeLimit::PAGE).await;
    assert_eq!(keys(&all), ["a", "c2"]);
    assert_eq!(value(&*store, "a").await, Some("2".into()));
}

pub(crate) async fn a_deleted_range_is_gone_and_its_neighbours_stay(store: Arc<dyn Kv>) {
    for part in 0..10_u16 {
        done(&*store, |commit| {
            for number in part * 100..(part + 1) * 100 {
                commit.put([&b"k"[..], &number.to_be_bytes()].concat(), vec![1; 500]);
            }
        })
        .await;
    }
    put_all(&*store, &[b"j\xff", b"l"]).await;
    let key = |number: u16| [&b"k"[..], &number.to_be_bytes()].concat();
    done(&*store, |commit| {
        commit.delete_range(KeyRange::new(key(10), key(990)));
    })
    .await;
    let left = page(&*store, KeyRange::prefix(b""), RangeLimit::PAGE).await;
    let left: Vec<_> = left.entries.into_iter().map(|(key, _)| key).collect();
    let mut expected: Vec<Bytes> = (0..10).chain(990..1000).map(|number| key(number).into()).collect();
    expected.insert(0, Bytes::from_static(b"j\xff"));
    expected.push(Bytes::from_static(b"l"));
    assert_eq!(left, expected);
}

pub(crate) async fn versionstamps_grow_across_and_inside_commits(store: Arc<dyn Kv>) {
    let mut stamps = Vec::new();
    for number in 0..3 {
        stamps.push(
            done(&*store, |commit| {
                commit.put("other", "x");
                commit.put_versionstamped("log/", format!("{number}a"));
                commit.put_versionstamped("log/", format!("{number}b"));
            })
            .await,
        );
    }
    assert!(stamps.is_sorted_by(|left, right| left < right));
    assert!(stamps.iter().all(|&stamp| Versionstamp::FIRST < stamp && stamp < Versionstamp::LAST));
    let log = page(&*store, KeyRange::prefix(b"log/"), RangeLimit::PAGE).await;
    let values: Vec<_> = log.entries.iter().map(|(_, value)| value.escape_ascii().to_string()).collect();
    assert_eq!(values, ["0a", "0b", "1a", "1b", "2a", "2b"]);
    for ((key, _), stamp) in log.entries.iter().step_by(2).zip(&stamps) {
        assert_eq!(key[..], [&b"log/"[..], &stamp.0].concat());
        let second = [&b"log/"[..], &stamp.0[..10], &[0, 1]].concat();
        assert!(log.entries.iter().any(|(key, _)| key[..] == second));
    }
    let last = done(&*store, |commit| {
        commit.operations.push(tidemark_kv::Operation::PutVersionstamped {
            prefix: Bytes::from_static(b"s/"),
            suffix: Bytes::from_static(b"/end"),
            value: Bytes::new(),
        });
    })
    .await;
    assert!(last > stamps[2]);
    assert_eq!(value(&*store, [&b"s/"[..], &last.0, b"/end"].concat()).await, Some(String::new()));
}

pub(crate) async fn the_limits_are_enforced_and_named(store: Arc<dyn Kv>) {
    let key_max = KEY_BYTES_MAX - Versionstamp::BYTES;
    done(&*store, |commit| {
        commit.put(vec![1; KEY_BYTES_MAX], vec![2; VALUE_BYTES_MAX]).put_versionstamped(vec![1; key_max], "");
    })
    .await;
    let error = refused(&*store, |commit| {
        commit.put(vec![1; KEY_BYTES_MAX + 1], "");
    })
    .await;
    assert_eq!(error.to_string(), "key of 9901 bytes exceeds the limit of 9900");
    let error = refused(&*store, |commit| {
        commit.put_versionstamped(vec![1; key_max + 1], "");
    })
    .await;
    assert!(matches!(error, KvError::TooLarge { what: "key", .. }));
    let error = refused(&*store, |commit| {
        commit.put("a", vec![2; VALUE_BYTES_MAX + 1]);
    })
    .await;
    assert_eq!(error, KvError::TooLarge { what: "value", bytes: VALUE_BYTES_MAX + 1, limit: VALUE_BYTES_MAX });
    let error = refused(&*store, |commit| {
        for number in 0..10_u8 {
            commit.put(vec![number], vec![2; COMMIT_BYTES_MAX / 10]);
        }
    })
    .await;
    assert!(matches!(error, KvError::TooLarge { what: "commit", limit: COMMIT_BYTES_MAX, .. }));
    let error = refused(&*store, |commit| {
        (0..65_537).for_each(|_| {
            commit.put_versionstamped("", "");
        });
    })
    .await;
    assert!(matches!(error, KvError::TooLarge { what: "commit", .. }));
    assert_eq!(page(&*store, KeyRange::prefix(b""), RangeLimit::PAGE).await.entries.len(), 2);
}

pub(crate) async fn empty_values_differ_from_missing_keys(store: Arc<dyn Kv>) {
    done(&*store, |commit| {
        commit.put("a", "").put("", "empty key");
    })
    .await;
    assert_eq!(value(&*store, "a").await, Some(String::new()));
    assert_eq!(value(&*store, "").await, Some("empty key".into()));
    refused(&*store, |commit| {
        commit.expect("a", None);
    })
    .await;
    done(&*store, |commit| {
        commit.expect("a", Some(Bytes::new()));
    })
    .await;
}
