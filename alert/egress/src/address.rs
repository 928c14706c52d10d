//! Which addresses are somebody's own network rather than the Internet.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Whether requests may go to addresses that are not on the public Internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PrivateAddresses {
    /// Loopback, private, link-local, shared, multicast and reserved addresses are refused, and so are the ports of
    /// services that speak no HTTP. For URLs that people write into rules.
    #[default]
    Refuse,
    /// Any address. For servers that the operator configured, such as an agent's `--to`.
    Allow,
}

/// Why an address is not public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressKind {
    /// Anybody's: what [`PrivateAddresses::Refuse`] lets through.
    Public,
    /// `0.0.0.0/8`, `::`: reaches the own host on many systems.
    Unspecified,
    /// `127.0.0.0/8`, `::1`.
    Loopback,
    /// RFC 1918, IPv6 unique local and the old site-local addresses.
    Private,
    /// `169.254.0.0/16`, where clouds keep their metadata service, and `fe80::/10`.
    LinkLocal,
    /// `100.64.0.0/10`, carriers' address translation (RFC 6598).
    Shared,
    /// `224.0.0.0/4`, `ff00::/8`.
    Multicast,
    /// Documentation, benchmarks, protocol assignments, broadcast and what is reserved for later.
    Reserved,
}

impl fmt::Display for AddressKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Public => "public",
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Shared => "shared (carrier NAT)",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
        })
    }
}

/// The kind of an address. An IPv6 address that carries an IPv4 address (mapped, compatible, NAT64, 6to4) is judged by
/// the address it carries, since that is where its packets may end.
///
/// Ranges: the IANA special-purpose address registries (RFC 6890 and its updates).
#[must_use]
pub fn classify(address: IpAddr) -> AddressKind {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

fn classify_v4(address: Ipv4Addr) -> AddressKind {
    match address.octets() {
        [0, ..] => AddressKind::Unspecified,
        [127, ..] => AddressKind::Loopback,
        [10, ..] | [192, 168, ..] => AddressKind::Private,
        [172, second, ..] if second & 0xF0 == 16 => AddressKind::Private,
        [169, 254, ..] => AddressKind::LinkLocal,
        [100, second, ..] if second & 0xC0 == 64 => AddressKind::Shared,
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => {
            AddressKind::Reserved
        }
        [first, ..] if first & 0xF0 == 224 => AddressKind::Multicast,
        [first, ..] if first >= 240 => AddressKind::Reserved,
        _ => AddressKind::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> AddressKind {
    if let Some(carried) = carried_v4(address) {
        return classify_v4(carried);
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressKind::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressKind::Loopback,
        [first, ..] if first & 0xFE00 == 0xFC00 || first & 0xFFC0 == 0xFEC0 => AddressKind::Private,
        [first, ..] if first & 0xFFC0 == 0xFE80 => AddressKind::LinkLocal,
        [first, ..] if first & 0xFF00 == 0xFF00 => AddressKind::Multicast,
        // Teredo hides an obfuscated IPv4 address; the rest of 2001::/23 is for protocols.
        [0x2001, second, ..] if second < 0x0200 => AddressKind::Reserved,
        [0x2001, 0x0DB8, ..] => AddressKind::Reserved,
        // Only 2000::/3 has been handed out for use on the Internet.
        [first, ..] if first & 0xE000 == 0x2000 && first != 0x3FFF => AddressKind::Public,
        _ => AddressKind::Reserved,
    }
}

/// The IPv4 address inside an IPv6 address, for the forms that translate or tunnel.
fn carried_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let carried = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        // `::` and `::1` are no IPv4-compatible addresses.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xFFFF, high, low] | [0, 0, 0, 0, 0xFFFF, 0, high, low] => carried(high, low),
        [0x64, 0xFF9B, 0, 0, 0, 0, high, low] => carried(high, low),
        [0x2002, high, low, ..] => carried(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn special_addresses_are_told_from_public_ones() {
        use AddressKind::*;
        let check = |text: &str, expect: AddressKind| {
            let address: IpAddr = text.parse().expect(text);
            assert_eq!(classify(address), expect, "{text}");
        };
        check("8.8.8.8", Public);
        check("172.15.0.1", Public);
        check("172.32.0.1", Public);
        check("100.63.0.1", Public);
        check("100.128.0.1", Public);
        check("2606:4700::1111", Public);
        check("0.0.0.0", Unspecified);
        check("0.1.2.3", Unspecified);
        check("127.0.0.1", Loopback);
        check("127.255.1.1", Loopback);
        check("10.0.0.1", Private);
        check("172.16.0.1", Private);
        check("172.31.255.255", Private);
        check("192.168.1.1", Private);
        check("169.254.169.254", LinkLocal);
        check("100.64.0.1", Shared);
        check("100.127.255.255", Shared);
        check("224.0.0.1", Multicast);
        check("239.255.255.255", Multicast);
        check("255.255.255.255", Reserved);
        check("192.0.2.1", Reserved);
        check("198.19.0.1", Reserved);
        check("::", Unspecified);
        check("::1", Loopback);
        check("fe80::1", LinkLocal);
        check("fc00::1", Private);
        check("fd12:3456::1", Private);
        check("fec0::1", Private);
        check("ff02::1", Multicast);
        check("::ffff:127.0.0.1", Loopback);
        check("::ffff:8.8.8.8", Public);
        check("::ffff:0:10.0.0.1", Private);
        check("::127.0.0.1", Loopback);
        check("64:ff9b::10.0.0.1", Private);
        check("64:ff9b:1::1", Reserved);
        check("2002:7f00:1::", Loopback);
        check("2002:a9fe:a9fe::", LinkLocal);
        check("2001:0:53aa:64c::1", Reserved);
        check("2001:db8::1", Reserved);
        check("4000::1", Reserved);
        check("fd00:ec2::254", Private);
    }

    proptest! {
        #[test]
        fn a_mapped_address_is_judged_like_the_address_it_carries(bits: u32) {
            let address = Ipv4Addr::from(bits);
            prop_assert_eq!(classify(address.into()), classify(address.to_ipv6_mapped().into()));
        }
    }
}
