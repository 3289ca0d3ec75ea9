//! The options of `boot` for the guest's network and names.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use clap::{Args, ValueEnum};
use vmroot::boot::{Protocol, PublishedPort};

/// The longest host name of Linux in bytes (`__NEW_UTS_LEN` of uname(2)).
const MAX_HOSTNAME: usize = 64;

/// Options for the network, the host name and the name servers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct GuestNetworkArguments {
    /// Connect the guest to this network
    #[arg(long, value_enum, default_value_t = NetworkName::None)]
    pub(crate) net: NetworkName,
    /// Give the guest this address, and its router the one after the comma [default: 10.0.2.15/24,10.0.2.2]
    #[arg(long, value_name = "ADDRESS/PREFIX[,ROUTER]", value_parser = parse_address)]
    pub(crate) ip: Option<AddressArgument>,
    /// Forward this port of the host to a port of the guest; of 127.0.0.1, unless an address is given, and by TCP without
    /// `/udp`
    #[arg(long, short = 'p', value_name = "[ADDRESS:]PORT:GUEST[/udp]", value_parser = parse_port)]
    pub(crate) publish: Vec<PublishedPort>,
    /// Use this name server, in place of those in the image's /etc/resolv.conf
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<IpAddr>,
    /// Give the guest this host name [default: the one in the image's /etc/hostname, or vmroot]
    #[arg(long, value_name = "NAME", value_parser = parse_hostname)]
    pub(crate) hostname: Option<String>,
}

/// The network of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkName {
    /// No network
    None,
    /// A network behind QEMU, whose connections to others are those of its process
    User,
}

/// A value of `--ip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AddressArgument {
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix: u8,
    pub(crate) gateway: Option<Ipv4Addr>,
}

fn parse_address(text: &str) -> Result<AddressArgument, String> {
    let expected =
        || "expected an IPv4 address and the length of its network's prefix, such as 10.0.2.15/24".to_owned();
    let (own, gateway) = match text.split_once(',') {
        Some((own, gateway)) => (own, Some(gateway.parse().map_err(|_| "the router has no IPv4 address".to_owned())?)),
        None => (text, None),
    };
    let (address, prefix) = own.split_once('/').ok_or_else(expected)?;
    let (Ok(address), Ok(prefix)) = (address.parse(), prefix.parse()) else { return Err(expected()) };
    Ok(AddressArgument { address, prefix, gateway })
}

fn parse_port(text: &str) -> Result<PublishedPort, String> {
    let expected = || "expected the port of the host and that of the guest, such as 8080:80".to_owned();
    let (ports, protocol) = match text.split_once('/') {
        None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Protocol::Tcp),
        Some((ports, "udp")) => (ports, Protocol::Udp),
        Some(_) => return Err("the protocol is tcp or udp".to_owned()),
    };
    let (host, guest) = ports.rsplit_once(':').ok_or_else(expected)?;
    let (address, port) = host.rsplit_once(':').unwrap_or(("127.0.0.1", host));
    let address = address.parse().map_err(|_| format!("{address} is no IPv4 address"))?;
    let number = |text: &str| text.parse().ok().filter(|port| *port != 0).ok_or_else(expected);
    Ok(PublishedPort { protocol, host: SocketAddrV4::new(address, number(port)?), guest: number(guest)? })
}

fn parse_hostname(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.bytes().all(valid) && !label.starts_with('-') && !label.ends_with('-')
    };
    match text.len() <= MAX_HOSTNAME && text.split('.').all(is_label) {
        true => Ok(text.to_owned()),
        false => Err(format!("a host name has letters, digits, dashes and dots, and at most {MAX_HOSTNAME} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_a_host_and_a_guest() {
        let port = |protocol, host: &str, guest| PublishedPort { protocol, host: host.parse().unwrap(), guest };
        assert_eq!(parse_port("8080:80"), Ok(port(Protocol::Tcp, "127.0.0.1:8080", 80)));
        assert_eq!(parse_port("8080:80/tcp"), Ok(port(Protocol::Tcp, "127.0.0.1:8080", 80)));
        assert_eq!(parse_port("0.0.0.0:53:53/udp"), Ok(port(Protocol::Udp, "0.0.0.0:53", 53)));
        for text in ["80", "80:", ":80", "0:80", "80:0", "x:80", "host:80:80", "80:80/sctp", "70000:1", "::1:80:80"] {
            assert!(parse_port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_have_a_prefix() {
        let (address, gateway) = (Ipv4Addr::new(10, 1, 2, 3), Some(Ipv4Addr::new(10, 1, 2, 1)));
        assert_eq!(parse_address("10.1.2.3/24,10.1.2.1"), Ok(AddressArgument { address, prefix: 24, gateway }));
        assert_eq!(parse_address("10.1.2.3/8"), Ok(AddressArgument { address, prefix: 8, gateway: None }));
        for text in ["10.1.2.3", "10.1.2.3/", "10.1.2/24", "fd00::1/64", "10.1.2.3/24,x", "10.1.2.3/24,"] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hostnames_are_those_of_the_kernel() {
        for name in ["a", "web-1", "web.example.org"] {
            assert_eq!(parse_hostname(name).as_deref(), Ok(name));
        }
        for name in ["", "a b", "-a", "a-", "a..b", "ü", &"x".repeat(65)] {
            assert!(parse_hostname(name).is_err(), "{name}");
        }
    }
}
