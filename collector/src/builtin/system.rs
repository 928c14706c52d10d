//! Uptime, entropy and open files.

use crate::{
    collector::{CollectError, Collector},
    gathering::{Gathering, whole},
    host_files::HostFiles,
    meaning::Meaning,
};

pub(super) struct System;

const UPTIME: Meaning = Meaning::gauge("seconds", "Time since the host was started.");
const IDLE: Meaning = Meaning::gauge("seconds", "Time for which the processors had no work, summed over them.");
const ENTROPY: Meaning = Meaning::gauge("entropy", "Bits that the kernel's random numbers can draw on.");
const OPEN_FILES: Meaning = Meaning::gauge("files", "Files that are open.");

impl Collector for System {
    fn name(&self) -> &'static str {
        "system"
    }

    fn collect(&mut self, files: &HostFiles, out: &mut Gathering<'_>) -> Result<(), CollectError> {
        let [uptime, idle] = parse_uptime(&files.read("proc/uptime")?)
            .ok_or(CollectError::Parse { path: "proc/uptime", problem: "not two numbers of seconds" })?;
        out.add("os.system.uptime", &[], uptime, UPTIME);
        out.add("linux.uptime_total", &[], uptime, UPTIME);
        out.add("linux.uptime_now", &[], idle, IDLE);
        if let Some(entropy) = first_count(files.read_optional("proc/sys/kernel/random/entropy_avail")?) {
            out.add("linux.entropy_avail", &[], whole(entropy), ENTROPY);
        }
        if let Some(open) = first_count(files.read_optional("proc/sys/fs/file-nr")?) {
            out.add("linux.fs.open", &[], whole(open), OPEN_FILES);
        }
        Ok(())
    }
}

fn parse_uptime(text: &str) -> Option<[f64; 2]> {
    let mut words = text.split_ascii_whitespace();
    Some([words.next()?.parse().ok()?, words.next()?.parse().ok()?])
}

fn first_count(text: Option<String>) -> Option<u64> {
    text?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::fixture::{Fixture, number};

    #[test]
    fn uptime_is_there_under_both_names() {
        let fixture = Fixture::default()
            .with("proc/uptime", "1060.14 1688.91\n")
            .with("proc/sys/fs/file-nr", "593\t0\t2466170\n")
            .with("proc/sys/kernel/random/entropy_avail", "256\n");
        let gathered = fixture.gather(|out| System.collect(&fixture.files(), out).unwrap());
        assert_eq!(number(&gathered, "os.system.uptime{host=h}"), Some(1060.14));
        assert_eq!(number(&gathered, "linux.uptime_total{host=h}"), Some(1060.14));
        assert_eq!(number(&gathered, "linux.fs.open{host=h}"), Some(593.0));
        assert_eq!(number(&gathered, "linux.entropy_avail{host=h}"), Some(256.0));
    }

    #[test]
    fn garbage_is_an_error() {
        let fixture = Fixture::default().with("proc/uptime", "soon\n");
        fixture.gather(|out| assert!(System.collect(&fixture.files(), out).is_err()));
    }
}
