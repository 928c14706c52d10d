//! Bytes that were written once and must be readable for ever. Each file `NAME.bin` has beside it `NAME.points`: a line for
//! each point with its series (segments only), its timestamp and its value; doubles as their bits in hexadecimal. For a
//! deletion: metric, range and series. Of a rollup block a line has the number of the interval and the six values of a row.

use std::{fmt::Write, fs, path::PathBuf};

use tidemark_model::{PointColumns, TimeRange, Value, ValueColumn};
use tidemark_tsdb::codec::{
    Deletion, RollupColumns, RollupField, SegmentRow, decode_block, decode_deletion, decode_rollup_block,
    decode_segment, encode_block, encode_deletion, encode_rollup_block, encode_segment,
};

use crate::{
    HEADER, points,
    sample_series::{Kind, SampleSeries},
};

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden"].iter().collect()
}

fn text_of(value: Value) -> String {
    match value {
        Value::Int(int) => format!("int {int}"),
        Value::Float(float) => format!("double {:016x}", float.to_bits()),
    }
}

fn text_of_points(columns: &PointColumns) -> String {
    columns.iter().fold(String::new(), |mut text, point| {
        writeln!(text, "{} {}", point.timestamp, text_of(point.value)).unwrap();
        text
    })
}

fn text_of_rows(rows: &[SegmentRow]) -> String {
    rows.iter().fold(String::new(), |mut text, (series, timestamp, value)| {
        writeln!(text, "{series} {timestamp} {}", text_of(*value)).unwrap();
        text
    })
}

fn text_of_deletion(deletion: &Deletion) -> String {
    let Deletion { metric, series, range } = deletion;
    let series: Vec<_> = series.iter().map(|number| number.to_string()).collect();
    format!("metric {metric}\nfrom {} to {}\nseries {}\n", range.start, range.end, series.join(" "))
}

fn text_of_rollups(rows: &RollupColumns) -> String {
    rows.intervals.iter().enumerate().fold(String::new(), |mut text, (row, interval)| {
        let values = RollupField::ALL.map(|field| text_of(rows.column(field).get(row).unwrap()));
        writeln!(text, "{interval} {}", values.join(" ")).unwrap();
        text
    })
}

/// What the bytes of a golden file say, as text.
fn decoded(name: &str, bytes: &[u8]) -> String {
    if name.starts_with("rollup") {
        let mut rows = RollupColumns::default();
        decode_rollup_block(bytes, &RollupField::ALL, &mut rows).unwrap();
        return text_of_rollups(&rows);
    }
    if name.starts_with("segment") {
        let (_, rows) = decode_segment(bytes).unwrap();
        return text_of_rows(&rows.map(Result::unwrap).collect::<Vec<_>>());
    }
    if name.starts_with("deletion") {
        return text_of_deletion(&decode_deletion(bytes).unwrap().2);
    }
    let mut columns = PointColumns::default();
    decode_block(bytes, TimeRange::ALL, &mut columns).unwrap();
    text_of_points(&columns)
}

#[test]
fn golden_files_decode_to_the_points_beside_them() {
    let mut files = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_of_the_codec = ["block_", "segment_", "deletion_", "rollup_"].iter().any(|kind| name.starts_with(kind));
        if is_of_the_codec && path.extension().is_some_and(|extension| extension == "bin") {
            let expected = fs::read_to_string(path.with_extension("points")).unwrap();
            assert_eq!(decoded(&name, &fs::read(&path).unwrap()), expected, "{name}");
            files += 1;
        }
    }
    assert!(files >= 18, "only {files} golden files");
}

fn block_cases() -> Vec<(&'static str, PointColumns)> {
    let start = 1_790_000_000_000;
    let sampled = |kind| points(start, 15_000, SampleSeries::new(kind, 1).column(150));
    let mut irregular = sampled(Kind::Ticks);
    irregular.timestamps.iter_mut().enumerate().for_each(|(index, at)| *at += index as i64 * 7919 % 37);
    let mut seconds = sampled(Kind::Load);
    seconds.timestamps.iter_mut().skip(70).for_each(|at| *at += 3_600_000);
    let mixed = (0..70)
        .map(|index| if index % 3 == 0 { Value::Float(f64::from(index) / 8.0) } else { Value::Int(index.into()) });
    let mut exceptions: Vec<_> = (0..64).map(|index| f64::from(index * 7 % 100) / 10.0).collect();
    exceptions[9] = -0.0;
    exceptions[40] = f64::from_bits(0x7FF8_0000_0000_1234);
    let extremes = vec![i64::MIN, i64::MAX, 0, -1, 1, i64::MAX, i64::MIN];
    vec![
        ("block_1_constant_int", points(start, 15_000, ValueColumn::Int(vec![65_806_024; 100]))),
        ("block_1_constant_float", points(start, 15_000, ValueColumn::Float(vec![0.1; 100]))),
        ("block_1_one_point", points(start, 1, ValueColumn::Float(vec![19.7]))),
        ("block_1_int_extremes", points(-3, 1, ValueColumn::Int(extremes))),
        ("block_1_int_pages", sampled(Kind::DiskFree)),
        ("block_1_int_bursty", sampled(Kind::BurstyBytes)),
        ("block_1_int_jittered", irregular),
        ("block_1_decimal_gap", seconds),
        ("block_1_decimal_exceptions", points(start, 1000, ValueColumn::Float(exceptions))),
        ("block_1_float", sampled(Kind::Latency)),
        ("block_1_mixed", points(start, 60_000, ValueColumn::Mixed(mixed.collect()))),
    ]
}

