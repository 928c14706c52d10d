//! Points on their way into the store.

use thiserror::Error;

use crate::{SeriesKey, TimestampMs, Value};

/// Points of any series in columns: a dictionary of series keys, then series index, timestamp and value of each point.
///
/// The dictionary may name a series twice; the order of the points is the order in which they were sent, and of two
/// points of one series at one timestamp the later wins. All names are legal and all values finite: a
/// [`crate::PointBatchBuilder`] checks at the rim, so that nothing below fails because of a shape somebody sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PointBatch {
    /// Canonical texts of the series, one after the other.
    pub(crate) keys: String,
    /// Where each series' text ends in `keys`.
    pub(crate) key_ends: Vec<u32>,
    pub(crate) series: Vec<u32>,
    pub(crate) timestamps: Vec<TimestampMs>,
    /// Bits of the integer or of the double.
    pub(crate) bits: Vec<u64>,
    pub(crate) floats: Vec<bool>,
}

/// One point of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PointRef {
    /// Position of its series in the batch's dictionary.
    pub series: usize,
    /// When, in milliseconds since the epoch.
    pub timestamp: TimestampMs,
    /// What.
    pub value: Value,
}

/// Why columns that came from outside the process are no batch.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The columns differ in length.
    #[error("columns of {series}, {timestamps}, {bits} and {floats} entries are no batch: their lengths must be equal")]
    UnequalColumns {
        /// Entries of the series column.
        series: usize,
        /// Entries of the timestamp column.
        timestamps: usize,
        /// Entries of the value column.
        bits: usize,
        /// Entries of the column that tells integers from doubles.
        floats: usize,
    },
    /// A point names a series that the dictionary does not have.
    #[error("point {point} names series {series} of {known}")]
    UnknownSeries {
        /// Position of the point.
        point: usize,
        /// The series it names.
        series: u32,
        /// Series in the dictionary.
        known: usize,
    },
    /// The dictionary is cut at places that are not inside its text.
    #[error("series {series} of the dictionary ends outside its text")]
    BrokenDictionary {
        /// Position of the series.
        series: usize,
    },
    /// A name in the dictionary is illegal.
    #[error("series {series} of the dictionary has an illegal name: {reason}")]
    IllegalName {
        /// Position of the series.
        series: usize,
        /// What is wrong.
        reason: crate::NameError,
    },
    /// A value is NaN or infinite.
    #[error("point {point} is NaN or infinite")]
    NotFinite {
        /// Position of the point.
        point: usize,
    },
}

impl PointBatch {
    /// Number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is no point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Number of entries in the dictionary.
    #[must_use]
    pub fn series_count(&self) -> usize {
        self.key_ends.len()
    }

    /// Canonical text of a series of the dictionary (see [`SeriesKey`]); empty when there is no such series.
    #[must_use]
    pub fn series_text(&self, series: usize) -> &str {
        let end = self.key_ends.get(series).map_or(0, |&end| end as usize);
        let start = match series.checked_sub(1) {
            Some(before) => self.key_ends.get(before).map_or(0, |&end| end as usize),
            None => 0,
        };
        self.keys.get(start..end).unwrap_or_default()
    }

    /// A series of the dictionary.
    #[must_use]
    pub fn series_key(&self, series: usize) -> SeriesKey {
        SeriesKey::from_canonical(self.series_text(series))
    }

