//! Backups: any bytes are chunks or an error, chunks with right checksums too, and any chunks can be verified.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidemark_fuzz::checksummed;
use tidemark_tsdb::backup::{BackupFile, BackupHeader, BackupVerifier, HEADER_BYTES};

static HEADER: LazyLock<Vec<u8>> = LazyLock::new(|| BackupHeader { id: [7; 16], created_ms: 5 }.encode().to_vec());

fuzz_target!(|data: &[u8]| {
    read(data);
    read(&[&HEADER, data].concat());
    read(&repaired(data));
    read(&packed(data));
});

fn read(bytes: &[u8]) {
    let Ok(mut file) = BackupFile::open(bytes) else { return };
    let mut verifier = BackupVerifier::default();
    while let Ok(Some(chunk)) = file.next_chunk() {
        assert!(file.offset() <= bytes.len() as u64);
        if verifier.chunk(&chunk).is_err() {
            break;
        }
    }
    let summary = verifier.finish();
    assert!(summary.report.findings.iter().all(|finding| !finding.problem.is_empty()));
}

/// A file with the checksum of its header and of each chunk put right.
fn repaired(data: &[u8]) -> Vec<u8> {
    let mut out = HEADER.clone();
    let mut rest = data.get(HEADER_BYTES..).unwrap_or_default();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((chunk, behind)) = behind.split_at_checked(length) else { break };
        let Some(content) = length.checked_sub(8).and_then(|length| chunk.get(..length)) else { break };
        out.extend_from_slice(&checksummed(&[&(length as u32).to_le_bytes(), content].concat()));
        rest = behind;
    }
    out
}

/// Chunks whose entries are compressed here: a byte with the kind, the length of its entries in two bytes, the entries.
fn packed(data: &[u8]) -> Vec<u8> {
    let mut out = HEADER.clone();
    let mut rest = data;
    while let Some((&[kind, low, high], behind)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(behind.len());
        let (entries, behind) = behind.split_at(length);
        rest = behind;
        // A kind, a shard where there is one, a cursor at its start, the bytes of the entries.
        let mut content = vec![1 + kind % 3];
        if content == [2] {
            content.push(kind / 3);
        }
        content.extend_from_slice(&[3, 1, 0, 0, length as u8 | 0x80, (length >> 7) as u8 | 0x80, (length >> 14) as u8]);
        content.extend_from_slice(&zstd::bulk::compress(entries, 1).expect("compress"));
        let chunk_bytes = content.len() as u32 + 8;
        out.extend_from_slice(&checksummed(&[&chunk_bytes.to_le_bytes(), content.as_slice()].concat()));
    }
    out
}
