//! All formats through their public functions: round trips, limits, damage.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test helpers fail by panicking")]

mod golden;
mod rollups;
mod sample_series;
mod sizes;

use proptest::prelude::*;
use tidemark_model::{PointColumns, TimeRange, Value, ValueColumn};

use tidemark_tsdb::codec::{
    BLOCK_POINTS_MAX, BlockKind, CodecError, SEGMENT_BYTES_MAX, SegmentHeader, SegmentRow, decode_block,
    decode_segment, encode_block, encode_segment, peek_block,
};

fn same(left: &PointColumns, right: &PointColumns) -> bool {
    let pairs = left.values.iter().zip(right.values.iter());
    left.timestamps == right.timestamps
        && left.values.len() == right.values.len()
        && pairs.into_iter().all(|(left, right)| left.same_bits(right))
}

fn encoded(columns: &PointColumns) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_block(&columns.timestamps, &columns.values, &mut bytes).unwrap();
    bytes
}

fn decoded(bytes: &[u8], range: TimeRange) -> Result<PointColumns, CodecError> {
    let mut columns = PointColumns::default();
    decode_block(bytes, range, &mut columns)?;
    Ok(columns)
}

/// Encodes, peeks and decodes; gives the bytes.
fn check(columns: &PointColumns) -> Vec<u8> {
    let bytes = encoded(columns);
    let header = peek_block(&bytes).unwrap();
    assert_eq!(header.points as usize, columns.len());
    assert_eq!(Some(&header.first_timestamp), columns.timestamps.first());
    assert_eq!(Some(&header.last_timestamp), columns.timestamps.last());
    let back = decoded(&bytes, TimeRange { start: i64::MIN, end: i64::MAX }).unwrap();
    // `TimeRange::ALL` ends before the greatest timestamp.
    let whole = columns.timestamps.last() < Some(&i64::MAX);
    assert!(!whole || same(&back, columns), "{columns:?} became {back:?}");
    bytes
}

fn points(start: i64, step: i64, values: ValueColumn) -> PointColumns {
    let timestamps = (0..values.len() as i64).map(|index| start + step * index).collect();
    PointColumns { timestamps, values }
}

#[test]
fn a_constant_series_takes_a_few_bytes_and_tells_its_value() {
    let bytes = check(&points(1_700_000_000_000, 15_000, ValueColumn::Int(vec![65_806_024; 480])));
    assert!(bytes.len() <= 20, "{}", bytes.len());
    assert_eq!(peek_block(&bytes).unwrap().constant, Some(Value::Int(65_806_024)));
    let bytes = check(&points(1_700_000_000_000, 15_000, ValueColumn::Float(vec![0.0; 5760])));
    assert!(bytes.len() <= 16, "{}", bytes.len());
    assert_eq!(peek_block(&bytes).unwrap().constant, Some(Value::Float(0.0)));
}

#[test]
fn odd_doubles_come_back_bit_by_bit() {
    let odd = [0.0, -0.0, f64::NAN, -f64::NAN, f64::from_bits(0x7FF8_0000_DEAD_BEEF), f64::INFINITY, f64::NEG_INFINITY];
    let odd = [&odd[..], &[5e-324, -5e-324, f64::MIN_POSITIVE, f64::MAX, f64::MIN, 1.5, 0.1 + 0.2]].concat();
    for &double in &odd {
        check(&points(0, 1, ValueColumn::Float(vec![double])));
        check(&points(0, 1, ValueColumn::Float(vec![double; 3])));
        // One among many decimals is an exception, whatever its place.
        for place in [0, 20, 63] {
            let mut decimals: Vec<_> = (0..64).map(|index| f64::from(index * 7 % 100) / 10.0).collect();
            decimals[place] = double;
            let bytes = check(&points(0, 1000, ValueColumn::Float(decimals)));
            assert_eq!(peek_block(&bytes).unwrap().kind, BlockKind::Decimal);
        }
    }
    check(&points(-5, 7, ValueColumn::Float(odd)));
}

