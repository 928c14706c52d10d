//! Processors: `/proc/stat` and the clock of `/proc/cpuinfo`.

use crate::{
    collector::{CollectError, Collector},
    gathering::{Gathering, whole},
    host_files::HostFiles,
    meaning::Meaning,
};

pub(super) struct Cpu;

/// The columns of a `cpu` line, in order: what the processor did.
const KINDS: [(&str, &str); 10] = [
    ("user", "Time in user mode."),
    ("nice", "Time in user mode at low priority."),
    ("system", "Time in the kernel."),
    ("idle", "Time without work."),
    ("iowait", "Time without work while a disk was awaited."),
    ("irq", "Time in interrupts."),
    ("softirq", "Time in soft interrupts."),
    ("steal", "Time that the hypervisor gave to other machines."),
    ("guest", "Time for guests of this machine."),
    ("guest_nice", "Time for guests of this machine at low priority."),
];

const SHARE: Meaning =
    Meaning::counter("percent", "Use of the processors in user mode and in the kernel; its rate is the percentage.");
const TIME: Meaning =
    Meaning::counter("CentiHertz", "Time of the processors by what they did; 100 is a second of one.");
const CLOCK: Meaning = Meaning::gauge("MHz", "Current clock of the processor.");
const INTERRUPTS: Meaning = Meaning::counter("interrupts", "Interrupts served.");
const SWITCHES: Meaning = Meaning::counter("context switches", "Changes from one thread to another.");
const CREATED: Meaning = Meaning::counter("processes", "Processes and threads started.");
const RUNNING: Meaning = Meaning::gauge("processes", "Threads that run or could run.");
const BLOCKED: Meaning = Meaning::gauge("processes", "Threads that wait for a disk.");

impl Collector for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn collect(&mut self, files: &HostFiles, out: &mut Gathering<'_>) -> Result<(), CollectError> {
        emit_stat(&files.read("proc/stat")?, out)?;
        if let Some(text) = files.read_optional("proc/cpuinfo")? {
            emit_clocks(&text, out);
        }
        Ok(())
    }
}

/// One `cpu` line.
#[derive(Debug, PartialEq)]
struct CpuLine<'a> {
    /// Number of the processor; `None` for the sum.
    cpu: Option<&'a str>,
    /// As many as the kernel has, in hundredths of a second.
    times: Vec<u64>,
}

fn parse_cpu_line(line: &str) -> Option<CpuLine<'_>> {
    let (name, numbers) = line.strip_prefix("cpu")?.split_once(' ')?;
    if !name.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let times: Vec<u64> = numbers.split_ascii_whitespace().map_while(|number| number.parse().ok()).collect();
    Some(CpuLine { cpu: (!name.is_empty()).then_some(name), times })
}

fn emit_stat(text: &str, out: &mut Gathering<'_>) -> Result<(), CollectError> {
    let lines: Vec<CpuLine<'_>> = text.lines().filter_map(parse_cpu_line).collect();
    let cores = lines.iter().filter(|line| line.cpu.is_some()).count();
    let sum = lines.iter().find(|line| line.cpu.is_none());
    let Some([user, nice, system, ..]) = sum.map(|line| line.times.as_slice()) else {
        return Err(CollectError::Parse { path: "proc/stat", problem: "no line `cpu` with user, nice and system" });
    };
    let busy = user.saturating_add(*nice).saturating_add(*system);
    out.add("os.cpu", &[], busy as f64 / cores.max(1) as f64, SHARE);
    lines.iter().for_each(|line| emit_cpu_line(line, out));
    text.lines().for_each(|line| emit_total(line, out));
    Ok(())
}

fn emit_cpu_line(line: &CpuLine<'_>, out: &mut Gathering<'_>) {
    for ((kind, _), time) in KINDS.iter().zip(&line.times) {
        match line.cpu {
            None => out.add("linux.cpu", &[("type", kind)], whole(*time), TIME),
            Some(cpu) => out.add("linux.cpu.percpu", &[("cpu", cpu), ("type", kind)], whole(*time), TIME),
        }
    }
}

