//! Sockets in use and tracked connections: `/proc/net/sockstat`, `nf_conntrack_*`.

use crate::{
    collector::{CollectError, Collector},
    gathering::{Gathering, whole},
    host_files::HostFiles,
    meaning::Meaning,
};

pub(super) struct Sockets;

const SOCKETS: Meaning = Meaning::gauge("sockets", "Sockets that are open, by protocol and state.");
const PAGES: Meaning = Meaning::gauge("pages", "Memory of the sockets' buffers.");
const BYTES: Meaning = Meaning::gauge("bytes", "Memory of datagrams that are put together.");
const TRACKED: Meaning = Meaning::gauge("connections", "Connections that the firewall tracks.");
const TRACKED_MAX: Meaning = Meaning::gauge("connections", "Most connections that the firewall can track.");
const TRACKED_SHARE: Meaning = Meaning::gauge("percent", "Share of the firewall's table of connections in use.");

/// Protocol and field of the file, and the metric that they become.
const FIELDS: [(&str, &str, &str, Meaning); 12] = [
    ("sockets", "used", "linux.net.sockets.used", SOCKETS),
    ("TCP", "inuse", "linux.net.sockets.tcp_in_use", SOCKETS),
    ("TCP", "orphan", "linux.net.sockets.tcp_orphaned", SOCKETS),
    ("TCP", "tw", "linux.net.sockets.tcp_time_wait", SOCKETS),
    ("TCP", "alloc", "linux.net.sockets.tcp_allocated", SOCKETS),
    ("TCP", "mem", "linux.net.sockets.tcp_mem", PAGES),
    ("UDP", "inuse", "linux.net.sockets.udp_in_use", SOCKETS),
    ("UDP", "mem", "linux.net.sockets.udp_mem", PAGES),
    ("UDPLITE", "inuse", "linux.net.sockets.udplite_in_use", SOCKETS),
    ("RAW", "inuse", "linux.net.sockets.raw_in_use", SOCKETS),
    ("FRAG", "inuse", "linux.net.sockets.frag_in_use", SOCKETS),
    ("FRAG", "memory", "linux.net.sockets.frag_mem", BYTES),
];

impl Collector for Sockets {
    fn name(&self) -> &'static str {
        "sockets"
    }

    fn collect(&mut self, files: &HostFiles, out: &mut Gathering<'_>) -> Result<(), CollectError> {
        files.read("proc/net/sockstat")?.lines().for_each(|line| emit_line(line, out));
        let tracked = files.read_optional("proc/sys/net/netfilter/nf_conntrack_count")?;
        let most = files.read_optional("proc/sys/net/netfilter/nf_conntrack_max")?;
        if let (Some(tracked), Some(most)) = (tracked, most)
            && let (Ok(tracked), Ok(most)) = (tracked.trim().parse::<u64>(), most.trim().parse::<u64>())
        {
            emit_tracked(tracked, most, out);
        }
        Ok(())
    }
}

/// A line `TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 324`.
fn emit_line(line: &str, out: &mut Gathering<'_>) {
    let Some((protocol, rest)) = line.split_once(':') else { return };
    let mut words = rest.split_ascii_whitespace();
    while let (Some(field), Some(number)) = (words.next(), words.next()) {
        let known = FIELDS.iter().find(|(of, name, _, _)| *of == protocol && *name == field);
        if let (Some((_, _, metric, meaning)), Ok(number)) = (known, number.parse()) {
            out.add(metric, &[], whole(number), *meaning);
        }
    }
}

fn emit_tracked(tracked: u64, most: u64, out: &mut Gathering<'_>) {
    out.add("linux.net.conntrack.count", &[], whole(tracked), TRACKED);
    out.add("linux.net.conntrack.max", &[], whole(most), TRACKED_MAX);
    if most > 0 {
        out.add("linux.net.conntrack.percent_used", &[], tracked as f64 / most as f64 * 100.0, TRACKED_SHARE);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::builtin::fixture::{Fixture, number};

    #[test]
    fn all_twelve_fields_are_found_by_name() {
        let text = "sockets: used 17\nTCP: inuse 1 orphan 2 tw 3 alloc 4 mem 324\nUDP: inuse 5 mem 6\n\
            UDPLITE: inuse 7\nRAW: inuse 8\nFRAG: inuse 9 memory 10\n";
        let fixture = Fixture::default()
            .with("proc/net/sockstat", text)
            .with("proc/sys/net/netfilter/nf_conntrack_count", "50\n")
            .with("proc/sys/net/netfilter/nf_conntrack_max", "200\n");
        let gathered = fixture.gather(|out| Sockets.collect(&fixture.files(), out).unwrap());
        assert_eq!(gathered.batch.len(), 15);
        assert_eq!(number(&gathered, "linux.net.sockets.used{host=h}"), Some(17.0));
        assert_eq!(number(&gathered, "linux.net.sockets.tcp_time_wait{host=h}"), Some(3.0));
        assert_eq!(number(&gathered, "linux.net.sockets.frag_mem{host=h}"), Some(10.0));
        assert_eq!(number(&gathered, "linux.net.conntrack.percent_used{host=h}"), Some(25.0));
    }

    proptest! {
        #[test]
        fn any_line_is_parsed_without_panic(line in "(TCP|FRAG|.{0,4}):?( (inuse|mem|.{0,4}) .{0,9}){0,3}") {
            Fixture::default().gather(|out| emit_line(&line, out));
        }
    }
}