#[test]
fn extreme_integers_and_timestamps_come_back() {
    let ints = vec![i64::MIN, i64::MAX, 0, -1, 1, i64::MAX, i64::MIN, i64::MIN + 1];
    check(&points(0, 1, ValueColumn::Int(ints)));
    check(&points(i64::MIN, 1, ValueColumn::Int(vec![1, 2])));
    let timestamps = vec![i64::MIN, -7, 0, 3, i64::MAX - 1];
    check(&PointColumns { timestamps, values: ValueColumn::Int(vec![5, 4, 3, 2, 1]) });
    let bytes = encoded(&PointColumns { timestamps: vec![i64::MIN, i64::MAX], values: ValueColumn::Int(vec![1, 2]) });
    assert_eq!(decoded(&bytes, TimeRange { start: 0, end: i64::MAX }).unwrap().len(), 0);
    assert_eq!(decoded(&bytes, TimeRange::ALL).unwrap().timestamps, [i64::MIN]);
}

#[test]
fn mixed_columns_keep_the_type_of_every_value() {
    let values =
        (0..300).map(|index| if index % 7 == 0 { Value::Float(f64::from(index)) } else { Value::Int(index.into()) });
    let bytes = check(&points(0, 60_000, ValueColumn::Mixed(values.collect())));
    assert_eq!(peek_block(&bytes).unwrap().kind, BlockKind::Mixed);
    let only_ints = ValueColumn::Mixed(vec![Value::Int(1), Value::Int(2)]);
    assert_eq!(peek_block(&encoded(&points(0, 1, only_ints))).unwrap().kind, BlockKind::Int);
    let only_floats = ValueColumn::Mixed(vec![Value::Float(1.5), Value::Float(2.5)]);
    assert_eq!(peek_block(&encoded(&points(0, 1, only_floats))).unwrap().kind, BlockKind::Decimal);
}

#[test]
fn blocks_of_different_types_append_to_one_column() {
    let ints = encoded(&points(0, 1, ValueColumn::Int(vec![1, 2])));
    let floats = encoded(&points(10, 1, ValueColumn::Float(vec![0.5, 0.25])));
    let mixed = encoded(&points(20, 1, ValueColumn::Mixed(vec![Value::Int(7), Value::Float(7.0)])));
    let mut columns = PointColumns::default();
    for bytes in [&ints, &ints, &floats, &mixed, &ints] {
        let shifted = columns.clone();
        decode_block(bytes, TimeRange::ALL, &mut columns).unwrap();
        assert_eq!(columns.len(), shifted.len() + 2);
        assert!(shifted.values.iter().zip(columns.values.iter()).all(|(before, after)| before.same_bits(after)));
    }
    let mut columns = PointColumns::default();
    decode_block(&floats, TimeRange::ALL, &mut columns).unwrap();
    assert_eq!(columns.values, ValueColumn::Float(vec![0.5, 0.25]));
    columns.clear();
    decode_block(&ints, TimeRange::ALL, &mut columns).unwrap();
    assert_eq!(columns.values, ValueColumn::Int(vec![1, 2]));
}

#[test]
fn only_the_points_inside_the_range_come_back() {
    let bytes = encoded(&points(1000, 10, ValueColumn::Int((0..100).collect())));
    for (start, end, expected) in
        [(0, 1000, 0..0), (0, 1001, 0..1), (1005, 1030, 1..3), (1990, 5000, 99..100), (1991, 5000, 0..0), (5, 5, 0..0)]
    {
        let mut columns = points(0, 1, ValueColumn::Int(vec![-1]));
        decode_block(&bytes, TimeRange::new(start, end), &mut columns).unwrap();
        let values: Vec<_> = [-1].into_iter().chain(expected.clone()).collect();
        assert_eq!(columns.values, ValueColumn::Int(values), "{start}..{end}");
        assert_eq!(columns.timestamps.len(), 1 + expected.count());
    }
}

