//! Traffic of the network interfaces: `/proc/net/dev` and their speeds in `/sys/class/net`.

use tidemark_model::Value;

use crate::{
    collector::{CollectError, Collector},
    gathering::{Gathering, whole},
    host_files::HostFiles,
    meaning::Meaning,
};

pub(super) struct Network;

const BYTES: Meaning = Meaning::counter("bytes", "Bytes received or sent.");
const PACKETS: Meaning = Meaning::counter("packets", "Packets received or sent.");
const ERRORS: Meaning = Meaning::counter("packets", "Packets that were lost to errors.");
const DROPPED: Meaning = Meaning::counter("packets", "Packets that were dropped though they were in order.");
const FIFO: Meaning = Meaning::counter("packets", "Packets that were lost because a buffer was full.");
const FRAMES: Meaning = Meaning::counter("packets", "Packets that were lost to misaligned frames.");
const COMPRESSED: Meaning = Meaning::counter("packets", "Compressed packets received or sent.");
const MULTICAST: Meaning = Meaning::counter("packets", "Multicast packets received.");
const COLLISIONS: Meaning = Meaning::counter("collisions", "Collisions on the wire.");
const CARRIER: Meaning = Meaning::counter("packets", "Packets that were lost to a missing carrier.");
const SPEED: Meaning = Meaning::gauge("Mbit", "Speed of the link, per second.");

/// The columns in order: direction, name, whether it is one of the portable `os.net.*`, meaning.
const COLUMNS: [(&str, &str, bool, Meaning); 16] = [
    ("in", "bytes", true, BYTES),
    ("in", "packets", true, PACKETS),
    ("in", "errs", true, ERRORS),
    ("in", "dropped", true, DROPPED),
    ("in", "fifo_errs", false, FIFO),
    ("in", "frame_errs", false, FRAMES),
    ("in", "compressed", false, COMPRESSED),
    ("in", "multicast", false, MULTICAST),
    ("out", "bytes", true, BYTES),
    ("out", "packets", true, PACKETS),
    ("out", "errs", true, ERRORS),
    ("out", "dropped", true, DROPPED),
    ("out", "fifo_errs", false, FIFO),
    ("out", "collisions", false, COLLISIONS),
    ("out", "carrier_errs", false, CARRIER),
    ("out", "compressed", false, COMPRESSED),
];

impl Collector for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn collect(&mut self, files: &HostFiles, out: &mut Gathering<'_>) -> Result<(), CollectError> {
        for line in files.read("proc/net/dev")?.lines().filter_map(parse_line) {
            let device = format!("sys/class/net/{}", line.interface);
            let kind = InterfaceKind::of(line.interface, files.exists(&format!("{device}/device")));
            emit_columns(kind, &line, out);
            if let Ok(Some(text)) = files.read_optional(&format!("{device}/speed")) {
                emit_speed(kind, line.interface, &text, out);
            }
        }
        Ok(())
    }
}

/// Adding up the bytes of all interfaces counts a packet of a container three times, so scollector gives the names
/// `os.net.*` and `linux.net.*` to cards only and files the others under a name in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InterfaceKind {
    Card,
    Bond,
    Tunnel,
    Virtual,
    Other,
}

impl InterfaceKind {
    fn of(interface: &str, has_device: bool) -> Self {
        let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| interface.starts_with(prefix));
        if starts(&["bond", "team"]) {
            Self::Bond
        } else if has_device || starts(&["eth", "en", "em", "wl", "ww"]) || is_slot_name(interface) {
            Self::Card
        } else if starts(&["tun", "tap", "wg", "ppp", "gre", "sit", "ip6tnl", "ipip", "vxlan", "tailscale"]) {
            Self::Tunnel
        } else if starts(&["veth", "docker", "br-", "br0", "virbr", "cni", "cali", "flannel", "lxc", "vnet", "dummy"]) {
            Self::Virtual
        } else {
            Self::Other
        }
    }

    fn infix(self) -> &'static str {
        match self {
            Self::Card => "",
            Self::Bond => "bond.",
            Self::Tunnel => "tunnel.",
            Self::Virtual => "virtual.",
            Self::Other => "other.",
        }
    }
}

/// Names such as `p1p2`, of the port in a slot.
fn is_slot_name(interface: &str) -> bool {
    interface.strip_prefix('p').and_then(|rest| rest.split_once('p')).is_some_and(|(slot, port)| {
        !slot.is_empty()
            && slot.bytes().all(|byte| byte.is_ascii_digit())
            && port.starts_with(|c: char| c.is_ascii_digit())
    })
}

