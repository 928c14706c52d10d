//! The pages: templates, view models, static files and pictures of graphs.
//!
//! A page is rendered in two steps. The server fills a plain view model ([`OverviewPage`], [`HostPage`], …) and hands it
//! to [`Pages::page`] together with a [`PageContext`]; the parts of a page that change while somebody looks are
//! [`Fragment`]s, rendered alone by [`Pages::fragment`] and swapped into the open page by `static/app/live.js`
//! (`docs/live-protocol.md`). [`Assets`] holds the browser files, each under an address that contains its hash.
//!
//! Pages are documents that can be read without scripts: numbers, tables and the first picture of every graph come
//! from here. The turned-down alternative is one application in the browser, which needs a tool chain to build and
//! shows nothing until it has loaded.
//!
//! Nothing here knows a server, a store or the time of day: view models carry everything, `now` included.

mod assets;
mod auto_downsample;
mod content_security_policy;
mod embedded_files;
mod filters;
mod page_context;
mod pages;
mod svg;
mod templates;
mod units;
mod utc;
mod view;

pub use assets::{Asset, Assets, AssetsError};
pub use auto_downsample::{auto_interval_ms, resolve_auto_downsample};
pub use content_security_policy::content_security_policy;
pub use page_context::{PageContext, ProblemCount};
pub use pages::{Fragment, Page, Pages, RenderError};
pub use svg::{LineGraph, Sparkline, SvgSeries, reduce_to_pixels};
pub use templates::TemplateSource;
pub use units::{Unit, format_age, format_duration, format_quantity};
pub use view::*;