#[test]
fn what_cannot_be_a_block_is_refused() {
    let encode = |timestamps: &[i64], ints: Vec<i64>| {
        let mut out = vec![9];
        let result = encode_block(timestamps, &ValueColumn::Int(ints), &mut out);
        assert_eq!(out, [9]);
        result.unwrap_err()
    };
    assert_eq!(encode(&[], vec![]), CodecError::Empty);
    assert_eq!(encode(&[1], vec![]), CodecError::UnequalColumns { timestamps: 1, values: 0 });
    assert_eq!(encode(&[1, 2, 2], vec![1, 2, 3]), CodecError::NotAscending { index: 2 });
    assert_eq!(encode(&[1, 0], vec![1, 2]), CodecError::NotAscending { index: 1 });
    let many: Vec<_> = (0..=BLOCK_POINTS_MAX as i64).collect();
    assert!(matches!(encode(&many, many.clone()), CodecError::TooManyPoints { .. }));
    assert_eq!(decoded(&[2, 0, 1, 0, 0, 0], TimeRange::ALL), Err(CodecError::UnknownFormat(2)));
    assert_eq!(decoded(&[], TimeRange::ALL), Err(CodecError::Truncated));
    let mut long = encoded(&points(0, 1, ValueColumn::Int(vec![1, 2, 3])));
    long.push(0);
    assert!(matches!(decoded(&long, TimeRange::ALL), Err(CodecError::Damaged(_))));
}

#[test]
fn a_huge_count_in_a_few_bytes_takes_no_memory() {
    // Format 1, integers, 131,072 points, first timestamp 0, span 131,071, nothing else.
    let bytes = [1, 1, 0x80, 0x80, 0x08, 0, 0xFF, 0xFF, 0x07];
    let mut columns = PointColumns::default();
    assert_eq!(decode_block(&bytes, TimeRange::ALL, &mut columns), Err(CodecError::Truncated));
    assert_eq!((columns.timestamps.capacity(), columns.len()), (0, 0));
    let bytes = [1, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, 0];
    assert!(matches!(decoded(&bytes, TimeRange::ALL), Err(CodecError::TooManyPoints { .. })));
}

fn any_double() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-100_000_i64..100_000, 0_i32..5).prop_map(|(digits, exponent)| digits as f64 / 10_f64.powi(exponent)),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => Just(-0.0),
    ]
}

fn any_int() -> impl Strategy<Value = i64> {
    prop_oneof![3 => -1000_i64..1000, 1 => any::<i64>(), 1 => Just(i64::MIN), 1 => (0_i64..1 << 40).prop_map(|int| int * 4096)]
}

fn any_column(count: usize) -> impl Strategy<Value = ValueColumn> {
    let value = prop_oneof![any_int().prop_map(Value::Int), any_double().prop_map(Value::Float)];
    let walk = prop::collection::vec(-50_i64..5000, count).prop_map(|steps| {
        let sum = |total: &mut i64, step| {
            *total += step;
            Some(*total)
        };
        ValueColumn::Int(steps.into_iter().scan(0, sum).collect())
    });
    let smooth = prop::collection::vec(0.0..1.0, count).prop_map(|noise: Vec<f64>| ValueColumn::Float(noise));
    prop_oneof![
        prop::collection::vec(any_int(), count).prop_map(ValueColumn::Int),
        walk,
        prop::collection::vec(any_double(), count).prop_map(ValueColumn::Float),
        smooth,
        prop::collection::vec(value, count).prop_map(ValueColumn::Mixed),
    ]
}

fn any_timestamps(count: usize) -> impl Strategy<Value = Vec<i64>> {
    let ascending = |start: i64, steps: Vec<i64>| {
        let sum = |total: &mut i64, step| {
            *total += step;
            Some(*total)
        };
        steps.into_iter().scan(start, sum).collect()
    };
    let jitter = prop::collection::vec(prop_oneof![9 => 990_i64..1010, 1 => 1_i64..1 << 45], count);
    let seconds = prop::collection::vec((1_i64..20).prop_map(|seconds| seconds * 1000), count);
    (-(1_i64 << 50)..1 << 50, prop_oneof![jitter, seconds, Just(vec![15_000; count])])
        .prop_map(move |(start, steps)| ascending(start, steps))
}

