use std::fs;

use proptest::prelude::*;
use tidemark_model::{PointBatch, PointBatchBuilder, Value};

use super::{Spool, SpoolError, SpoolOptions, batch_codec::tests::batches, segment};

fn options(folder: &std::path::Path, bytes_max: u64) -> SpoolOptions {
    SpoolOptions { folder: folder.to_owned(), bytes_max, segment_bytes: bytes_max / 4 }
}

fn batch(first: i64, points: i64) -> PointBatch {
    let mut builder = PointBatchBuilder::default();
    for at in first..first + points {
        builder.push("m", &mut [("host", "h")], at, Value::Int(at.wrapping_mul(0x5851_F42D_4C95_7F2D))).unwrap();
    }
    builder.finish()
}

/// Reads everything, forgetting it on the way.
fn drain(spool: &mut Spool) -> Vec<PointBatch> {
    std::iter::from_fn(|| {
        let oldest = spool.oldest().unwrap()?;
        spool.forget(&oldest).unwrap();
        Some(oldest.batch)
    })
    .collect()
}

fn spool_files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "spool"))
        .collect();
    files.sort();
    files
}

#[test]
fn batches_come_back_oldest_first_and_read_segments_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(options(folder.path(), 100_000)).unwrap();
    let written: Vec<PointBatch> = (0..20).map(|at| batch(1 + at * 1000, 300)).collect();
    written.iter().for_each(|batch| spool.append(batch).unwrap());
    assert!(spool_files(folder.path()).len() > 1);
    assert_eq!(spool.points(), 6000);
    assert_eq!(drain(&mut spool), written);
    assert_eq!((spool.points(), spool.bytes(), spool_files(folder.path()).len()), (0, 0, 0));
    spool.append(&batch(7, 1)).unwrap();
    assert_eq!(drain(&mut spool), [batch(7, 1)]);
}

#[test]
fn what_was_not_forgotten_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(options(folder.path(), 1_000_000)).unwrap();
    (0..5).for_each(|at| spool.append(&batch(1 + at * 10, 10)).unwrap());
    for _ in 0..2 {
        let oldest = spool.oldest().unwrap().unwrap();
        spool.forget(&oldest).unwrap();
    }
    let _unfinished = spool.oldest().unwrap().unwrap();
    drop(spool);
    let mut spool = Spool::open(options(folder.path(), 1_000_000)).unwrap();
    assert_eq!(spool.points(), 30);
    spool.append(&batch(91, 10)).unwrap();
    assert_eq!(drain(&mut spool), [batch(21, 10), batch(31, 10), batch(41, 10), batch(91, 10)]);
}

#[test]
fn numbers_of_segments_are_not_used_again_after_the_spool_was_empty() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let mut spool = Spool::open(options(folder.path(), 100_000)).unwrap();
        let written: Vec<PointBatch> = (0..20).map(|at| batch(1 + round + at * 1000, 300)).collect();
        written.iter().for_each(|batch| spool.append(batch).unwrap());
        drop(spool);
        let mut spool = Spool::open(options(folder.path(), 100_000)).unwrap();
        assert_eq!(drain(&mut spool), written, "round {round}");
    }
}

#[test]
fn a_full_spool_drops_the_oldest_and_counts_every_point() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(options(folder.path(), 20_000)).unwrap();
    let written: Vec<PointBatch> = (0..40).map(|at| batch(1 + at * 1000, 100)).collect();
    for batch in &written {
        spool.append(batch).unwrap();
        assert!(spool.bytes() <= 20_000, "{}", spool.bytes());
    }
    let left = drain(&mut spool);
    assert!(!left.is_empty() && left.len() < written.len());
    assert_eq!(left, written[written.len() - left.len()..]);
    assert_eq!(spool.take_points_dropped(), 100 * (written.len() - left.len()) as u64);
    assert_eq!(spool.take_points_dropped(), 0);
}

