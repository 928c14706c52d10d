//! The series that a selector means, ready to be read.

use tidemark_model::SeriesSet;

use crate::{Labels, query::SeriesRead};

/// The series of one selector: of one set, or of a set for each of several metrics.
pub struct SelectedSeries<'a> {
    sets: &'a [Box<dyn SeriesSet>],
    /// Those that fulfil all conditions: which set, and which series of it.
    positions: Vec<(usize, usize)>,
}

impl<'a> SelectedSeries<'a> {
    /// The series of these sets that a read is about.
    #[must_use]
    pub fn new(sets: &'a [Box<dyn SeriesSet>], read: &SeriesRead) -> Self {
        let mut positions = Vec::new();
        for (number, set) in sets.iter().enumerate() {
            let series = set.series().iter().enumerate();
            positions.extend(series.filter(|(_, info)| read.accepts(&info.key)).map(|(index, _)| (number, index)));
        }
        Self { sets, positions }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Each series: its labels, and where it is read.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Labels, &dyn SeriesSet, usize)> {
        self.positions.iter().filter_map(|&(number, index)| {
            let set = self.sets.get(number)?;
            let info = set.series().get(index)?;
            Some((Labels::of_series(&info.key), set.as_ref(), index))
        })
    }
}

impl std::fmt::Debug for SelectedSeries<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SelectedSeries").field("series", &self.positions.len()).finish_non_exhaustive()
    }
}