fn any_points() -> impl Strategy<Value = PointColumns> {
    (1_usize..300).prop_flat_map(|count| {
        (any_timestamps(count), any_column(count)).prop_map(|(timestamps, values)| PointColumns { timestamps, values })
    })
}

fn any_rows() -> impl Strategy<Value = Vec<SegmentRow>> {
    let value = prop_oneof![any_int().prop_map(Value::Int), any_double().prop_map(Value::Float)];
    let series = prop_oneof![3 => 0_u64..50, 1 => any::<u64>()];
    let timestamp = prop_oneof![3 => Just(1_700_000_000_000_i64), 1 => any::<i64>()];
    prop::collection::vec((series, timestamp, value), 1..600)
}

const HEADER: SegmentHeader =
    SegmentHeader { writer: 0xDEAD_BEEF_0BAD_CAFE, sequence: 300, points: 0, min_timestamp: 0, max_timestamp: 0 };

fn segment(rows: &[SegmentRow]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_segment(&HEADER, rows.iter().copied(), &mut bytes).unwrap();
    bytes
}

fn check_segment(rows: &[SegmentRow]) -> Vec<u8> {
    let bytes = segment(rows);
    let (header, read) = decode_segment(&bytes).unwrap();
    let read: Vec<_> = read.map(Result::unwrap).collect();
    assert_eq!((header.writer, header.sequence, header.points as usize), (HEADER.writer, HEADER.sequence, rows.len()));
    assert_eq!(Some(header.min_timestamp), rows.iter().map(|row| row.1).min());
    assert_eq!(Some(header.max_timestamp), rows.iter().map(|row| row.1).max());
    assert_eq!(read.len(), rows.len());
    assert!(
        rows.iter().zip(&read).all(|(left, right)| left.0 == right.0 && left.1 == right.1 && left.2.same_bits(right.2))
    );
    bytes
}

#[test]
fn rows_of_one_flush_are_small_and_come_back_in_their_order() {
    let rows: Vec<_> =
        (0..4000_u64).map(|index| (((index % 20) << 32) | (index / 20), 1_700_000_000_000, Value::Int(3))).collect();
    let bytes = check_segment(&rows);
    assert!(bytes.len() < 4000, "{}", bytes.len());
    // The same series and timestamp twice: the order decides who wins.
    check_segment(&[(5, 1, Value::Int(1)), (5, 1, Value::Float(2.5)), (5, 0, Value::Float(f64::NAN))]);
}

#[test]
fn too_many_rows_are_refused_with_the_bytes_that_they_would_take() {
    let rows = (0..10_000_u64)
        .map(|index| (index.wrapping_mul(0x9E37_79B9_7F4A_7C15), index as i64, Value::Float(1.0 / index as f64)));
    let mut out = vec![7];
    match encode_segment(&HEADER, rows, &mut out).unwrap_err() {
        CodecError::TooManyBytes { bytes, limit } => assert!(bytes > limit && limit == SEGMENT_BYTES_MAX),
        other => panic!("expected too many bytes, got {other}"),
    }
    assert_eq!(out, [7]);
    assert_eq!(encode_segment(&HEADER, [], &mut out), Err(CodecError::Empty));
}