fn segment_cases() -> Vec<(&'static str, Vec<SegmentRow>)> {
    let kinds = [Kind::BurstyBytes, Kind::Load, Kind::Latency, Kind::Constant, Kind::Percent];
    let row = |index: u64| {
        let mut series = SampleSeries::new(kinds[index as usize % kinds.len()], index);
        (((index % 5) << 32) | (index / 5), 1_790_000_000_000 + (index / 100) as i64, series.next())
    };
    let odd = [
        (u64::MAX, i64::MIN, Value::Int(i64::MIN)),
        (0, i64::MAX, Value::Float(f64::NAN)),
        (0, i64::MAX, Value::Int(1)),
    ];
    vec![
        ("segment_1_odd", odd.to_vec()),
        ("segment_1_plain", (0..60).map(row).collect()),
        ("segment_2_compressed", (0..300).map(row).collect()),
    ]
}

fn rollup_cases() -> Vec<(&'static str, RollupColumns)> {
    let row = |rows: &mut RollupColumns, interval: u32, values: [Value; 6]| {
        rows.intervals.push(interval);
        RollupField::ALL.into_iter().zip(values).for_each(|(field, value)| rows.column_mut(field).push(value));
    };
    let (mut days, mut gaps, mut odd) = (RollupColumns::default(), RollupColumns::default(), RollupColumns::default());
    let mut load = SampleSeries::new(Kind::Load, 3);
    for interval in 0..240 {
        let value = |int: i64| Value::Int(int * 1000 + i64::from(interval) * 7919 % 100);
        let (count, least) = (Value::Int(240), i64::from(interval));
        row(
            &mut days,
            interval,
            [count, value(240 * least), value(least), value(least + 1), value(least), value(least + 1)],
        );
        if interval % 7 != 3 && interval > 20 {
            let of = [load.next(), load.next(), load.next(), load.next(), load.next()];
            row(&mut gaps, interval, [Value::Int(i64::from(interval)), of[0], of[1], of[2], of[3], of[4]]);
        }
    }
    let extremes = [Value::Int(i64::MIN), Value::Float(-0.0), Value::Float(f64::NAN), Value::Int(i64::MAX)];
    for (interval, value) in [5, 6, 4_095].into_iter().zip(extremes) {
        row(&mut odd, interval, [Value::Int(1), Value::Float(f64::INFINITY), value, value, Value::Float(0.1), value]);
    }
    vec![("rollup_1_days", days), ("rollup_1_gaps", gaps), ("rollup_1_odd", odd)]
}

/// For a new version of a format: writes the files that are not there yet and leaves the others alone.
#[test]
#[ignore = "writes golden files; run by hand after a format got a new version"]
fn write_missing_golden_files() {
    let write = |name: &str, bytes: Vec<u8>, text: String| {
        let path = folder().join(name);
        if !path.with_extension("bin").exists() {
            fs::write(path.with_extension("bin"), bytes).unwrap();
            fs::write(path.with_extension("points"), text).unwrap();
        }
    };
    for (name, columns) in block_cases() {
        let mut bytes = Vec::new();
        encode_block(&columns.timestamps, &columns.values, &mut bytes).unwrap();
        write(name, bytes, text_of_points(&columns));
    }
    let series = (0..40).chain([77, 1_000_000, u32::MAX]).collect();
    let deletion = Deletion { metric: 12, series, range: TimeRange::new(-5, 1_790_000_000_000) };
    let mut bytes = Vec::new();
    encode_deletion(HEADER.writer, HEADER.sequence, &deletion, &mut bytes).unwrap();
    write("deletion_3", bytes, text_of_deletion(&deletion));
    for (name, rows) in rollup_cases() {
        let mut bytes = Vec::new();
        encode_rollup_block(&rows, &mut bytes).unwrap();
        write(name, bytes, text_of_rollups(&rows));
    }
    for (name, rows) in segment_cases() {
        let mut bytes = Vec::new();
        encode_segment(&HEADER, rows.iter().copied(), &mut bytes).unwrap();
        write(name, bytes, text_of_rows(&rows));
    }
}
