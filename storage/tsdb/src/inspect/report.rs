//! What a check found.

use std::collections::BTreeMap;

use super::{EntryKind, Finding, FindingKind};

/// Findings that are kept; further ones are counted.
const FINDINGS_MAX: usize = 1_000;

/// What was looked at and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Entries and bytes by kind.
    pub kinds: BTreeMap<EntryKind, KindTotals>,
    /// Series of the index.
    pub series: u64,
    /// Points in visible blocks, counting a point once for each generation that has it.
    pub block_points: u64,
    /// Points in the log, counting overwritten ones.
    pub log_points: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Findings beyond those that are listed.
    pub findings_left_out: u64,
}

/// How much there is of a kind of entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindTotals {
    /// Entries.
    pub entries: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

impl CheckReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Entries and bytes of all kinds.
    #[must_use]
    pub fn totals(&self) -> KindTotals {
        self.kinds.values().fold(KindTotals::default(), |all, kind| KindTotals {
            entries: all.entries + kind.entries,
            bytes: all.bytes + kind.bytes,
        })
    }

    /// How many of the listed findings are of a kind.
    #[must_use]
    pub fn count(&self, kind: FindingKind) -> usize {
        self.findings.iter().filter(|finding| finding.kind == kind).count()
    }

    pub(crate) fn note(&mut self, key: &[u8], value: &[u8]) {
        let totals = self.kinds.entry(EntryKind::of(key)).or_default();
        totals.entries += 1;
        totals.bytes += (key.len() + value.len()) as u64;
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.findings_left_out += 1;
        }
    }
}
