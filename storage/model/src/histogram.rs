//! Histograms, and the series that their counts are kept in.

use std::cmp::Ordering;

use thiserror::Error;

use crate::{SeriesKey, metric_space::RESERVED};

/// Most buckets of one histogram; each is a series.
pub const HISTOGRAM_BUCKETS_MAX: usize = 1_000;

/// Key of the tag that tells the series of one histogram apart.
pub const HISTOGRAM_PART_KEY: &str = "\u{1}part";

/// How many of the things that were measured fell into each bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    buckets: Vec<HistogramBucket>,
    /// Things below all buckets.
    pub underflow: i64,
    /// Things above all buckets.
    pub overflow: i64,
}

/// One bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistogramBucket {
    /// Where it begins and ends.
    pub bounds: BucketBounds,
    /// Things in it.
    pub count: i64,
}

/// Where a bucket begins and ends. Ordered by the lower bound, then by the upper one.
#[derive(Clone, Copy, Debug)]
pub struct BucketBounds {
    /// Finite.
    pub lower: f32,
    /// Finite.
    pub upper: f32,
}

/// Why a histogram is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HistogramError {
    /// A bound is NaN or infinite.
    #[error("the bounds of a bucket must be finite numbers")]
    NotFinite,
    /// A count is below zero.
    #[error("a bucket cannot hold {0} values")]
    NegativeCount(i64),
    /// Too many buckets.
    #[error("histogram has more than {HISTOGRAM_BUCKETS_MAX} buckets")]
    TooManyBuckets,
}

impl Histogram {
    /// A histogram with these values below and above its buckets, of which there are none yet.
    ///
    /// # Errors
    /// [`HistogramError::NegativeCount`].
    pub fn new(underflow: i64, overflow: i64) -> Result<Self, HistogramError> {
        let (underflow, overflow) = (count(underflow)?, count(overflow)?);
        Ok(Self { buckets: Vec::new(), underflow, overflow })
    }

    /// Sets the count of a bucket; a bucket that is there already gets this one.
    ///
    /// # Errors
    /// Says what is wrong with the bounds, the count, or the number of buckets.
    pub fn set(&mut self, lower: f32, upper: f32, values: i64) -> Result<(), HistogramError> {
        if !lower.is_finite() || !upper.is_finite() {
            return Err(HistogramError::NotFinite);
        }
        // Zero has one text.
        let bounds = BucketBounds { lower: lower + 0.0, upper: upper + 0.0 };
        let bucket = HistogramBucket { bounds, count: count(values)? };
        match self.buckets.binary_search_by(|known| known.bounds.cmp(&bounds)) {
            Ok(position) => {
                if let Some(known) = self.buckets.get_mut(position) {
                    *known = bucket;
                }
            }
            Err(_) if self.buckets.len() >= HISTOGRAM_BUCKETS_MAX => return Err(HistogramError::TooManyBuckets),
            Err(position) => self.buckets.insert(position, bucket),
        }
        Ok(())
    }

    /// Takes the value of one of [`Self::parts`] in; of the shape there is nothing to take.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn set_part(&mut self, part: HistogramPart, values: i64) -> Result<(), HistogramError> {
        match part {
            HistogramPart::Shape => {}
            HistogramPart::Underflow => self.underflow = count(values)?,
            HistogramPart::Overflow => self.overflow = count(values)?,
            HistogramPart::Bucket { bounds, .. } => self.set(bounds.lower, bounds.upper, values)?,
        }
        Ok(())
    }

    /// The buckets, ascending.
    #[must_use]
    pub fn buckets(&self) -> &[HistogramBucket] {
        &self.buckets
    }

    /// The series that it is kept in, and the value of each: which buckets there are, and all counts.
    ///
    /// The first tells which of the others count at a moment. So a histogram that is written again with other buckets
    /// replaces the one before, as a point does.
    pub fn parts(&self) -> impl Iterator<Item = (HistogramPart, i64)> + '_ {
        let shape = self.shape();
        let buckets = self
            .buckets
            .iter()
            .map(move |bucket| (HistogramPart::Bucket { shape, bounds: bucket.bounds }, bucket.count));
        [
            (HistogramPart::Shape, i64::from(shape)),
            (HistogramPart::Underflow, self.underflow),
            (HistogramPart::Overflow, self.overflow),
        ]
        .into_iter()
        .chain(buckets)
    }

    /// FNV-1a of the bounds.
    fn shape(&self) -> u32 {
        let bytes = self.buckets.iter().flat_map(|bucket| {
            let BucketBounds { lower, upper } = bucket.bounds;
            lower.to_be_bytes().into_iter().chain(upper.to_be_bytes())
        });
        bytes.fold(0x811C_9DC5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }
}

