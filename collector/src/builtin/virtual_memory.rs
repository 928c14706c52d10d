//! Paging: `/proc/vmstat`.

use crate::{
    collector::{CollectError, Collector},
    gathering::{Gathering, whole},
    host_files::HostFiles,
    meaning::Meaning,
};

pub(super) struct VirtualMemory;

const PAGES: Meaning = Meaning::counter("pages", "Pages moved from or to disk.");
const FAULTS: Meaning = Meaning::counter("pages", "Pages that a program touched and that were not mapped.");
const LEVEL: Meaning = Meaning::gauge("pages", "As the field of the same name in /proc/vmstat.");
const TOTAL: Meaning = Meaning::counter("", "As the field of the same name in /proc/vmstat.");

impl Collector for VirtualMemory {
    fn name(&self) -> &'static str {
        "vmstat"
    }

    fn every(&self) -> u32 {
        6
    }

    fn collect(&mut self, files: &HostFiles, out: &mut Gathering<'_>) -> Result<(), CollectError> {
        files.read("proc/vmstat")?.lines().for_each(|line| emit_line(line, out));
        Ok(())
    }
}

fn emit_line(line: &str, out: &mut Gathering<'_>) {
    let Some((name, number)) = line.split_once(' ') else { return };
    let Ok(number) = number.trim().parse().map(whole) else { return };
    match name {
        "pgpgin" | "pswpin" => {
            out.add(&format!("linux.mem.{}", name.trim_end_matches("in")), &[("direction", "in")], number, PAGES);
        }
        "pgpgout" | "pswpout" => {
            out.add(&format!("linux.mem.{}", name.trim_end_matches("out")), &[("direction", "out")], number, PAGES);
        }
        "pgfault" | "pgmajfault" => out.add(&format!("linux.mem.{name}"), &[], number, FAULTS),
        _ if name.starts_with("nr_") => out.add(&format!("linux.mem.{name}"), &[], number, LEVEL),
        _ => out.add(&format!("linux.mem.{name}"), &[], number, TOTAL),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidemark_model::RateKind;

    use super::*;
    use crate::builtin::fixture::{Fixture, number};

    #[test]
    fn paging_has_a_direction_and_levels_are_no_counters() {
        let fixture =
            Fixture::default().with("proc/vmstat", "nr_dirty 730\npgpgin 25\npgpgout 31\npswpin 1\noom_kill 2\n");
        let gathered = fixture.gather(|out| VirtualMemory.collect(&fixture.files(), out).unwrap());
        assert_eq!(number(&gathered, "linux.mem.pgpg{direction=in,host=h}"), Some(25.0));
        assert_eq!(number(&gathered, "linux.mem.pgpg{direction=out,host=h}"), Some(31.0));
        assert_eq!(number(&gathered, "linux.mem.pswp{direction=in,host=h}"), Some(1.0));
        assert_eq!(number(&gathered, "linux.mem.oom_kill{host=h}"), Some(2.0));
        let rate = |metric: &str| gathered.metadata.iter().find(|entry| entry.metric == metric).unwrap().rate;
        assert_eq!(rate("linux.mem.nr_dirty"), Some(RateKind::Gauge));
        assert_eq!(rate("linux.mem.oom_kill"), Some(RateKind::Counter));
    }

    proptest! {
        #[test]
        fn any_line_is_parsed_without_panic(line in "(pgpgin|nr_|.{0,9}) ?.{0,24}") {
            Fixture::default().gather(|out| emit_line(&line, out));
        }
    }
}