#[test]
fn a_batch_beyond_the_limit_of_the_spool_is_refused_with_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(options(folder.path(), 1_000)).unwrap();
    assert!(matches!(spool.append(&batch(1, 500)), Err(SpoolError::BatchTooLarge { limit: 1_000, .. })));
    assert_eq!(drain(&mut spool), []);
}

#[test]
fn a_folder_belongs_to_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let first = Spool::open(options(folder.path(), 1_000)).unwrap();
    assert!(matches!(Spool::open(options(folder.path(), 1_000)), Err(SpoolError::InUse { .. })));
    drop(first);
    assert!(Spool::open(options(folder.path(), 1_000)).is_ok());
}

#[test]
fn a_damaged_frame_is_skipped_and_counted_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(options(folder.path(), 1_000_000)).unwrap();
    (0..3).for_each(|at| spool.append(&batch(1 + at * 10, 10)).unwrap());
    drop(spool);
    let path = &spool_files(folder.path())[0];
    let mut bytes = fs::read(path).unwrap();
    let second = 8 + segment::frame_of(&batch(1, 10)).len();
    bytes[second + 16 + 7] ^= 0x40;
    fs::write(path, bytes).unwrap();
    let mut spool = Spool::open(options(folder.path(), 1_000_000)).unwrap();
    assert_eq!(drain(&mut spool), [batch(1, 10), batch(21, 10)]);
    assert_eq!(spool.take_frames_damaged(), 1);
}

#[test]
fn files_of_others_in_the_folder_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    fs::write(folder.path().join("0000000000000001.spool"), "no segment").unwrap();
    let mut spool = Spool::open(options(folder.path(), 1_000_000)).unwrap();
    assert_eq!(drain(&mut spool), []);
    assert_eq!(spool.take_frames_damaged(), 1);
    assert!(folder.path().join("notes.txt").exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_batches_come_back_in_order_over_restarts(written in prop::collection::vec(batches(), 1..12), reopen in prop::collection::vec(any::<bool>(), 12)) {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(options(folder.path(), 1_000_000)).unwrap();
        for (batch, reopen) in written.iter().zip(&reopen) {
            spool.append(batch).unwrap();
            if *reopen {
                drop(spool);
                spool = Spool::open(options(folder.path(), 1_000_000)).unwrap();
            }
        }
        prop_assert_eq!(drain(&mut spool), written);
        prop_assert_eq!(spool.take_frames_damaged(), 0);
    }

    #[test]
    fn a_torn_or_flipped_segment_gives_only_batches_that_were_written(
        written in prop::collection::vec(batches(), 1..6),
        cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 0..3),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(options(folder.path(), 1_000_000)).unwrap();
        written.iter().for_each(|batch| spool.append(batch).unwrap());
        drop(spool);
        let path = &spool_files(folder.path())[0];
        let mut bytes = fs::read(path).unwrap();
        bytes.truncate(cut.index(bytes.len() + 1));
        for (at, flip) in &flips {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
            }
        }
        fs::write(path, &bytes).unwrap();
        let mut spool = Spool::open(options(folder.path(), 1_000_000)).unwrap();
        let mut rest = written.iter();
        for batch in drain(&mut spool) {
            prop_assert!(rest.any(|written| *written == batch), "not written, or out of order");
        }
        spool.append(&written[0]).unwrap();
        prop_assert_eq!(drain(&mut spool), &written[..1]);
    }

    #[test]
    fn a_torn_cursor_sends_again_rather_than_losing(cut in 0_usize..24) {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(options(folder.path(), 1_000_000)).unwrap();
        (0..3).for_each(|at| spool.append(&batch(1 + at * 10, 10)).unwrap());
        let oldest = spool.oldest().unwrap().unwrap();
        spool.forget(&oldest).unwrap();
        drop(spool);
        let cursor = folder.path().join("cursor");
        let bytes = fs::read(&cursor).unwrap();
        fs::write(&cursor, &bytes[..cut]).unwrap();
        let mut spool = Spool::open(options(folder.path(), 1_000_000)).unwrap();
        prop_assert_eq!(drain(&mut spool), [batch(1, 10), batch(11, 10), batch(21, 10)]);
    }
}
