//! Stored values of every kind: any entry is sound or has findings. Input: as `parse_entry` says.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidemark_fuzz::{checksummed, parse_entry};
use tidemark_tsdb::inspect::{EntryKind, check_entry};

fuzz_target!(|data: &[u8]| {
    let Some((key, body)) = parse_entry(data) else { return };
    for value in [checksummed(body), Bytes::copy_from_slice(body)] {
        let findings = check_entry(&key, &value);
        assert!(findings.len() <= 1, "{findings:?}");
        assert!(findings.iter().all(|finding| finding.entry == EntryKind::of(&key)));
    }
});
