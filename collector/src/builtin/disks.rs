//! Traffic of disks and partitions: `/proc/diskstats`.

use std::collections::HashMap;

use crate::{
    collector::{CollectError, Collector},
    gathering::{Gathering, whole},
    host_files::HostFiles,
    meaning::Meaning,
};

/// Remembers the totals of the run before, for the time per request.
#[derive(Default)]
pub(super) struct Disks {
    before: HashMap<String, Totals>,
}

/// `/proc/diskstats` counts in sectors of 512 bytes, whatever the disk's own are.
const SECTOR_BYTES: u64 = 512;

const REQUESTS: Meaning = Meaning::counter("requests", "Requests that the device has served.");
const MERGED: Meaning = Meaning::counter("requests", "Requests that were merged with a neighbour.");
const SECTORS: Meaning = Meaning::counter("sectors", "Sectors of 512 bytes moved.");
const BUSY: Meaning = Meaning::counter("milliseconds", "Time of all requests of this kind, summed.");
const IN_FLIGHT: Meaning = Meaning::gauge("requests", "Requests in flight.");
const ACTIVE: Meaning = Meaning::counter("milliseconds", "Time with at least one request in flight.");
const WEIGHTED: Meaning = Meaning::counter("milliseconds", "Time in flight of all requests, summed.");
const BYTES: Meaning = Meaning::counter("bytes", "Bytes moved.");
const PER_REQUEST: Meaning = Meaning::rate("milliseconds", "Time of a request since the run before, on average.");
const BLOCK: Meaning = Meaning::gauge("bytes", "Size of the device's own sectors.");

/// The columns after the device's name, in order. Those that kernels since 4.18 and 5.5 add come last.
const COLUMNS: [(&str, Meaning); 17] = [
    ("read_requests", REQUESTS),
    ("read_merged", MERGED),
    ("read_sectors", SECTORS),
    ("msec_read", BUSY),
    ("write_requests", REQUESTS),
    ("write_merged", MERGED),
    ("write_sectors", SECTORS),
    ("msec_write", BUSY),
    ("ios_in_progress", IN_FLIGHT),
    ("msec_total", ACTIVE),
    ("msec_weighted_total", WEIGHTED),
    ("discard_requests", REQUESTS),
    ("discard_merged", MERGED),
    ("discard_sectors", SECTORS),
    ("msec_discard", BUSY),
    ("flush_requests", REQUESTS),
    ("msec_flush", BUSY),
];

impl Collector for Disks {
    fn name(&self) -> &'static str {
        "disks"
    }

    fn collect(&mut self, files: &HostFiles, out: &mut Gathering<'_>) -> Result<(), CollectError> {
        let text = files.read("proc/diskstats")?;
        let removable: Vec<String> =
            files.names("sys/block").into_iter().filter(|disk| is_removable(files, disk)).collect();
        let mut seen = HashMap::new();
        for line in text.lines().filter_map(parse_line) {
            // Loop devices, floppy drives and RAM disks that nobody uses.
            if line.numbers.first() == Some(&0) {
                continue;
            }
            let whole_disk = files.exists(&format!("sys/block/{}", line.device.replace('/', "!")));
            let kind = if whole_disk { "linux.disk" } else { "linux.disk.part" };
            let apart = if removable.iter().any(|disk| line.device.starts_with(disk.as_str())) { ".rem" } else { "" };
            let prefix = format!("{kind}{apart}");
            emit_columns(&prefix, &line, out);
            let totals = Totals::of(&line);
            emit_derived(&prefix, line.device, totals, self.before.get(line.device).copied(), out);
            if whole_disk {
                emit_block_size(files, &prefix, line.device, out);
            }
            seen.insert(line.device.to_owned(), totals);
        }
        self.before = seen;
        Ok(())
    }
}

/// A line `254 0 vda 43046 9723 …`.
#[derive(Debug, PartialEq)]
struct DiskLine<'a> {
    device: &'a str,
    numbers: Vec<u64>,
}

fn parse_line(line: &str) -> Option<DiskLine<'_>> {
    let mut words = line.split_ascii_whitespace();
    let (_major, _minor, device) = (words.next()?, words.next()?, words.next()?);
    let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
    // Partitions have four columns only in kernels before 2.6.25.
    (numbers.len() >= 11).then_some(DiskLine { device, numbers })
}

#[derive(Clone, Copy)]
struct Totals {
    read_requests: u64,
    read_sectors: u64,
    msec_read: u64,
    write_requests: u64,
    write_sectors: u64,
    msec_write: u64,
}

impl Totals {
    fn of(line: &DiskLine<'_>) -> Self {
        let column = |index: usize| line.numbers.get(index).copied().unwrap_or_default();
        Self {
            read_requests: column(0),
            read_sectors: column(2),
            msec_read: column(3),
            write_requests: column(4),
            write_sectors: column(6),
            msec_write: column(7),
        }
    }
}

