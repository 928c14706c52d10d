//! Encoding and decoding, in points per second. Blocks of 480 points (two hours at 15 s) by kind of series, and of all
//! kinds together; segments by their number of rows.

use divan::{Bencher, black_box, counter::ItemsCount};
use tidemark_model::{PointColumns, TimeRange, ValueColumn};
use tidemark_tsdb::codec::{SegmentHeader, SegmentRow, decode_block, decode_segment, encode_block, encode_segment};

#[path = "../tests/codec/sample_series.rs"]
mod sample_series;

use sample_series::{INTERVAL_S, Kind, METRICS, SampleSeries};

const START_MS: i64 = 1_790_000_000_000;
const POINTS: usize = 480;
/// Series of a kind, so that no branch predictor learns one by heart.
const SERIES: u64 = 25;

const KINDS: [Kind; 10] = [
    Kind::BurstyBytes,
    Kind::Ticks,
    Kind::Errors,
    Kind::Memory,
    Kind::Load,
    Kind::Percent,
    Kind::Latency,
    Kind::Constant,
    Kind::Build,
    Kind::DiskFree,
];

fn main() {
    divan::main();
}

fn regular() -> Vec<i64> {
    (0..POINTS as i64).map(|index| START_MS + index * INTERVAL_S * 1000).collect()
}

/// Milliseconds with the jitter of a real collector.
fn jittered() -> Vec<i64> {
    (0..POINTS as i64).map(|index| START_MS + index * INTERVAL_S * 1000 + index * 7919 % 37).collect()
}

fn columns(kind: Kind) -> Vec<ValueColumn> {
    (0..SERIES).map(|seed| SampleSeries::new(kind, seed).column(POINTS)).collect()
}

fn all_kinds() -> Vec<ValueColumn> {
    METRICS.iter().flat_map(|&kind| (0..5).map(move |seed| SampleSeries::new(kind, seed).column(POINTS))).collect()
}

fn encode(bencher: Bencher<'_, '_>, timestamps: &[i64], columns: &[ValueColumn]) {
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(POINTS * columns.len())).bench_local(|| {
        for column in columns {
            out.clear();
            black_box(encode_block(timestamps, black_box(column), &mut out)).ok();
        }
    });
}

fn decode(bencher: Bencher<'_, '_>, timestamps: &[i64], columns: &[ValueColumn]) {
    let encoded = |column| {
        let mut out = Vec::new();
        encode_block(timestamps, column, &mut out).ok();
        out
    };
    let blocks: Vec<_> = columns.iter().map(encoded).collect();
    let mut points = PointColumns::default();
    bencher.counter(ItemsCount::new(POINTS * columns.len())).bench_local(|| {
        for block in &blocks {
            points.clear();
            black_box(decode_block(black_box(block), TimeRange::ALL, &mut points)).ok();
        }
    });
}

#[divan::bench(args = KINDS)]
fn block_encode(bencher: Bencher<'_, '_>, kind: Kind) {
    encode(bencher, &regular(), &columns(kind));
}

#[divan::bench(args = KINDS)]
fn block_decode(bencher: Bencher<'_, '_>, kind: Kind) {
    decode(bencher, &regular(), &columns(kind));
}

#[divan::bench]
fn block_encode_all(bencher: Bencher<'_, '_>) {
    encode(bencher, &regular(), &all_kinds());
}

#[divan::bench]
fn block_decode_all(bencher: Bencher<'_, '_>) {
    decode(bencher, &regular(), &all_kinds());
}

#[divan::bench]
fn block_encode_jittered(bencher: Bencher<'_, '_>) {
    encode(bencher, &jittered(), &all_kinds());
}

#[divan::bench]
fn block_decode_jittered(bencher: Bencher<'_, '_>) {
    decode(bencher, &jittered(), &all_kinds());
}

/// Rows as agents send them: host by host, the twenty metrics of each at one time.
fn rows(count: usize) -> Vec<SegmentRow> {
    let mut rows = Vec::new();
    for host in 0..count.div_ceil(METRICS.len()) as u64 {
        for (metric, &kind) in (0_u64..).zip(&METRICS) {
            let mut series = SampleSeries::new(kind, host * 31 + metric);
            series.next();
            rows.push((metric << 32 | host, START_MS, series.next()));
        }
    }
    rows.truncate(count);
    rows
}

const HEADER: SegmentHeader = SegmentHeader { writer: 1, sequence: 1, points: 0, min_timestamp: 0, max_timestamp: 0 };

#[divan::bench(args = [50, 249, 1000, 5000])]
fn segment_encode(bencher: Bencher<'_, '_>, count: usize) {
    let rows = rows(count);
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        out.clear();
        black_box(encode_segment(&HEADER, black_box(&rows).iter().copied(), &mut out)).ok();
    });
}

#[divan::bench(args = [50, 249, 1000, 5000])]
fn segment_decode(bencher: Bencher<'_, '_>, count: usize) {
    let mut bytes = Vec::new();
    encode_segment(&HEADER, rows(count), &mut bytes).ok();
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        if let Ok((_, rows)) = decode_segment(black_box(&bytes)) {
            rows.for_each(|row| {
                black_box(row).ok();
            });
        }
    });
}