#[test]
fn every_flipped_bit_of_a_segment_is_noticed() {
    let rows: Vec<_> = (0..300_u64).map(|index| (index * index, index as i64, Value::Int(index as i64))).collect();
    for rows in [&rows[..20], &rows[..]] {
        let bytes = segment(rows);
        for bit in 0..bytes.len() * 8 {
            let mut rotten = bytes.clone();
            rotten[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_segment(&rotten).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(decode_segment(&bytes[..length]).is_err(), "cut to {length}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn blocks_come_back(points in any_points()) {
        check(&points);
    }

    #[test]
    fn a_part_of_a_block_is_what_filtering_gives(points in any_points(), from in 0_usize..300, to in 0_usize..300) {
        let at = |index: usize| points.timestamps[index % points.len()];
        let range = TimeRange::new(at(from), at(to));
        let expected: PointColumns =
            points.iter().filter(|point| range.contains(point.timestamp)).map(|point| (point.timestamp, point.value)).collect();
        prop_assert!(same(&decoded(&encoded(&points), range).unwrap(), &expected));
    }

    #[test]
    fn segments_come_back(rows in any_rows()) {
        check_segment(&rows);
    }

    #[test]
    fn arbitrary_bytes_are_no_danger(mut bytes in prop::collection::vec(any::<u8>(), 0..300), kinds in 0_u8..32) {
        read_everything(&bytes);
        if bytes.len() > 2 {
            bytes[0] = 1;
            bytes[1] = kinds;
            read_everything(&bytes);
        }
    }
}

/// Decodes bytes as everything that they could be.
fn read_everything(bytes: &[u8]) {
    let mut columns = points(0, 1, ValueColumn::Int(vec![1, 2]));
    let before = columns.clone();
    let result = decode_block(bytes, TimeRange::ALL, &mut columns);
    assert!(columns.timestamps.is_sorted_by(|left, right| left < right) || columns.len() > 2);
    assert_eq!(columns.timestamps.len(), columns.values.len());
    if result.is_err() {
        assert!(same(&columns, &before));
    } else if let Some(header) = peek_block(bytes).ok().filter(|header| header.last_timestamp < i64::MAX) {
        assert_eq!(columns.len(), 2 + header.points as usize);
    }
    if let Ok((header, rows)) = decode_segment(bytes) {
        assert!(rows.count() <= header.points as usize);
    }
}

/// Changes valid bytes in a few places, again and again, from a fixed seed.
#[test]
fn mutations_of_valid_bytes_are_no_danger() {
    let decimals = (0..200).map(|index| f64::from(index * 37 % 1000) / 10.0);
    let doubles = (1..150).map(|index| 1.0 / f64::from(index));
    let mixed = (0..90)
        .map(|index| if index % 3 == 0 { Value::Int(index.into()) } else { Value::Float(f64::from(index) / 4.0) });
    let mut irregular = points(0, 1000, ValueColumn::Int((0..130).map(|index| index * index).collect()));
    irregular.timestamps.iter_mut().skip(50).for_each(|timestamp| *timestamp += 77_777);
    let blocks = [
        encoded(&irregular),
        encoded(&points(0, 10, ValueColumn::Float(decimals.collect()))),
        encoded(&points(0, 10, ValueColumn::Float(doubles.collect()))),
        encoded(&points(0, 10, ValueColumn::Mixed(mixed.collect()))),
        encoded(&points(0, 10, ValueColumn::Int(vec![5; 100]))),
    ];
    let rows: Vec<_> =
        (0..300_u64).map(|index| (index * 3, index as i64, Value::Int((index * index) as i64))).collect();
    let segments = [segment(&rows[..100]), segment(&rows)];

    let mut state = 0x0123_4567_89AB_CDEF_u64;
    let mut draw = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..100_000 {
        let is_segment = round % 4 == 0;
        let valid = if is_segment { &segments[draw(segments.len())] } else { &blocks[draw(blocks.len())] };
        let mut bytes = valid.clone();
        for _ in 0..=draw(4) {
            let at = draw(bytes.len());
            match draw(4) {
                0 => bytes[at] ^= 1 << draw(8),
                1 => bytes[at] = draw(256) as u8,
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, draw(256) as u8),
            }
        }
        if is_segment && bytes.len() > 8 {
            // With the right checksum, or the decoder would never look further.
            let body = bytes.len() - 8;
            let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[..body]).to_le_bytes();
            bytes[body..].copy_from_slice(&checksum);
        }
        read_everything(&bytes);
    }
}
