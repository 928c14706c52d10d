//! Interrupts by kind and processor: `/proc/interrupts`.

use crate::{
    collector::{CollectError, Collector},
    gathering::{Gathering, whole},
    host_files::HostFiles,
    meaning::Meaning,
};

pub(super) struct Interrupts;

const SERVED: Meaning = Meaning::counter("interrupts", "Interrupts served, by kind and processor.");

impl Collector for Interrupts {
    fn name(&self) -> &'static str {
        "interrupts"
    }

    fn every(&self) -> u32 {
        6
    }

    fn collect(&mut self, files: &HostFiles, out: &mut Gathering<'_>) -> Result<(), CollectError> {
        if let Some(text) = files.read_optional("proc/interrupts")? {
            emit(&text, out);
        }
        Ok(())
    }
}

/// The first line names the processors; the others are `KIND: count… text`. Numbered interrupts belong to devices and
/// differ from boot to boot: their sum is `linux.intr`.
fn emit(text: &str, out: &mut Gathering<'_>) {
    let mut lines = text.lines();
    let cpus: Vec<&str> =
        lines.next().unwrap_or_default().split_ascii_whitespace().map(|name| name.trim_start_matches("CPU")).collect();
    for line in lines {
        let Some((kind, counts)) = line.split_once(':') else { continue };
        let kind = kind.trim();
        if kind.is_empty() || !kind.bytes().any(|byte| byte.is_ascii_alphabetic()) {
            continue;
        }
        let counts = counts.split_ascii_whitespace().map_while(|count| count.parse::<u64>().ok());
        for (cpu, count) in cpus.iter().zip(counts) {
            out.add("linux.interrupts", &[("cpu", cpu), ("type", kind)], whole(count), SERVED);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::builtin::fixture::{Fixture, number};

    #[test]
    fn kinds_are_told_apart_by_processor_and_devices_are_left_out() {
        let text = "            CPU0       CPU1\n  24:   1   2   PCI-MSI   0-edge virtio\nNMI:  3   4   Non-maskable\nERR:  9\n";
        let gathered = Fixture::default().gather(|out| emit(text, out));
        assert_eq!(number(&gathered, "linux.interrupts{cpu=1,host=h,type=NMI}"), Some(4.0));
        assert_eq!(number(&gathered, "linux.interrupts{cpu=0,host=h,type=ERR}"), Some(9.0));
        assert_eq!(gathered.batch.len(), 3);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text in "(CPU[0-9] ){0,3}\n([A-Z0-9]{0,3}:?[0-9 ]{0,20}.{0,5}\n){0,4}") {
            Fixture::default().gather(|out| emit(&text, out));
        }
    }
}
