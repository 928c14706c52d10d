//! Pressure stall information: `/proc/pressure/*`, in kernels since 4.20 that have it switched on.

use crate::{
    collector::{CollectError, Collector},
    gathering::{Gathering, whole},
    host_files::HostFiles,
    meaning::Meaning,
};

pub(super) struct Pressure;

const STALLED: Meaning =
    Meaning::counter("microseconds", "Time for which some or all threads waited for the resource.");
const SHARE: Meaning =
    Meaning::gauge("percent", "Share of the time for which some or all threads waited for the resource.");

/// Field of the file and the metric that it becomes.
const AVERAGES: [(&str, &str); 3] = [
    ("avg10", "linux.pressure.average_10_s"),
    ("avg60", "linux.pressure.average_60_s"),
    ("avg300", "linux.pressure.average_300_s"),
];

impl Collector for Pressure {
    fn name(&self) -> &'static str {
        "pressure"
    }

    fn collect(&mut self, files: &HostFiles, out: &mut Gathering<'_>) -> Result<(), CollectError> {
        for resource in ["cpu", "memory", "io"] {
            if let Some(text) = files.read_optional(&format!("proc/pressure/{resource}"))? {
                text.lines().for_each(|line| emit_line(resource, line, out));
            }
        }
        Ok(())
    }
}

/// A line `some avg10=1.84 avg60=1.67 avg300=0.94 total=19280059`.
fn emit_line(resource: &str, line: &str, out: &mut Gathering<'_>) {
    let mut words = line.split_ascii_whitespace();
    let Some(threads @ ("some" | "full")) = words.next() else { return };
    let tags = [("resource", resource), ("threads", threads)];
    for (name, text) in words.filter_map(|word| word.split_once('=')) {
        if name == "total"
            && let Ok(total) = text.parse()
        {
            out.add("linux.pressure.stalled", &tags, whole(total), STALLED);
        }
        if let Some((_, metric)) = AVERAGES.iter().find(|(field, _)| *field == name)
            && let Ok(average) = text.parse::<f64>()
        {
            out.add(metric, &tags, average, SHARE);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::builtin::fixture::{Fixture, number};

    #[test]
    fn stalls_are_told_apart_by_resource_and_by_who_waited() {
        let text =
            "some avg10=0.27 avg60=0.17 avg300=0.13 total=4527067\nfull avg10=0.18 avg60=0.14 avg300=0.10 total=40\n";
        let fixture = Fixture::default().with("proc/pressure/io", text);
        let gathered = fixture.gather(|out| Pressure.collect(&fixture.files(), out).unwrap());
        let stalled = number(&gathered, "linux.pressure.stalled{host=h,resource=io,threads=some}");
        assert_eq!(stalled, Some(4_527_067.0));
        let average = number(&gathered, "linux.pressure.average_300_s{host=h,resource=io,threads=full}");
        assert_eq!(average, Some(0.10));
        assert_eq!(gathered.batch.len(), 8);
    }

    #[test]
    fn a_kernel_without_pressure_information_is_no_error() {
        let fixture = Fixture::default();
        let gathered = fixture.gather(|out| Pressure.collect(&fixture.files(), out).unwrap());
        assert!(gathered.batch.is_empty());
    }

    proptest! {
        #[test]
        fn any_line_is_parsed_without_panic(line in "(some|full|.{0,4}) (avg10|total|.{0,4})=?.{0,20}") {
            Fixture::default().gather(|out| emit_line("cpu", &line, out));
        }
    }
}
