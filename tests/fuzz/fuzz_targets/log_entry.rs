//! The log: any bytes are a segment, a deletion or an error, and what is written comes back.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use roaring::RoaringBitmap;
use tidemark_fuzz::{AnyValue, checksummed};
use tidemark_model::TimeRange;
use tidemark_tsdb::codec::{
    DELETION_SERIES_MAX, Deletion, LogEntry, SEGMENT_BYTES_MAX, SegmentHeader, SegmentRow, decode_deletion,
    decode_log_entry, decode_segment, encode_deletion, encode_segment, peek_log_entry,
};

#[derive(Debug, Arbitrary)]
struct Written {
    writer: u64,
    sequence: u64,
    rows: Vec<(u64, i64, AnyValue)>,
    metric: u32,
    series: Vec<(u32, u8)>,
    range: (i64, i64),
}

fuzz_target!(|data: &[u8]| {
    decode(data);
    // Seeds have a checksum, which no mutation repairs.
    decode(&checksummed(data));
    if let Some(body) = data.len().checked_sub(8).and_then(|length| data.get(..length)) {
        decode(&checksummed(body));
    }
    compressed_rows(data);
    if let Ok(written) = Written::arbitrary(&mut arbitrary::Unstructured::new(data)) {
        segment_round_trip(&written);
        deletion_round_trip(&written);
    }
});

fn decode(data: &[u8]) {
    match decode_log_entry(data) {
        Ok(entry @ LogEntry::Segment(..)) => {
            assert_eq!(peek_log_entry(data), Ok(entry.identity()));
            let LogEntry::Segment(header, rows) = entry else { return };
            let mut count = 0;
            for row in rows {
                let Ok((_, timestamp, _)) = row else { return };
                assert!((header.min_timestamp..=header.max_timestamp).contains(&timestamp));
                count += 1;
            }
            assert_eq!(count, header.points);
        }
        Ok(entry @ LogEntry::Deletion(..)) => {
            assert_eq!(peek_log_entry(data), Ok(entry.identity()));
            let LogEntry::Deletion(identity, deletion) = entry else { return };
            assert!(!deletion.range.is_empty() && !deletion.series.is_empty());
            assert!(deletion.series.len() <= DELETION_SERIES_MAX);
            if data.len() > SEGMENT_BYTES_MAX / 2 || deletion.series.len() > 10_000 {
                return;
            }
            let mut bytes = Vec::new();
            encode_deletion(identity.writer, identity.sequence, &deletion, &mut bytes).expect("what was decoded");
            assert_eq!(decode_deletion(&bytes), Ok((identity.writer, identity.sequence, deletion)));
        }
        Err(_) => {}
    }
}

/// The rows of a compressed segment: what is inside of it is compressed here, or nothing would ever decompress.
fn compressed_rows(data: &[u8]) {
    let Some((header, rows)) = data.split_at_checked(24) else { return };
    let mut body = vec![2];
    body.extend_from_slice(header);
    let length = rows.len() as u32;
    body.extend_from_slice(&[length as u8 | 0x80, (length >> 7) as u8 | 0x80, (length >> 14) as u8 & 0x7F]);
    body.extend_from_slice(&zstd::bulk::compress(rows, 1).expect("compress"));
    decode(&checksummed(&body));
}

fn segment_round_trip(written: &Written) {
    let rows: Vec<SegmentRow> =
        written.rows.iter().map(|(series, timestamp, value)| (*series, *timestamp, value.value())).collect();
    let Written { writer, sequence, .. } = *written;
    let header = SegmentHeader { writer, sequence, points: 0, min_timestamp: 0, max_timestamp: 0 };
    let mut bytes = Vec::new();
    if encode_segment(&header, rows.iter().copied(), &mut bytes).is_err() {
        assert!(bytes.is_empty() && (rows.is_empty() || rows.len() > 500));
        return;
    }
    assert!(bytes.len() <= SEGMENT_BYTES_MAX);
    let (found, read) = decode_segment(&bytes).expect("what was encoded decodes");
    assert_eq!((found.writer, found.sequence, found.points as usize), (writer, sequence, rows.len()));
    let read: Vec<SegmentRow> = read.map(|row| row.expect("a row")).collect();
    assert_eq!(read.len(), rows.len());
    assert!(
        read.iter().zip(&rows).all(|(left, right)| left.0 == right.0 && left.1 == right.1 && left.2.same_bits(right.2))
    );
}

fn deletion_round_trip(written: &Written) {
    let mut series = RoaringBitmap::new();
    for &(first, length) in &written.series {
        series.insert_range(first..=first.saturating_add(u32::from(length) << 4));
    }
    let range = TimeRange { start: written.range.0, end: written.range.1 };
    let whole = Deletion { metric: written.metric, series, range };
    let mut left = whole.series.clone();
    for part in whole.clone().split() {
        let mut bytes = Vec::new();
        encode_deletion(written.writer, written.sequence, &part, &mut bytes).expect("a part of a split fits");
        let (.., found) = decode_deletion(&bytes).expect("what was encoded decodes");
        assert_eq!(found, part);
        assert!(part.series.is_subset(&left));
        left -= &part.series;
    }
    assert!(left.is_empty() || range.is_empty());
}
