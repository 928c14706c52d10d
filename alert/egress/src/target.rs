//! May a request go to this URL, as far as the URL tells?

use std::net::IpAddr;

use url::{Host, Url};

use crate::{AddressKind, PrivateAddresses, Redacted, TargetError, classify};

/// Ports of services that speak no HTTP but act on what they are sent, after the list of the Fetch standard
/// ("port blocking") with the data stores that web hooks have been abused against.
const PORTS_REFUSED: &[u16] = &[
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 445, 465, 512, 513, 514, 515, 526, 530,
    531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1433, 1521, 1719, 1720, 1723, 2049, 2375,
    2379, 2380, 3306, 3389, 3659, 4045, 4190, 5060, 5061, 5432, 6000, 6379, 6380, 6566, 6665, 6666, 6667, 6668, 6669,
    6679, 6697, 9042, 10080, 10250, 11211, 26379, 27017,
];

/// Checks scheme, host and port of a URL, without asking any name server.
///
/// With [`PrivateAddresses::Refuse`] a literal address must be public, the name must not be one that always means the
/// own host, and the port must not be one of a service that speaks no HTTP. Addresses in unusual notation (octal,
/// hexadecimal, one number) are judged as what they mean, since [`Url`] normalises them.
///
/// # Errors
/// Says which part of the URL is refused and why, without its secrets.
pub fn check_target(url: &Url, private: PrivateAddresses) -> Result<(), TargetError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(TargetError::Scheme { scheme: url.scheme().to_owned() });
    }
    let host = url.host().ok_or(TargetError::NoHost)?;
    match private {
        PrivateAddresses::Allow => Ok(()),
        PrivateAddresses::Refuse => check_public(url, &host),
    }
}

fn check_public(url: &Url, host: &Host<&str>) -> Result<(), TargetError> {
    match host {
        Host::Ipv4(address) => check_address(url, IpAddr::V4(*address))?,
        Host::Ipv6(address) => check_address(url, IpAddr::V6(*address))?,
        Host::Domain(name) => check_name(name)?,
    }
    match url.port() {
        Some(port) if PORTS_REFUSED.contains(&port) => Err(TargetError::Port { url: Redacted(url).to_string(), port }),
        _ => Ok(()),
    }
}

fn check_address(url: &Url, address: IpAddr) -> Result<(), TargetError> {
    match classify(address) {
        AddressKind::Public => Ok(()),
        kind => Err(TargetError::PrivateAddress { host: url.host_str().unwrap_or_default().to_owned(), address, kind }),
    }
}

/// RFC 6761 §6.3: `localhost` and names below it always mean the own host.
fn check_name(name: &str) -> Result<(), TargetError> {
    let name = name.trim_end_matches('.');
    if name == "localhost" || name.ends_with(".localhost") {
        return Err(TargetError::OwnHost { host: name.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, allowed: bool) {
        let verdict = Url::parse(text).map(|url| check_target(&url, PrivateAddresses::Refuse));
        assert_eq!(matches!(verdict, Ok(Ok(()))), allowed, "{text}: {verdict:?}");
    }

    #[test]
    fn urls_that_lead_inside_are_refused_however_they_are_written() {
        for inside in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://0x7f.0.0.1:8080/",
            "http://127.0.0.1.:80/",
            "http://①②⑦.⓪.⓪.①/",
            "http://0/",
            "http://0.0.0.0:4242/",
            "http://[::]/",
            "http://[::1]:4242/",
            "http://[0:0:0:0:0:0:0:1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[::127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[2002:7f00:1::]/",
            "http://[fe80::1]/",
            "http://[fd00:ec2::254]/latest/meta-data/",
            "http://169.254.169.254/latest/meta-data/",
            "http://2852039166/",
            "http://10.0.0.1/",
            "http://172.16.5.4/",
            "http://192.168.0.1/",
            "http://100.64.1.1/",
            "http://224.0.0.1/",
            "http://255.255.255.255/",
            "http://localhost/",
            "http://LOCALHOST/",
            "http://localhost./",
            "http://db.localhost/",
            "http://example.com@127.0.0.1/",
            "http://example.com:80@10.1.1.1/",
            "http://example.com:22/",
            "http://example.com:6379/",
            "https://93.184.216.34:25/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "gopher://example.com:70/",
            "data:text/plain,x",
            "redis://example.com/",
            "unix:/run/docker.sock",
        ] {
            check(inside, false);
        }
    }

    #[test]
    fn urls_on_the_internet_pass() {
        for outside in [
            "https://hooks.example.com/services/T0/B0",
            "http://example.com:8080/",
            "https://user:password@example.com/",
            "http://93.184.216.34/",
            "http://[2606:4700::1111]/",
            "http://[::ffff:8.8.8.8]/",
        ] {
            check(outside, true);
        }
    }

    #[test]
    fn a_configured_server_may_be_anywhere_but_must_speak_http() {
        let allowed = |text: &str| check_target(&Url::parse(text).unwrap(), PrivateAddresses::Allow);
        assert_eq!(allowed("http://127.0.0.1:4242/"), Ok(()));
        assert_eq!(allowed("http://localhost:6379/"), Ok(()));
        assert_eq!(allowed("ftp://10.0.0.1/"), Err(TargetError::Scheme { scheme: "ftp".into() }));
    }

    #[test]
    fn a_refusal_says_what_and_keeps_the_secret() {
        let url = Url::parse("http://me:hunter2@10.0.0.1/hook/key").unwrap();
        let text = check_target(&url, PrivateAddresses::Refuse).unwrap_err().to_string();
        assert_eq!(text, "host `10.0.0.1` is the private address 10.0.0.1, and only public addresses may be reached");
    }
}
