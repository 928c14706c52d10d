//! A look at one entry, whatever lies beside it.

use bytes::Bytes;

use super::{Checker, Finding, FindingKind, Subject};

/// What is wrong with an entry alone: the shape of its key, its checksum, its fields, the points in it.
///
/// Nothing says whether it agrees with other entries; [`check_store`](super::check_store) does. The mark of a restore that
/// is under way is always a finding, and so is an entry of an unknown kind.
#[must_use]
pub fn check_entry(key: &Bytes, value: &Bytes) -> Vec<Finding> {
    let mut checker = Checker::new(Subject::Store);
    checker.entry(key, value);
    let mut findings = checker.into_findings();
    // What a directory names lies elsewhere.
    findings.retain(|finding| finding.kind != FindingKind::Missing);
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fence, inspect::EntryKind, keys, stored_value};

    #[test]
    fn a_sound_entry_has_no_findings_and_a_damaged_one_is_named() {
        let (key, value) = (keys::fence(3), Fence::NEW.encode());
        assert_eq!(check_entry(&key, &value), []);
        let mut rotten = value.to_vec();
        rotten[2] ^= 1;
        let findings = check_entry(&key, &rotten.into());
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].kind, findings[0].entry), (FindingKind::Damaged, EntryKind::Fence));
        assert_eq!(findings[0].key, key.escape_ascii().to_string());
        let unknown = check_entry(&Bytes::from_static(b"\xFFx"), &stored_value::build(1, |_| {}));
        assert_eq!(unknown.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [FindingKind::Unknown]);
    }
}
