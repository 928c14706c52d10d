//! Results of sub-queries for targets that compute with them.

use tidemark_model::{Tsuid, ValueColumn};
use tidemark_query::{Fill, GroupResult};

/// Three hosts, the last of which some sub-queries lack, with points at instants that only partly agree; integers, doubles
/// and NaN.
#[must_use]
pub fn groups_of(source: usize) -> Vec<GroupResult> {
    ["a", "b", "c"]
        .into_iter()
        .zip(0_i64..)
        .filter(|(_, host)| *host < 2 || source.is_multiple_of(2))
        .map(|(name, host)| {
            let timestamps: Vec<i64> =
                (0..20).map(|step| step * 60_000 + if step % 7 == 3 { host } else { 0 }).collect();
            let values = match host {
                0 => ValueColumn::Int(vec![i64::MAX, i64::MIN, 0, -1].repeat(5)),
                1 => ValueColumn::Float(vec![1.5, f64::NAN, -0.0, f64::INFINITY, 1e300].repeat(4)),
                _ => ValueColumn::Float(vec![source as f64; 20]),
            };
            GroupResult {
                metric: format!("m{source}"),
                tags: vec![("host".to_owned(), name.to_owned())],
                aggregate_tags: if host == 1 { vec!["dc".to_owned()] } else { Vec::new() },
                tsuids: vec![Tsuid::new(1, &[])],
                timestamps,
                values,
                fill: Fill::None,
            }
        })
        .collect()
}