    /// The points in the order in which they were sent.
    pub fn points(&self) -> impl ExactSizeIterator<Item = PointRef> + '_ {
        self.columns().map(|(series, timestamp, bits, float)| PointRef {
            series: series as usize,
            timestamp,
            value: if float { Value::Float(f64::from_bits(bits)) } else { Value::Int(bits.cast_signed()) },
        })
    }

    /// The raw columns: series index, timestamp, bits of the value, whether it is a double.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = (u32, TimestampMs, u64, bool)> + '_ {
        self.series
            .iter()
            .zip(&self.timestamps)
            .zip(self.bits.iter().zip(&self.floats))
            .map(|((&series, &timestamp), (&bits, &float))| (series, timestamp, bits, float))
    }

    /// The parts that a wire format has to carry, for [`PointBatch::from_parts`] on the other side:
    /// texts of the dictionary, their ends, series, timestamps, bits, whether each is a double.
    #[must_use]
    #[expect(clippy::type_complexity, reason = "the six columns, borrowed; a struct for it would only repeat them")]
    pub fn parts(&self) -> (&str, &[u32], &[u32], &[TimestampMs], &[u64], &[bool]) {
        (&self.keys, &self.key_ends, &self.series, &self.timestamps, &self.bits, &self.floats)
    }

    /// Puts a batch together from parts that came from outside the process.
    ///
    /// # Errors
    /// Says which part is damaged: the columns, the dictionary, a name or a value.
    pub fn from_parts(
        keys: String,
        key_ends: Vec<u32>,
        series: Vec<u32>,
        timestamps: Vec<TimestampMs>,
        bits: Vec<u64>,
        floats: Vec<bool>,
    ) -> Result<Self, BatchError> {
        let batch = Self { keys, key_ends, series, timestamps, bits, floats };
        batch.check_columns()?;
        batch.check_dictionary()?;
        Ok(batch)
    }

    /// The points for which `keep` holds, with the series that they need and no others, and the position of each in this
    /// batch.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(PointRef) -> bool) -> (Self, Vec<usize>) {
        let mut kept = Self::default();
        let mut positions = Vec::new();
        let mut series_of = vec![None; self.series_count()];
        for (position, point) in self.points().enumerate() {
            let Some(series) = series_of.get_mut(point.series).filter(|_| keep(point)) else { continue };
            let series = *series.get_or_insert_with(|| {
                kept.keys.push_str(self.series_text(point.series));
                // The texts of a part are no longer than the whole, and its series no more.
                kept.key_ends.push(kept.keys.len() as u32);
                kept.key_ends.len() as u32 - 1
            });
            let (bits, float) = match point.value {
                Value::Int(int) => (int.cast_unsigned(), false),
                Value::Float(float) => (float.to_bits(), true),
            };
            kept.series.push(series);
            kept.timestamps.push(point.timestamp);
            kept.bits.push(bits);
            kept.floats.push(float);
            positions.push(position);
        }
        (kept, positions)
    }

    /// Where in the batch each thing begins that somebody sent: every point is one, but for the parts of a histogram, of
    /// which only the first is.
    pub fn datapoint_starts(&self) -> impl Iterator<Item = usize> + '_ {
        let is_start: Vec<bool> = (0..self.series_count())
            .map(|series| match crate::is_reserved(self.series_text(series)) {
                false => true,
                true => self
                    .series_key(series)
                    .tag(crate::HISTOGRAM_PART_KEY)
                    .is_none_or(|part| crate::HistogramPart::from_tag_value(part) == Some(crate::HistogramPart::Shape)),
            })
            .collect();
        let starts = move |series: u32| is_start.get(series as usize).copied().unwrap_or(true);
        self.series.iter().enumerate().filter(move |(_, series)| starts(**series)).map(|(position, _)| position)
    }

    /// Bytes of memory that the batch holds, roughly: what queues count against their limits.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.keys.len() + self.key_ends.len() * 4 + self.len() * (4 + 8 + 8 + 1)
    }

    fn check_columns(&self) -> Result<(), BatchError> {
        let lengths = [self.timestamps.len(), self.bits.len(), self.floats.len()];
        if lengths.iter().any(|&length| length != self.series.len()) {
            return Err(BatchError::UnequalColumns {
                series: self.series.len(),
                timestamps: self.timestamps.len(),
                bits: self.bits.len(),
                floats: self.floats.len(),
            });
        }
        for (point, (series, _, bits, float)) in self.columns().enumerate() {
            if series as usize >= self.key_ends.len() {
                return Err(BatchError::UnknownSeries { point, series, known: self.key_ends.len() });
            }
            if float && !f64::from_bits(bits).is_finite() {
                return Err(BatchError::NotFinite { point });
            }
        }
        Ok(())
    }

    fn check_dictionary(&self) -> Result<(), BatchError> {
        let mut start = 0;
        for (series, &end) in self.key_ends.iter().enumerate() {
            let text = self.keys.get(start..end as usize).ok_or(BatchError::BrokenDictionary { series })?;
            if text.split('\0').count() % 2 == 0 {
                return Err(BatchError::BrokenDictionary { series });
            }
            for name in text.split('\0') {
                crate::check_stored_name(name).map_err(|reason| BatchError::IllegalName { series, reason })?;
            }
            if !Tags::of_canonical_is_sorted(text) {
                return Err(BatchError::BrokenDictionary { series });
            }
            start = end as usize;
        }
        if start == self.keys.len() {
            Ok(())
        } else {
            Err(BatchError::BrokenDictionary { series: self.key_ends.len() })
        }
    }
}

use crate::Tags;

impl Tags<'_> {
    /// Whether the tags of a canonical text come in strictly ascending order of their keys.
    fn of_canonical_is_sorted(text: &str) -> bool {
        Tags::of_canonical(text).zip(Tags::of_canonical(text).skip(1)).all(|((left, _), (right, _))| left < right)
    }
}