/// A line `eth0: 330970906 11073 …`.
#[derive(Debug, PartialEq)]
struct InterfaceLine<'a> {
    interface: &'a str,
    numbers: Vec<u64>,
}

fn parse_line(line: &str) -> Option<InterfaceLine<'_>> {
    // The name of an alias has a colon of its own.
    let (interface, numbers) = line.rsplit_once(':')?;
    let interface = interface.trim();
    let numbers: Vec<u64> = numbers.split_ascii_whitespace().map_while(|number| number.parse().ok()).collect();
    (!interface.is_empty() && !interface.contains('/') && numbers.len() == COLUMNS.len())
        .then_some(InterfaceLine { interface, numbers })
}

fn emit_columns(kind: InterfaceKind, line: &InterfaceLine<'_>, out: &mut Gathering<'_>) {
    for ((direction, name, portable, meaning), number) in COLUMNS.iter().zip(&line.numbers) {
        let tags = [("direction", *direction), ("iface", line.interface)];
        out.add(&format!("linux.net.{}{name}", kind.infix()), &tags, whole(*number), *meaning);
        if *portable {
            out.add(&format!("os.net.{}{name}", kind.infix()), &tags, whole(*number), *meaning);
        }
    }
}

/// A card without a link says -1.
fn emit_speed(kind: InterfaceKind, interface: &str, text: &str, out: &mut Gathering<'_>) {
    if let Ok(speed @ 0..) = text.trim().parse::<i64>() {
        for family in ["linux", "os"] {
            let metric = format!("{family}.net.{}ifspeed", kind.infix());
            out.add(&metric, &[("iface", interface)], Value::Int(speed), SPEED);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::builtin::fixture::{Fixture, number};

    const DEV: &str = "Inter-|   Receive                |  Transmit\n face |bytes    packets errs\n    \
        lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0\n  \
        eth0: 330970906   11073    1    2    3     4          5         6   961317    7770    7    8    9    10      11         12\n";

    #[test]
    fn cards_have_portable_names_and_others_a_name_in_between() {
        let fixture = Fixture::default()
            .with("proc/net/dev", DEV)
            .with("sys/class/net/eth0/speed", "10000\n")
            .with("sys/class/net/lo/speed", "-1\n");
        let gathered = fixture.gather(|out| Network.collect(&fixture.files(), out).unwrap());
        assert_eq!(number(&gathered, "os.net.bytes{direction=in,host=h,iface=eth0}"), Some(330_970_906.0));
        assert_eq!(number(&gathered, "os.net.dropped{direction=out,host=h,iface=eth0}"), Some(8.0));
        assert_eq!(number(&gathered, "linux.net.carrier_errs{direction=out,host=h,iface=eth0}"), Some(11.0));
        assert_eq!(number(&gathered, "os.net.other.bytes{direction=in,host=h,iface=lo}"), Some(3193.0));
        assert_eq!(number(&gathered, "os.net.ifspeed{host=h,iface=eth0}"), Some(10_000.0));
        assert_eq!(gathered.batch.len(), 2 * (16 + 8) + 2);
    }

    #[test]
    fn interfaces_are_told_apart_by_device_and_name() {
        let check = |interface: &str, has_device: bool, expect: InterfaceKind| {
            assert_eq!(InterfaceKind::of(interface, has_device), expect, "{interface}");
        };
        check("eth0", false, InterfaceKind::Card);
        check("enp3s0", true, InterfaceKind::Card);
        check("p1p2", false, InterfaceKind::Card);
        check("ib0", true, InterfaceKind::Card);
        check("bond0", false, InterfaceKind::Bond);
        check("wg0", false, InterfaceKind::Tunnel);
        check("veth12ab", false, InterfaceKind::Virtual);
        check("docker0", false, InterfaceKind::Virtual);
        check("lo", false, InterfaceKind::Other);
    }

    proptest! {
        #[test]
        fn any_line_is_parsed_without_panic(line in ".{0,9}:?( [0-9]{0,21}){0,20}.{0,3}", speed in ".{0,8}") {
            Fixture::default().gather(|out| {
                if let Some(line) = parse_line(&line) {
                    emit_columns(InterfaceKind::Card, &line, out);
                }
                emit_speed(InterfaceKind::Card, "eth0", &speed, out);
            });
        }
    }
}
