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
//! ```
//! use tidemark_dashboards::{Assets, HostsPage, PageContext, Pages, TemplateSource, content_security_policy};
//!
//! let assets = Assets::embedded();
//! let pages = Pages::new(TemplateSource::Embedded, &assets)?;
//! let context = PageContext { nonce: "c29tZS1ub25jZQ".to_owned(), ..PageContext::default() };
//! let page = HostsPage::default();
//!
//! let html = pages.page(&context, &page)?;                               // GET /hosts
//! let policy = content_security_policy(&context.nonce);                  // its header
//! let part = pages.fragment_of(context.now_ms, &page, "hosts")?;         // GET /hosts?fragment=hosts
//! let pushed = pages.fragment(context.now_ms, &page.hosts)?;             // the same over the socket
//! assert_eq!(part.as_deref(), Some(pushed.as_str()));
//! assert!(html.contains(&pushed) && policy.contains(&context.nonce));
//!
//! let address = assets.path_of("css/base.css").expect("it is in the binary");
//! assert_eq!(assets.find(address).map(|asset| asset.content_type), Some("text/css; charset=utf-8"));
//! # Ok::<(), tidemark_dashboards::RenderError>(())
//! ```
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
pub use utc::date_time;
pub use view::*;