fn count(values: i64) -> Result<i64, HistogramError> {
    if values < 0 { Err(HistogramError::NegativeCount(values)) } else { Ok(values) }
}

impl PartialEq for BucketBounds {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for BucketBounds {}

impl PartialOrd for BucketBounds {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for BucketBounds {
    fn cmp(&self, other: &Self) -> Ordering {
        self.lower.total_cmp(&other.lower).then(self.upper.total_cmp(&other.upper))
    }
}

/// Which of the series of a histogram one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistogramPart {
    /// Which buckets there are, as a number.
    Shape,
    /// Values below all buckets.
    Underflow,
    /// Values above all buckets.
    Overflow,
    /// Values in one bucket of the histograms with this shape.
    Bucket {
        /// The shape.
        shape: u32,
        /// The bucket.
        bounds: BucketBounds,
    },
}

impl HistogramPart {
    /// The value of the tag [`HISTOGRAM_PART_KEY`].
    #[must_use]
    pub fn tag_value(self) -> String {
        match self {
            Self::Shape => format!("{RESERVED}shape"),
            Self::Underflow => format!("{RESERVED}underflow"),
            Self::Overflow => format!("{RESERVED}overflow"),
            Self::Bucket { shape, bounds: BucketBounds { lower, upper } } => {
                format!("{RESERVED}{shape:08x}_{lower}_{upper}")
            }
        }
    }

    /// Which part of a histogram a series keeps, if it is one of those.
    #[must_use]
    pub fn of_series(key: &SeriesKey) -> Option<Self> {
        Self::from_tag_value(key.tag(HISTOGRAM_PART_KEY)?)
    }

    /// The part with this tag value.
    #[must_use]
    pub fn from_tag_value(text: &str) -> Option<Self> {
        let text = text.strip_prefix(RESERVED)?;
        Some(match text {
            "shape" => Self::Shape,
            "underflow" => Self::Underflow,
            "overflow" => Self::Overflow,
            _ => {
                let mut fields = text.splitn(3, '_');
                let shape = u32::from_str_radix(fields.next()?, 16).ok()?;
                let (lower, upper) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
                Self::Bucket { shape, bounds: BucketBounds { lower, upper } }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_are_ordered_and_the_last_count_of_one_counts() {
        let mut histogram = Histogram::new(1, 2).unwrap();
        for (lower, upper, count) in [(1.75, 3.5, 16), (-0.0, 1.75, 7), (0.0, 1.75, 12)] {
            histogram.set(lower, upper, count).unwrap();
        }
        let counts: Vec<_> = histogram.buckets().iter().map(|bucket| (bucket.bounds.lower, bucket.count)).collect();
        assert_eq!(counts, [(0.0, 12), (1.75, 16)]);
        let parts: Vec<_> = histogram.parts().map(|(part, value)| (part.tag_value(), value)).collect();
        let shape = i64::from(histogram.shape());
        assert_eq!(parts.first().unwrap(), &("\u{1}shape".to_owned(), shape));
        assert_eq!(parts.get(3).unwrap(), &(format!("\u{1}{shape:08x}_0_1.75"), 12));
        assert_eq!(histogram.set(f32::NAN, 1.0, 1), Err(HistogramError::NotFinite));
        assert_eq!(histogram.set(0.0, 1.0, -1), Err(HistogramError::NegativeCount(-1)));
        assert_eq!(Histogram::new(0, -1), Err(HistogramError::NegativeCount(-1)));
    }

    #[test]
    fn a_histogram_has_so_many_buckets_and_no_more() {
        let mut histogram = Histogram::default();
        (0..1_000_u16).for_each(|bucket| histogram.set(f32::from(bucket), 2000.0, 1).unwrap());
        assert_eq!(histogram.set(1_000.0, 2000.0, 1), Err(HistogramError::TooManyBuckets));
        assert_eq!(histogram.set(0.0, 2000.0, 2), Ok(()));
    }

    proptest! {
        #[test]
        fn a_part_survives_its_tag(shape in any::<u32>(), lower in any::<f32>(), upper in any::<f32>()) {
            prop_assume!(lower.is_finite() && upper.is_finite());
            let part = HistogramPart::Bucket { shape, bounds: BucketBounds { lower, upper } };
            let text = part.tag_value();
            prop_assert_eq!(HistogramPart::from_tag_value(&text), Some(part));
            prop_assert_eq!(crate::check_stored_name(&text), Ok(()));
        }

        #[test]
        fn no_tag_value_makes_it_panic(text in "\u{1}?[0-9a-f_.-]*") {
            let _unused = HistogramPart::from_tag_value(&text);
        }
    }
}
