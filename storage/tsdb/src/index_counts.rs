//! How many names and series there are, and how many names were changed: what everybody who changes the index expects to
//! find unchanged. Byte map: `docs/format/counters.md`.

use bytes::Bytes;

use crate::{ByteReader, Index, StoreError, index_rows::NAME_KINDS, keys, put_varint, stored_value};

/// For an index in which no name was ever changed.
const FORMAT: u8 = 1;
/// With the number of changed names. Programs that do not know of these refuse it.
const FORMAT_WITH_RENAMES: u8 = 2;

/// The size of an index, and its age: no two states of it have the same counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexCounts {
    /// Metrics, tag keys and tag values.
    pub(crate) names: [u64; 3],
    pub(crate) series: u64,
    /// Names that were changed, each as often as it was.
    pub(crate) renames: u64,
}

impl IndexCounts {
    pub(crate) fn of(index: &Index) -> Self {
        Self {
            names: NAME_KINDS.map(|kind| index.names(kind).len() as u64),
            series: index.len() as u64,
            renames: index.renames(),
        }
    }

    /// All of them together: what the index log counts by.
    pub(crate) fn total(&self) -> u64 {
        self.names.iter().chain([&self.series, &self.renames]).fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// After so many more changes of names.
    pub(crate) fn renamed(self, more: usize) -> Self {
        Self { renames: self.renames.saturating_add(more as u64), ..self }
    }

    /// The row as a commit expects it: an empty store has none.
    pub(crate) fn expected(&self) -> Option<Bytes> {
        (self.total() > 0).then(|| self.encode())
    }

    pub(crate) fn encode(&self) -> Bytes {
        let format = if self.renames == 0 { FORMAT } else { FORMAT_WITH_RENAMES };
        stored_value::build(format, |out| {
            self.names.iter().chain([&self.series]).for_each(|&count| put_varint(out, count));
            if self.renames > 0 {
                put_varint(out, self.renames);
            }
        })
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self, StoreError> {
        if value.first() == Some(&FORMAT_WITH_RENAMES) {
            let with_renames = |reader: &mut ByteReader<'_>| {
                let counts = read(reader)?;
                Some(Self { renames: reader.varint()?, ..counts })
            };
            return stored_value::read(FORMAT_WITH_RENAMES, keys::COUNTERS, value, with_renames);
        }
        stored_value::read(FORMAT, keys::COUNTERS, value, read)
    }
}

fn read(reader: &mut ByteReader<'_>) -> Option<IndexCounts> {
    let names = [reader.varint()?, reader.varint()?, reader.varint()?];
    Some(IndexCounts { names, series: reader.varint()?, renames: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_their_bytes_and_older_programs_read_those_without_renames() {
        let counts = IndexCounts { names: [1, 2, 300], series: 70_000, renames: 0 };
        assert_eq!(counts.encode().first(), Some(&1));
        assert_eq!(IndexCounts::decode(&counts.encode()), Ok(counts));
        let renamed = IndexCounts { renames: 200, ..counts };
        assert_eq!(renamed.encode().first(), Some(&2));
        assert_eq!(IndexCounts::decode(&renamed.encode()), Ok(renamed));
        assert_eq!((renamed.total(), IndexCounts::default().expected()), (70_503, None));
    }
}
