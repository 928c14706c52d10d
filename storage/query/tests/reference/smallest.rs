//! Making a case small that is evaluated wrongly: whatever can be left out is left out.

use tidemark_query::{Fill, Source, Tz};

use crate::case::Case;

/// The smallest case that is still evaluated wrongly.
pub(crate) fn smallest(case: Case) -> Case {
    smallest_that(case, &|case| case.difference().is_err())
}

/// The smallest case of which something is still true.
pub(crate) fn smallest_that(mut case: Case, holds: &dyn Fn(&Case) -> bool) -> Case {
    while let Some(smaller) = without_series(&case)
        .into_iter()
        .chain(without_points(&case))
        .chain(without_options(&case))
        .find(|smaller| holds(smaller))
    {
        case = smaller;
    }
    case
}

fn without_series(case: &Case) -> Vec<Case> {
    let without = |key| {
        let mut smaller = case.clone();
        smaller.series.remove(key);
        smaller
    };
    case.series.keys().map(without).collect()
}

/// Without runs of points, the long ones first.
fn without_points(case: &Case) -> Vec<Case> {
    let mut smaller = Vec::new();
    for run in [32, 8, 2, 1] {
        for (key, points) in &case.series {
            let times: Vec<i64> = points.keys().copied().collect();
            for times in times.chunks(run) {
                let mut without = case.clone();
                if let Some(points) = without.series.get_mut(key) {
                    points.retain(|time, _| !times.contains(time));
                }
                // The numbers of series are those of the ones that have points.
                without.series.retain(|_, points| !points.is_empty());
                smaller.push(without);
            }
        }
    }
    smaller
}

fn without_options(case: &Case) -> Vec<Case> {
    let mut smaller = Vec::new();
    let mut with = |change: &dyn Fn(&mut Case)| {
        let mut changed = case.clone();
        change(&mut changed);
        if changed.to_string() != case.to_string() {
            smaller.push(changed);
        }
    };
    with(&|case| case.query.sub_queries[0].rate = None);
    with(&|case| case.query.sub_queries[0].downsample = None);
    with(&|case| {
        if let Some(downsample) = &mut case.query.sub_queries[0].downsample {
            downsample.fill = Fill::None;
        }
    });
    with(&|case| {
        if let Some(rate) = &mut case.query.sub_queries[0].rate {
            rate.pre_downsample = false;
        }
    });
    with(&|case| case.query.sub_queries[0].align_first = false);
    with(&|case| case.query.ms_resolution = true);
    with(&|case| case.query.use_calendar = false);
    with(&|case| case.query.time_zone = Tz::UTC);
    for number in 0..case.sub_query().filters().len() {
        with(&|case| {
            if let Source::Metric { filters, .. } = &mut case.query.sub_queries[0].source {
                drop(filters.remove(number));
            }
        });
    }
    with(&|case| {
        if let Source::Metric { explicit_tags, .. } = &mut case.query.sub_queries[0].source {
            *explicit_tags = false;
        }
    });
    smaller
}
