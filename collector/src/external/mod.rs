//! External collectors: programs in a directory, run by TCollector's and scollector's rules.
//!
//! `DIRECTORY/N/program` runs every `N` seconds, `DIRECTORY/0/program` all the time. What it prints are points, in
//! TCollector's format or scollector's JSON; exit status 13 means that there is nothing for it to do on this host.
//! The directory is read again every 15 s: programs come and go without a restart of the agent.
//!
//! Each program runs in a process group of its own, which is ended with it: first politely, then for good. A session
//! of its own (`setsid`) would need code between fork and exec, which cannot be had without `unsafe`; a group is all
//! that ending it takes. Programs that print too fast are not read for a while instead of being cut short.

mod directory;
mod environment;
mod json_line;
mod line;
mod line_reader;
mod output;
mod process;
mod run;
mod runner;
mod supervisor;

use std::{ffi::OsString, path::PathBuf, time::Duration};

pub(crate) use self::{
    directory::{Found, Scan, scan},
    run::{Limits, run},
    supervisor::Supervisor,
};

/// Where external collectors are and how they are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalOptions {
    /// The folder with the folders named by intervals.
    pub directory: PathBuf,
    /// The complete environment of the programs, but for `PYTHONPATH`, which is extended by the folders of
    /// TCollector's tree around [`ExternalOptions::directory`]. The binary passes its own environment without what is
    /// secret in it.
    pub environment: Vec<(OsString, OsString)>,
    /// How often the directory is read again, and how long after its end a program of folder `0` is started again.
    /// Default 15 s.
    pub rescan_every: Duration,
    /// A program of folder `0` that prints nothing for so long is ended and started again. Default 10 min.
    pub silence_max: Duration,
    /// How long a program may take to end when it is asked to. Default 5 s.
    pub stop_grace: Duration,
    /// How long a program rests that said that there is nothing for it to do. Default 1 h.
    pub rest: Duration,
    /// How long a program rests after its first failure; doubled after each further one, up to `rest`. Default 15 s.
    pub failure_first: Duration,
    /// Lines that are read of one program within a minute; then it has to wait. Default 100 000.
    pub lines_per_minute_max: u64,
}

impl ExternalOptions {
    /// The defaults, for the programs of a directory that get nothing but `PATH` in their environment.
    #[must_use]
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            environment: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into())],
            rescan_every: Duration::from_secs(15),
            silence_max: Duration::from_secs(600),
            stop_grace: Duration::from_secs(5),
            rest: Duration::from_secs(3600),
            failure_first: Duration::from_secs(15),
            lines_per_minute_max: 100_000,
        }
    }
}