fn emit_total(line: &str, out: &mut Gathering<'_>) {
    let mut words = line.split_ascii_whitespace();
    let (Some(name), Some(Ok(number))) = (words.next(), words.next().map(str::parse::<u64>)) else { return };
    let (metric, meaning) = match name {
        "intr" => ("linux.intr", INTERRUPTS),
        "ctxt" => ("linux.ctxt", SWITCHES),
        "processes" => ("linux.processes", CREATED),
        "procs_running" => ("linux.procs_running", RUNNING),
        "procs_blocked" => ("linux.procs_blocked", BLOCKED),
        _ => return,
    };
    out.add(metric, &[], whole(number), meaning);
}

fn emit_clocks(text: &str, out: &mut Gathering<'_>) {
    let clocks = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "cpu MHz").then(|| value.trim().parse::<f64>().ok()).flatten()
    });
    for (cpu, clock) in clocks.enumerate() {
        let cpu = cpu.to_string();
        out.add("os.cpu.clock", &[("cpu", &cpu)], clock, CLOCK);
        out.add("linux.cpu.clock", &[("cpu", &cpu)], clock, CLOCK);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::builtin::fixture::{Fixture, number};

    const STAT: &str = "cpu  34594 6 7200 168891 557 0 80 73 0 0\n\
        cpu0 16760 2 3376 85418 99 0 8 36 0 0\n\
        cpu1 17833 4 3824 83472 457 0 72 37 0 0\n\
        intr 350638 0 0 211\nctxt 568288\nbtime 1795611106\nprocesses 15430\nprocs_running 1\nprocs_blocked 2\n\
        softirq 212871 0 27581\n";

    #[test]
    fn the_share_of_the_processors_is_user_nice_and_system_per_core() {
        let gathered = Fixture::default().gather(|out| emit_stat(STAT, out).unwrap());
        assert_eq!(number(&gathered, "os.cpu{host=h}"), Some(20_900.0));
        assert_eq!(number(&gathered, "linux.cpu{host=h,type=iowait}"), Some(557.0));
        assert_eq!(number(&gathered, "linux.cpu.percpu{cpu=1,host=h,type=steal}"), Some(37.0));
        assert_eq!(number(&gathered, "linux.ctxt{host=h}"), Some(568_288.0));
        assert_eq!(number(&gathered, "linux.intr{host=h}"), Some(350_638.0));
        assert_eq!(number(&gathered, "linux.procs_blocked{host=h}"), Some(2.0));
        assert_eq!(gathered.batch.len(), 1 + 30 + 5);
    }

    #[test]
    fn kernels_with_fewer_columns_give_fewer_series() {
        let gathered = Fixture::default().gather(|out| emit_stat("cpu  5 6 7 8\n", out).unwrap());
        assert_eq!(gathered.batch.len(), 5);
        assert_eq!(number(&gathered, "os.cpu{host=h}"), Some(18.0));
    }

    #[test]
    fn a_file_without_processors_is_an_error() {
        Fixture::default().gather(|out| assert!(emit_stat("intr 5\n", out).is_err()));
    }

    #[test]
    fn clocks_are_numbered_in_the_order_of_the_file() {
        let text = "processor\t: 0\ncpu MHz\t\t: 2400.5\nprocessor\t: 1\ncpu MHz\t\t: 2500\n";
        let gathered = Fixture::default().gather(|out| emit_clocks(text, out));
        assert_eq!(number(&gathered, "os.cpu.clock{cpu=0,host=h}"), Some(2400.5));
        assert_eq!(number(&gathered, "linux.cpu.clock{cpu=1,host=h}"), Some(2500.0));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text in "(cpu[0-9]{0,3} |intr |[ -~])([0-9 .a-z]{0,40}\n){0,4}") {
            Fixture::default().gather(|out| {
                let _result = emit_stat(&text, out);
                emit_clocks(&text, out);
            });
        }
    }
}
