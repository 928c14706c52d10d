//! `tidemark serve --demo`: a week of a small fleet that nobody has, so that every page has something to show.
//!
//! A [`Fleet`] is a simulation of twelve hosts, not a recording: each host has a state that moves with the time of day,
//! and all its series are readings of that one state. So what belongs together stays together: memory in use and memory
//! free add up, `os.cpu` is the sum of its parts, and bytes and packets rise in the same minute. The alternative, a
//! formula for each series, is shorter and looks made up at the second glance.
//!
//! The [`story`] has four chapters: a deployment on the fifth day that makes pages slow, a host without power for forty
//! minutes two days ago, a leak of memory that ends in a restart, and a disk that fills and is nearly full now.
//!
//! [`fill`] writes the week, [`live()`] goes on from there. Both take a [`tidemark_model::PointSink`], the way in that
//! everybody else uses. Equal seeds and equal times give equal points.

mod dice;
mod figures;
mod filler;
mod fleet;
mod folder;
mod history;
mod host;
mod host_plan;
mod live;
mod meanings;
mod rhythm;
mod series;
mod story;

pub(crate) use crate::progress_bar::Progress;
pub(crate) use filler::fill;
pub(crate) use fleet::Fleet;
pub(crate) use folder::{keep, make_anew};
pub(crate) use live::live;
pub(crate) use meanings::meanings;
