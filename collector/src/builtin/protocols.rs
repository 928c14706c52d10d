//! Counters of the network protocols: `/proc/net/netstat` and `/proc/net/snmp`.

use tidemark_model::Value;

use crate::{
    collector::{CollectError, Collector},
    gathering::Gathering,
    host_files::HostFiles,
    meaning::Meaning,
};

pub(super) struct Protocols;

const TOTAL: Meaning = Meaning::counter("", "As the field of the same name in /proc/net/snmp or /proc/net/netstat.");
const LEVEL: Meaning = Meaning::gauge("", "As the field of the same name in /proc/net/snmp.");

impl Collector for Protocols {
    fn name(&self) -> &'static str {
        "protocols"
    }

    fn collect(&mut self, files: &HostFiles, out: &mut Gathering<'_>) -> Result<(), CollectError> {
        for path in ["proc/net/netstat", "proc/net/snmp"] {
            if let Some(text) = files.read_optional(path)? {
                emit(&text, out);
            }
        }
        Ok(())
    }
}

/// Pairs of lines: `Tcp: RtoMin InSegs` and `Tcp: 200 10717`. The tables of `netstat` are called `TcpExt` and
/// `IpExt`, but scollector files them under `tcp` and `ip`.
fn emit(text: &str, out: &mut Gathering<'_>) {
    let mut lines = text.lines();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let (Some((table, names)), Some((same, numbers))) = (names.split_once(':'), numbers.split_once(':')) else {
            continue;
        };
        if table != same {
            continue;
        }
        let protocol = table.trim_end_matches("Ext").to_lowercase();
        let extended = table.ends_with("Ext");
        for (name, number) in names.split_ascii_whitespace().zip(numbers.split_ascii_whitespace()) {
            let Some(value) = parse(number) else { continue };
            let name = name.to_lowercase();
            let name = if extended { name.strip_prefix("tcp").unwrap_or(&name) } else { &name };
            let meaning = if !extended && is_level(name) { LEVEL } else { TOTAL };
            out.add(&format!("linux.net.stat.{protocol}.{name}"), &[], value, meaning);
        }
    }
}

fn parse(number: &str) -> Option<Value> {
    number.parse().map(Value::Int).or_else(|_| number.parse::<u64>().map(|number| Value::Float(number as f64))).ok()
}

fn is_level(name: &str) -> bool {
    name.starts_with("rto") || matches!(name, "maxconn" | "currestab" | "forwarding" | "defaultttl")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidemark_model::RateKind;

    use super::*;
    use crate::builtin::fixture::{Fixture, number, value};

    #[test]
    fn names_and_numbers_are_paired_table_by_table() {
        let snmp = "Tcp: RtoMin MaxConn InSegs CurrEstab\nTcp: 200 -1 10717 4\nUdp: InDatagrams\nUdp: 377\n";
        let netstat = "TcpExt: SyncookiesSent TCPTimeouts\nTcpExt: 3 18446744073709551615\nIpExt: InOctets\nIpExt: 9\n";
        let fixture = Fixture::default().with("proc/net/snmp", snmp).with("proc/net/netstat", netstat);
        let gathered = fixture.gather(|out| Protocols.collect(&fixture.files(), out).unwrap());
        assert_eq!(value(&gathered, "linux.net.stat.tcp.maxconn{host=h}"), Some(Value::Int(-1)));
        assert_eq!(number(&gathered, "linux.net.stat.tcp.insegs{host=h}"), Some(10_717.0));
        assert_eq!(number(&gathered, "linux.net.stat.udp.indatagrams{host=h}"), Some(377.0));
        assert_eq!(number(&gathered, "linux.net.stat.tcp.syncookiessent{host=h}"), Some(3.0));
        assert_eq!(number(&gathered, "linux.net.stat.tcp.timeouts{host=h}"), Some(u64::MAX as f64));
        assert_eq!(number(&gathered, "linux.net.stat.ip.inoctets{host=h}"), Some(9.0));
        let rate = |metric: &str| gathered.metadata.iter().find(|entry| entry.metric == metric).unwrap().rate;
        assert_eq!(rate("linux.net.stat.tcp.currestab"), Some(RateKind::Gauge));
        assert_eq!(rate("linux.net.stat.tcp.insegs"), Some(RateKind::Counter));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text in "((Tcp|TcpExt|.{0,3}):? .{0,20}\n){0,5}") {
            Fixture::default().gather(|out| emit(&text, out));
        }
    }
}
