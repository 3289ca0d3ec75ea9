//! Which addresses a request may go to.
//!
//! The author of a manifest chooses the addresses of a foreign layer. A machine that pulls images reaches servers that
//! the author does not: its own, those of its network, the metadata server of its cloud. So requests for such
//! layers go to public addresses, unless the registry itself has an address like theirs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{Failure, shown};
use crate::{Error, Proxies};

/// How far a request may go. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Reach {
    /// To addresses of the internet.
    Public,
    /// To networks that are not routed there: RFC 1918, RFC 6598, unique-local addresses.
    Private,
    /// To this machine, this link, and everything else.
    Anywhere,
}

impl Reach {
    /// How far away an address is.
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// Refuses a URL whose host is an address that is out of reach. Names are looked at when they are looked up.
    pub(super) fn check(self, url: &Url) -> Result<(), Failure> {
        let host = url.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse();
        match address {
            Ok(address) if Self::of(address) > self => {
                Err(Failure::Final(Error::Address { url: shown(url), host: host.to_owned() }))
            }
            _ => Ok(()),
        }
    }
}

fn of_v4(address: Ipv4Addr) -> Reach {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        _ if address.is_private() => Reach::Private,
        (100, 64..=127, _) => Reach::Private,
        _ if address.is_loopback() || address.is_link_local() || address.is_multicast() => Reach::Anywhere,
        // This network; protocol assignments; documentation; the relays of 6to4; benchmarks; reserved, broadcast.
        (0, ..)
        | (192, 0, 0 | 2)
        | (198, 51, 100)
        | (203, 0, 113)
        | (192, 88, 99)
        | (198, 18..=19, _)
        | (240.., ..) => Reach::Anywhere,
        _ => Reach::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Reach {
    let segments = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match segments {
        _ if address.is_unique_local() => Reach::Private,
        // Translated to IPv4 on the way (RFC 6052, RFC 3056), or once meant so.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => of_v4(v4(high, low)),
        [0x2002, high, low, ..] => of_v4(v4(high, low)),
        // All of the internet is in here but Teredo, documentation and other special parts.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Reach::Anywhere,
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Anywhere,
    }
}

/// Looks names up and gives no address that is out of reach. The connection is made to the addresses that it gives, so a
/// name server cannot give another address after the check.
pub(super) struct Guard {
    pub(super) reach: Reach,
    /// Proxies are the caller's choice and may be anywhere.
    pub(super) proxies: Vec<String>,
}

impl Guard {
    pub(super) fn new(reach: Reach, proxies: &Proxies) -> Arc<Self> {
        Arc::new(Self { reach, proxies: proxies.hosts() })
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = if self.proxies.iter().any(|host| host == name.as_str()) { Reach::Anywhere } else { self.reach };
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::task::spawn_blocking(move || (host.as_str(), 0).to_socket_addrs()).await??;
            let found: Vec<SocketAddr> = found.filter(|address| Reach::of(address.ip()) <= reach).collect();
            if found.is_empty() {
                return Err(OutOfReach { host: name.as_str().to_owned() }.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// A name that leads to no address within reach.
#[derive(Debug, thiserror::Error)]
#[error("{host} has no public address")]
pub(super) struct OutOfReach {
    pub(super) host: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_as_far_away_as_the_registries_of_iana_say() {
        for (address, reach) in [
            ("1.1.1.1", Reach::Public),
            ("93.184.216.34", Reach::Public),
            ("172.15.255.255", Reach::Public),
            ("172.32.0.0", Reach::Public),
            ("100.63.255.255", Reach::Public),
            ("192.0.1.1", Reach::Public),
            ("223.255.255.255", Reach::Public),
            ("2606:4700::1111", Reach::Public),
            ("2a00:1450:4001::200e", Reach::Public),
            ("64:ff9b::0101:0101", Reach::Public),
            ("10.0.0.1", Reach::Private),
            ("172.16.0.1", Reach::Private),
            ("172.31.255.255", Reach::Private),
            ("192.168.1.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("fc00::1", Reach::Private),
            ("fdff::1", Reach::Private),
            ("::ffff:10.0.0.1", Reach::Private),
            ("64:ff9b::10.0.0.1", Reach::Private),
            ("127.0.0.1", Reach::Anywhere),
            ("127.255.255.254", Reach::Anywhere),
            ("0.0.0.0", Reach::Anywhere),
            ("0.1.2.3", Reach::Anywhere),
            ("169.254.169.254", Reach::Anywhere),
            ("224.0.0.1", Reach::Anywhere),
            ("239.255.255.255", Reach::Anywhere),
            ("255.255.255.255", Reach::Anywhere),
            ("240.0.0.1", Reach::Anywhere),
            ("198.18.0.1", Reach::Anywhere),
            ("::", Reach::Anywhere),
            ("::1", Reach::Anywhere),
            ("::127.0.0.1", Reach::Anywhere),
            ("::ffff:127.0.0.1", Reach::Anywhere),
            ("::ffff:169.254.169.254", Reach::Anywhere),
            ("64:ff9b::127.0.0.1", Reach::Anywhere),
            ("2002:7f00:1::", Reach::Anywhere),
            ("2002:a9fe:a9fe::1", Reach::Anywhere),
            ("2001:0:1::1", Reach::Anywhere),
            ("fe80::1", Reach::Anywhere),
            ("fec0::1", Reach::Anywhere),
            ("ff02::1", Reach::Anywhere),
        ] {
            assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
        }
    }

    #[test]
    fn addresses_in_urls_are_seen_in_every_way_of_writing_them() {
        for host in
            ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0", "10.1"]
        {
            let url = Url::parse(&format!("http://{host}:80/x")).unwrap();
            assert!(Reach::Public.check(&url).is_err(), "{host}");
            assert!(Reach::Anywhere.check(&url).is_ok(), "{host}");
        }
        assert!(Reach::Private.check(&Url::parse("http://10.1/").unwrap()).is_ok());
        assert!(Reach::Private.check(&Url::parse("http://169.254.169.254/").unwrap()).is_err());
        assert!(Reach::Public.check(&Url::parse("http://example.com/").unwrap()).is_ok());
    }
}
