//! What points take in bytes. Run with `--nocapture` to see the sizes by kind.

use tidemark_tsdb::codec::{SEGMENT_BYTES_MAX, SegmentRow, encode_block, encode_segment};

use crate::{
    HEADER,
    sample_series::{INTERVAL_S, Kind, METRICS, SampleSeries},
};

const START_MS: i64 = 1_790_000_000_000;

/// Bytes a point of `series` series of a kind in blocks of `points`.
fn bytes_per_point(kind: Kind, points: usize, series: u64) -> f64 {
    let timestamps: Vec<_> = (0..points as i64).map(|index| START_MS + index * INTERVAL_S * 1000).collect();
    let mut out = Vec::new();
    for seed in 0..series {
        encode_block(&timestamps, &SampleSeries::new(kind, seed).column(points), &mut out).unwrap();
    }
    out.len() as f64 / (points as f64 * series as f64)
}

fn average(points: usize) -> f64 {
    METRICS.iter().map(|&kind| bytes_per_point(kind, points, 25)).sum::<f64>() / METRICS.len() as f64
}

#[test]
fn a_point_of_a_monitored_host_takes_a_byte_and_a_half() {
    let mut kinds = METRICS.to_vec();
    kinds.dedup();
    for kind in kinds {
        println!("{kind:?}: {:.3} bytes a point", bytes_per_point(kind, 480, 25));
    }
    let (two_hours, one_day) = (average(480), average(5760));
    println!("all, 480 points: {two_hours:.3}; all, 5760 points: {one_day:.3}");
    assert!(two_hours <= 1.56, "{two_hours}");
    assert!(one_day <= 1.54, "{one_day}");
}

fn rows(count: usize) -> Vec<SegmentRow> {
    let row = |index: usize| {
        let (host, metric) = ((index / METRICS.len()) as u64, index % METRICS.len());
        let mut series = SampleSeries::new(METRICS[metric], host * 31 + metric as u64);
        ((metric as u64) << 32 | host, START_MS, series.next())
    };
    (0..count).map(row).collect()
}

#[test]
fn a_full_segment_holds_thousands_of_rows() {
    for count in [50, 249, 250, 1000, 5000, 7000] {
        let mut bytes = Vec::new();
        encode_segment(&HEADER, rows(count), &mut bytes).unwrap();
        println!("{count} rows: {:.2} bytes a row", bytes.len() as f64 / count as f64);
        assert!(bytes.len() <= SEGMENT_BYTES_MAX);
        assert!(count < 1000 || bytes.len() as f64 <= 4.6 * count as f64);
    }
}