fn emit_columns(prefix: &str, line: &DiskLine<'_>, out: &mut Gathering<'_>) {
    for ((name, meaning), number) in COLUMNS.iter().zip(&line.numbers) {
        out.add(&format!("{prefix}.{name}"), &[("dev", line.device)], whole(*number), *meaning);
    }
}

fn emit_derived(prefix: &str, device: &str, now: Totals, before: Option<Totals>, out: &mut Gathering<'_>) {
    for (kind, sectors) in [("read", now.read_sectors), ("write", now.write_sectors)] {
        let bytes = whole(sectors.saturating_mul(SECTOR_BYTES));
        out.add(&format!("{prefix}.bytes"), &[("dev", device), ("type", kind)], bytes, BYTES);
    }
    let Some(before) = before else { return };
    let read = (now.msec_read.checked_sub(before.msec_read), now.read_requests.checked_sub(before.read_requests));
    let write = (now.msec_write.checked_sub(before.msec_write), now.write_requests.checked_sub(before.write_requests));
    for (name, difference) in [("time_per_read", read), ("time_per_write", write)] {
        if let (Some(msec), Some(requests @ 1..)) = difference {
            out.add(&format!("{prefix}.{name}"), &[("dev", device)], msec as f64 / requests as f64, PER_REQUEST);
        }
    }
}

fn emit_block_size(files: &HostFiles, prefix: &str, device: &str, out: &mut Gathering<'_>) {
    let path = format!("sys/block/{}/queue/hw_sector_size", device.replace('/', "!"));
    if let Ok(Some(text)) = files.read_optional(&path)
        && let Ok(bytes) = text.trim().parse()
    {
        out.add(&format!("{prefix}.block_size"), &[("dev", device)], whole(bytes), BLOCK);
    }
}

fn is_removable(files: &HostFiles, disk: &str) -> bool {
    matches!(files.read_optional(&format!("sys/block/{disk}/removable")), Ok(Some(text)) if text.trim() == "1")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::builtin::fixture::{Fixture, number};

    fn with_stats(text: &str) -> Fixture {
        Fixture::default()
            .with("proc/diskstats", text)
            .with("sys/block/vda/queue/hw_sector_size", "4096\n")
            .with("sys/block/sdb/removable", "1\n")
    }

    #[test]
    fn kernels_of_any_age_are_understood_and_idle_devices_left_out() {
        let fixture = with_stats(
            "   7 0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n \
             254 0 vda 43046 9723 5104842 26513 26557 37262 6242144 20497 0 9036 48020 9372 26 1470400 890 3646 118\n \
             254 1 vda1 10 2 30 4 5 6 7 8 9 10 11\n   8 17 sdb1 1 2 3 4 5 6 7 8 9 10 11\n",
        );
        let gathered = fixture.gather(|out| Disks::default().collect(&fixture.files(), out).unwrap());
        assert_eq!(number(&gathered, "linux.disk.read_requests{dev=vda,host=h}"), Some(43_046.0));
        assert_eq!(number(&gathered, "linux.disk.msec_flush{dev=vda,host=h}"), Some(118.0));
        assert_eq!(number(&gathered, "linux.disk.bytes{dev=vda,host=h,type=read}"), Some(5_104_842.0 * 512.0));
        assert_eq!(number(&gathered, "linux.disk.block_size{dev=vda,host=h}"), Some(4096.0));
        assert_eq!(number(&gathered, "linux.disk.part.msec_weighted_total{dev=vda1,host=h}"), Some(11.0));
        assert_eq!(number(&gathered, "linux.disk.part.rem.read_requests{dev=sdb1,host=h}"), Some(1.0));
        assert!(gathered.batch.points().all(|point| !gathered.batch.series_text(point.series).contains("loop0")));
    }

    #[test]
    fn the_time_of_a_request_is_that_since_the_run_before() {
        let mut disks = Disks::default();
        let first = with_stats("254 0 vda 10 0 0 100 5 0 0 50 0 0 0\n");
        let gathered = first.gather(|out| disks.collect(&first.files(), out).unwrap());
        assert_eq!(number(&gathered, "linux.disk.time_per_read{dev=vda,host=h}"), None);
        let second = with_stats("254 0 vda 14 0 0 110 5 0 0 50 0 0 0\n");
        let gathered = second.gather(|out| disks.collect(&second.files(), out).unwrap());
        assert_eq!(number(&gathered, "linux.disk.time_per_read{dev=vda,host=h}"), Some(2.5));
        assert_eq!(number(&gathered, "linux.disk.time_per_write{dev=vda,host=h}"), None);
        let after_a_reset = with_stats("254 0 vda 1 0 0 1 1 0 0 1 0 0 0\n");
        let gathered = after_a_reset.gather(|out| disks.collect(&after_a_reset.files(), out).unwrap());
        assert_eq!(number(&gathered, "linux.disk.time_per_read{dev=vda,host=h}"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text in "([0-9]{1,3} [0-9] [a-z./!]{0,6}( [0-9]{0,21}){0,20}.{0,3}\n){0,3}") {
            let fixture = with_stats(&text);
            fixture.gather(|out| { let _result = Disks::default().collect(&fixture.files(), out); });
        }
    }
}
