//! The network of a guest: the VMM's own router, which needs no privilege and no device of the host.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use vmroot_guest_config::GuestNetwork;

use crate::{Error, Result};

/// The longest prefix of a network with four hosts: the guest, the router and the name server, and one to spare.
const MAX_PREFIX: u8 = 29;

/// A network behind the user-mode router of QEMU (`-netdev user`). The router forwards connections of the guest as those
/// of its own process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserNetwork {
    address: Ipv4Addr,
    prefix: u8,
    gateway: Ipv4Addr,
    dns: Ipv4Addr,
    /// The ports of the host that lead to the guest.
    pub publish: Vec<PublishedPort>,
}

/// A port of the host that leads to a port of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedPort {
    /// The protocol.
    pub protocol: Protocol,
    /// The address and the port of the host.
    pub host: SocketAddrV4,
    /// The port of the guest.
    pub guest: u16,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl Default for UserNetwork {
    /// Returns QEMU's default: 10.0.2.15/24 behind 10.0.2.2, with a name server at 10.0.2.3.
    fn default() -> Self {
        Self {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix: 24,
            gateway: Ipv4Addr::new(10, 0, 2, 2),
            dns: Ipv4Addr::new(10, 0, 2, 3),
            publish: Vec::new(),
        }
    }
}

impl UserNetwork {
    /// Returns a network in which the guest has this address. The router has `gateway`, or else the first free address of
    /// the network from its second one on. The name server has the next free one.
    ///
    /// # Errors
    /// [`Error::Network`] if an address is not one of a host of the network, or the network has fewer than six hosts.
    pub fn new(address: Ipv4Addr, prefix: u8, gateway: Option<Ipv4Addr>) -> Result<Self> {
        let failed = |reason: String| Error::Network { reason };
        if !(1..=MAX_PREFIX).contains(&prefix) {
            return Err(failed(format!("the prefix has 1 to {MAX_PREFIX} bits, not {prefix}")));
        }
        let mask = u32::MAX << (32 - prefix);
        let network = u32::from(address) & mask;
        let is_host = |address: Ipv4Addr| {
            let number = u32::from(address);
            number & mask == network && number != network && number != network | !mask
        };
        for (name, address) in [("address", Some(address)), ("gateway", gateway)] {
            if let Some(address) = address.filter(|address| !is_host(*address)) {
                let network = Ipv4Addr::from(network);
                return Err(failed(format!("the {name} {address} is no host of {network}/{prefix}")));
            }
        }
        if gateway == Some(address) {
            return Err(failed(format!("the gateway {address} is the guest's own address")));
        }
        let free = (2..=5).map(|host| Ipv4Addr::from(network + host)).filter(|host| is_host(*host) && *host != address);
        let mut free = free.filter(|host| Some(*host) != gateway);
        let none = || failed("the network has no free address".to_owned());
        let gateway = gateway.or_else(|| free.next()).ok_or_else(none)?;
        let dns = free.next().ok_or_else(none)?;
        Ok(Self { address, prefix, gateway, dns, publish: Vec::new() })
    }

    /// Returns the addresses for the guest's config.
    pub fn guest(&self) -> GuestNetwork {
        let Self { address, prefix, gateway, dns, .. } = *self;
        GuestNetwork { address, prefix, gateway: Some(gateway), dns: vec![dns.into()] }
    }

    /// Returns the value of QEMU's `-netdev`.
    pub(crate) fn netdev(&self, id: &str) -> String {
        let Self { address, prefix, gateway, dns, publish } = self;
        let network = Ipv4Addr::from(u32::from(*address) & (u32::MAX << (32 - prefix)));
        let forward = |port: &PublishedPort| {
            let PublishedPort { protocol, host, guest } = port;
            format!(",hostfwd={protocol}:{}:{}-{address}:{guest}", host.ip(), host.port())
        };
        let forwards: String = publish.iter().map(forward).collect();
        format!("user,id={id},net={network}/{prefix},host={gateway},dns={dns},dhcpstart={address}{forwards}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_that_of_qemu() {
        let network = UserNetwork::new(Ipv4Addr::new(10, 0, 2, 15), 24, None).unwrap();
        assert_eq!(network, UserNetwork::default());
        let expected = "user,id=n,net=10.0.2.0/24,host=10.0.2.2,dns=10.0.2.3,dhcpstart=10.0.2.15";
        assert_eq!(network.netdev("n"), expected);
    }

    #[test]
    fn the_name_server_is_a_third_host() {
        let host = |last| Ipv4Addr::new(192, 168, 7, last);
        let mut network = UserNetwork::new(host(2), 29, Some(host(3))).unwrap();
        let port = PublishedPort { protocol: Protocol::Tcp, host: SocketAddrV4::new(host(9), 8080), guest: 80 };
        network.publish.push(port);
        let expected = "user,id=n,net=192.168.7.0/29,host=192.168.7.3,dns=192.168.7.4,dhcpstart=192.168.7.2,\
                        hostfwd=tcp:192.168.7.9:8080-192.168.7.2:80";
        assert_eq!(network.netdev("n"), expected);
        assert_eq!(network.guest().gateway, Some(host(3)));
    }

    #[test]
    fn addresses_that_are_no_hosts_are_refused() {
        let host = |last| Ipv4Addr::new(10, 0, 0, last);
        for (address, prefix, gateway) in [
            (host(0), 24, None),
            (host(255), 24, None),
            (host(5), 24, Some(Ipv4Addr::new(10, 0, 1, 1))),
            (host(5), 24, Some(host(5))),
            (host(1), 0, None),
            (host(1), 30, None),
            (host(1), 33, None),
        ] {
            assert!(UserNetwork::new(address, prefix, gateway).is_err(), "{address}/{prefix} {gateway:?}");
        }
    }
}
