//! Rollup blocks: round trips, limits, damage.

use proptest::prelude::*;
use tidemark_model::Value;
use tidemark_tsdb::codec::{
    CodecError, ROLLUP_ROWS_MAX, RollupColumns, RollupField, decode_rollup_block, encode_rollup_block,
};

type Row = (u32, [Value; 6]);

fn columns(rows: &[Row]) -> RollupColumns {
    let mut columns = RollupColumns::default();
    for (interval, values) in rows {
        columns.intervals.push(*interval);
        for (field, value) in RollupField::ALL.into_iter().zip(values) {
            columns.column_mut(field).push(*value);
        }
    }
    columns
}

fn encoded(rows: &[Row]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_rollup_block(&columns(rows), &mut bytes).unwrap();
    bytes
}

fn rows_of(columns: &RollupColumns) -> Vec<Row> {
    let value = |field: RollupField, row| columns.column(field).get(row).unwrap();
    let row = |(row, interval): (usize, &u32)| (*interval, RollupField::ALL.map(|field| value(field, row)));
    columns.intervals.iter().enumerate().map(row).collect()
}

fn same(left: &[Row], right: &[Row]) -> bool {
    let same_row = |(left, right): (&Row, &Row)| {
        left.0 == right.0 && left.1.iter().zip(right.1).all(|(left, right)| left.same_bits(right))
    };
    left.len() == right.len() && left.iter().zip(right).all(same_row)
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::Int),
        (-1000_i64..1000).prop_map(Value::Int),
        any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        (-1000_i32..1000).prop_map(|digits| Value::Float(f64::from(digits) / 10.0)),
    ]
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let intervals = prop_oneof![
        prop::collection::btree_set(0_u32..ROLLUP_ROWS_MAX as u32, 1..100),
        (0_u32..1000, 1_u32..100).prop_map(|(first, count)| (first..first + count).collect()),
    ];
    intervals.prop_flat_map(|intervals| {
        let count = intervals.len();
        let values = prop::collection::vec(prop::array::uniform6(any_value()), count..=count);
        values.prop_map(move |values| intervals.iter().copied().zip(values).collect())
    })
}

proptest! {
    #[test]
    fn rows_come_back_bit_by_bit(rows in any_rows()) {
        let mut found = RollupColumns::default();
        let bytes = encoded(&rows);
        decode_rollup_block(&bytes, &RollupField::ALL, &mut found).unwrap();
        prop_assert!(same(&rows_of(&found), &rows));
        for field in RollupField::ALL {
            decode_rollup_block(&bytes, &[field], &mut found).unwrap();
            let expect = columns(&rows);
            prop_assert_eq!(found.column(field).len(), rows.len());
            let mut pairs = found.column(field).iter().zip(expect.column(field).iter());
            prop_assert!(pairs.all(|(left, right)| left.same_bits(right)));
            let mut others = RollupField::ALL.into_iter().filter(|other| *other != field);
            prop_assert!(others.all(|other| found.column(other).is_empty()));
        }
    }

    #[test]
    fn damaged_blocks_give_an_error_or_rows_in_order(
        rows in any_rows(),
        position in any::<prop::sample::Index>(),
        bits in 1_u8..,
        cut in any::<bool>(),
    ) {
        let mut bytes = encoded(&rows);
        let position = position.index(bytes.len());
        if cut {
            bytes.truncate(position);
        } else {
            bytes[position] ^= bits;
        }
        let mut found = RollupColumns::default();
        let decoded = decode_rollup_block(&bytes, &RollupField::ALL, &mut found);
        prop_assert!(!cut || decoded.is_err());
        if decoded.is_ok() {
            prop_assert!(found.intervals.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(found.len() <= ROLLUP_ROWS_MAX);
            prop_assert!(RollupField::ALL.into_iter().all(|field| found.column(field).len() == found.len()));
        }
    }

    #[test]
    fn any_bytes_give_an_error_or_rows(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut found = RollupColumns::default();
        if decode_rollup_block(&bytes, &RollupField::ALL, &mut found).is_ok() {
            prop_assert!(found.len() <= ROLLUP_ROWS_MAX);
        }
    }
}

#[test]
fn what_is_no_block_is_refused() {
    let row = |interval| (interval, [Value::Int(1); 6]);
    let refused = |rows: &[Row]| encode_rollup_block(&columns(rows), &mut Vec::new()).unwrap_err();
    assert_eq!(refused(&[]), CodecError::Empty);
    assert_eq!(refused(&[row(3), row(3)]), CodecError::NotAscending { index: 1 });
    assert_eq!(refused(&[row(4_096)]), CodecError::TooManyPoints { points: 4_097, limit: 4_096 });
    let mut short = columns(&[row(1), row(2)]);
    short.column_mut(RollupField::Last).clear();
    let error = encode_rollup_block(&short, &mut Vec::new()).unwrap_err();
    assert_eq!(error, CodecError::UnequalColumns { timestamps: 2, values: 0 });
    assert_eq!(decode_rollup_block(&[9], &[], &mut RollupColumns::default()), Err(CodecError::UnknownFormat(9)));
    // Ten days of a constant hour.
    let constant: Vec<Row> = (0..240).map(row).collect();
    assert!(encoded(&constant).len() < 32, "{}", encoded(&constant).len());
}
