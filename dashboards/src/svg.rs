//! Pictures of series as SVG: no script, no style of their own, colours by class, so that they follow the page's theme
//! and its content security policy.

mod escape;
mod line_graph;
mod path;
mod reduce;
mod sparkline;
mod ticks;

pub(crate) use escape::escaped;
pub use line_graph::{LineGraph, SvgSeries};
pub use reduce::reduce_to_pixels;
pub use sparkline::Sparkline;
