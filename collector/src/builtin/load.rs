//! Load averages and numbers of threads: `/proc/loadavg`.

use crate::{
    collector::{CollectError, Collector},
    gathering::{Gathering, whole},
    host_files::HostFiles,
    meaning::Meaning,
};

pub(super) struct Load;

const LOAD: Meaning = Meaning::gauge("load", "Threads that ran, could run or waited for a disk, on average.");
const RUNNABLE: Meaning = Meaning::gauge("processes", "Threads that run or could run.");
const THREADS: Meaning = Meaning::gauge("processes", "Threads that exist.");

impl Collector for Load {
    fn name(&self) -> &'static str {
        "load"
    }

    fn collect(&mut self, files: &HostFiles, out: &mut Gathering<'_>) -> Result<(), CollectError> {
        let text = files.read("proc/loadavg")?;
        let load = parse(&text)
            .ok_or(CollectError::Parse { path: "proc/loadavg", problem: "not `1.5 1.5 1.5 running/threads pid`" })?;
        for (metric, average) in
            ["linux.loadavg_1_min", "linux.loadavg_5_min", "linux.loadavg_15_min"].iter().zip(load.averages)
        {
            out.add(metric, &[], average, LOAD);
        }
        out.add("linux.loadavg_runnable", &[], whole(load.runnable), RUNNABLE);
        out.add("linux.loadavg_total_threads", &[], whole(load.threads), THREADS);
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
struct LoadLine {
    /// Over 1, 5 and 15 minutes.
    averages: [f64; 3],
    runnable: u64,
    threads: u64,
}

fn parse(text: &str) -> Option<LoadLine> {
    let mut words = text.split_ascii_whitespace();
    let mut average = || words.next()?.parse().ok();
    let averages = [average()?, average()?, average()?];
    let (runnable, threads) = words.next()?.split_once('/')?;
    Some(LoadLine { averages, runnable: runnable.parse().ok()?, threads: threads.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn averages_and_threads_come_from_one_line() {
        let expect = LoadLine { averages: [0.26, 0.27, 0.25], runnable: 1, threads: 95 };
        assert_eq!(parse("0.26 0.27 0.25 1/95 15430\n"), Some(expect));
        assert_eq!(parse("0.26 0.27\n"), None);
        assert_eq!(parse("0.26 0.27 0.25 195 15430\n"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text in "[0-9./ \n]{0,40}|.{0,40}") {
            let _ = parse(&text);
        }
    }
}
