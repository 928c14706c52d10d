//! Memory: `/proc/meminfo`.

use crate::{
    collector::{CollectError, Collector},
    gathering::{Gathering, whole},
    host_files::HostFiles,
    meaning::Meaning,
};

pub(super) struct Memory;

const FIELD: Meaning = Meaning::gauge("kbytes", "As the field of the same name in /proc/meminfo.");
const PAGES: Meaning = Meaning::gauge("pages", "As the field of the same name in /proc/meminfo.");
const TOTAL: Meaning = Meaning::gauge("bytes", "Memory of the machine.");
const USED: Meaning = Meaning::gauge("bytes", "Memory that could not be had for a new program.");
const FREE: Meaning = Meaning::gauge("bytes", "Memory that could be had for a new program, caches included.");
const PERCENT_FREE: Meaning =
    Meaning::gauge("percent", "Share of the memory that could be had for a new program, caches included.");

impl Collector for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn collect(&mut self, files: &HostFiles, out: &mut Gathering<'_>) -> Result<(), CollectError> {
        emit(&files.read("proc/meminfo")?, out)
    }
}

/// A line `Active(anon):   1568 kB`.
#[derive(Debug, PartialEq)]
struct Field<'a> {
    name: &'a str,
    number: u64,
    in_kbytes: bool,
}

fn parse_line(line: &str) -> Option<Field<'_>> {
    let (name, rest) = line.split_once(':')?;
    let mut words = rest.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    Some(Field { name: name.trim(), number, in_kbytes: words.next() == Some("kB") })
}

fn emit(text: &str, out: &mut Gathering<'_>) -> Result<(), CollectError> {
    let fields: Vec<Field<'_>> = text.lines().filter_map(parse_line).collect();
    for field in &fields {
        let metric = format!("linux.mem.{}", field.name.to_lowercase().replace('(', "_").replace(')', ""));
        out.add(&metric, &[], whole(field.number), if field.in_kbytes { FIELD } else { PAGES });
    }
    let kbytes = |name: &str| fields.iter().find(|field| field.name == name).map(|field| field.number);
    let Some(total) = kbytes("MemTotal") else {
        return Err(CollectError::Parse { path: "proc/meminfo", problem: "no line `MemTotal`" });
    };
    // Kernels before 3.14 do not say what is available.
    let available = kbytes("MemAvailable").unwrap_or_else(|| {
        ["MemFree", "Buffers", "Cached", "Slab"].iter().filter_map(|name| kbytes(name)).fold(0, u64::saturating_add)
    });
    let free = available.min(total);
    out.add("os.mem.total", &[], whole(total.saturating_mul(1024)), TOTAL);
    out.add("os.mem.free", &[], whole(free.saturating_mul(1024)), FREE);
    out.add("os.mem.used", &[], whole((total - free).saturating_mul(1024)), USED);
    if total > 0 {
        out.add("os.mem.percent_free", &[], free as f64 / total as f64 * 100.0, PERCENT_FREE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::builtin::fixture::{Fixture, number};

    #[test]
    fn what_is_available_counts_as_free() {
        let text = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    250 kB\n\
            Active(anon):      7 kB\nHugePages_Total:       3\n";
        let gathered = Fixture::default().gather(|out| emit(text, out).unwrap());
        assert_eq!(number(&gathered, "os.mem.total{host=h}"), Some(1_024_000.0));
        assert_eq!(number(&gathered, "os.mem.free{host=h}"), Some(256_000.0));
        assert_eq!(number(&gathered, "os.mem.used{host=h}"), Some(768_000.0));
        assert_eq!(number(&gathered, "os.mem.percent_free{host=h}"), Some(25.0));
        assert_eq!(number(&gathered, "linux.mem.active_anon{host=h}"), Some(7.0));
        assert_eq!(number(&gathered, "linux.mem.hugepages_total{host=h}"), Some(3.0));
        let unit = |metric: &str| gathered.metadata.iter().find(|entry| entry.metric == metric).unwrap().unit.clone();
        assert_eq!((unit("linux.mem.memfree"), unit("linux.mem.hugepages_total")), ("kbytes".into(), "pages".into()));
    }

    #[test]
    fn old_kernels_count_buffers_caches_and_slab_as_free() {
        let text = "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 10 kB\nCached: 80 kB\nSlab: 10 kB\n";
        let gathered = Fixture::default().gather(|out| emit(text, out).unwrap());
        assert_eq!(number(&gathered, "os.mem.percent_free{host=h}"), Some(20.0));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text in "((MemTotal|MemFree|[A-Za-z()_]{0,9}):? *[0-9]{0,22}( kB)?\n){0,5}") {
            Fixture::default().gather(|out| { let _result = emit(&text, out); });
        }
    }
}
