//! Limits on the addresses that a request may be sent to.
//!
//! The author of a manifest chooses the URLs of a foreign layer. A machine that pulls images can reach servers that the
//! author cannot: its own, those of its network, and the metadata server of its cloud. So requests for foreign layers
//! are sent to public addresses only, unless the registry itself has a private or local address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{Failure, redacted};
use crate::{Error, Proxies};

/// The scope of an address. As the limit of a request, each scope includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum AddressScope {
    /// Addresses of the internet.
    Public,
    /// Addresses that are not routed on the internet: RFC 1918, RFC 6598, unique-local addresses.
    Private,
    /// Loopback, link-local, multicast and reserved addresses.
    Local,
}

impl AddressScope {
    /// Returns the scope of an address.
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// Checks a URL whose host is an address. Host names are checked when they are resolved.
    ///
    /// # Errors
    /// [`Error::Address`] if the address is out of scope.
    pub(super) fn check(self, url: &Url) -> Result<(), Failure> {
        let host = url.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse();
        match address {
            Ok(address) if Self::of(address) > self => {
                Err(Failure::Final(Error::Address { url: redacted(url), host: host.to_owned() }))
            }
            _ => Ok(()),
        }
    }
}

fn of_v4(address: Ipv4Addr) -> AddressScope {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        _ if address.is_private() => AddressScope::Private,
        (100, 64..=127, _) => AddressScope::Private,
        _ if address.is_loopback() || address.is_link_local() || address.is_multicast() => AddressScope::Local,
        // This network, protocol assignments, documentation, 6to4 relays, benchmarks, reserved addresses, broadcast.
        (0, ..)
        | (192, 0, 0 | 2)
        | (198, 51, 100)
        | (203, 0, 113)
        | (192, 88, 99)
        | (198, 18..=19, _)
        | (240.., ..) => AddressScope::Local,
        _ => AddressScope::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> AddressScope {
    let segments = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match segments {
        _ if address.is_unique_local() => AddressScope::Private,
        // Addresses that contain an IPv4 address (RFC 6052, RFC 3056).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => of_v4(v4(high, low)),
        [0x2002, high, low, ..] => of_v4(v4(high, low)),
        // Teredo, documentation and other special ranges within 2000::/3, which otherwise is the internet.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => AddressScope::Local,
        [0x2000..=0x3fff, ..] => AddressScope::Public,
        _ => AddressScope::Local,
    }
}

/// A resolver that returns only addresses within a scope. Connections are made to the addresses that it returns, so a
/// name server cannot return another address after the check.
pub(super) struct ScopedResolver {
    pub(super) address_scope: AddressScope,
    /// The hosts of proxies, which the caller chose and which may have any address.
    pub(super) proxies: Vec<String>,
}

impl ScopedResolver {
    pub(super) fn new(address_scope: AddressScope, proxies: &Proxies) -> Arc<Self> {
        Arc::new(Self { address_scope, proxies: proxies.hosts() })
    }
}

impl Resolve for ScopedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let address_scope = if self.proxies.iter().any(|host| host == name.as_str()) {
            AddressScope::Local
        } else {
            self.address_scope
        };
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::task::spawn_blocking(move || (host.as_str(), 0).to_socket_addrs()).await??;
            let found: Vec<SocketAddr> =
                found.filter(|address| AddressScope::of(address.ip()) <= address_scope).collect();
            if found.is_empty() {
                return Err(OutOfScope { host: name.as_str().to_owned() }.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The error for a name without an address in scope.
#[derive(Debug, thiserror::Error)]
#[error("{host} has no public address")]
pub(super) struct OutOfScope {
    pub(super) host: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_follow_the_iana_registries() {
        for (address, address_scope) in [
            ("1.1.1.1", AddressScope::Public),
            ("93.184.216.34", AddressScope::Public),
            ("172.15.255.255", AddressScope::Public),
            ("172.32.0.0", AddressScope::Public),
            ("100.63.255.255", AddressScope::Public),
            ("192.0.1.1", AddressScope::Public),
            ("223.255.255.255", AddressScope::Public),
            ("2606:4700::1111", AddressScope::Public),
            ("2a00:1450:4001::200e", AddressScope::Public),
            ("64:ff9b::0101:0101", AddressScope::Public),
            ("10.0.0.1", AddressScope::Private),
            ("172.16.0.1", AddressScope::Private),
            ("172.31.255.255", AddressScope::Private),
            ("192.168.1.1", AddressScope::Private),
            ("100.64.0.1", AddressScope::Private),
            ("fc00::1", AddressScope::Private),
            ("fdff::1", AddressScope::Private),
            ("::ffff:10.0.0.1", AddressScope::Private),
            ("64:ff9b::10.0.0.1", AddressScope::Private),
            ("127.0.0.1", AddressScope::Local),
            ("127.255.255.254", AddressScope::Local),
            ("0.0.0.0", AddressScope::Local),
            ("0.1.2.3", AddressScope::Local),
            ("169.254.169.254", AddressScope::Local),
            ("224.0.0.1", AddressScope::Local),
            ("239.255.255.255", AddressScope::Local),
            ("255.255.255.255", AddressScope::Local),
            ("240.0.0.1", AddressScope::Local),
            ("198.18.0.1", AddressScope::Local),
            ("::", AddressScope::Local),
            ("::1", AddressScope::Local),
            ("::127.0.0.1", AddressScope::Local),
            ("::ffff:127.0.0.1", AddressScope::Local),
            ("::ffff:169.254.169.254", AddressScope::Local),
            ("64:ff9b::127.0.0.1", AddressScope::Local),
            ("2002:7f00:1::", AddressScope::Local),
            ("2002:a9fe:a9fe::1", AddressScope::Local),
            ("2001:0:1::1", AddressScope::Local),
            ("fe80::1", AddressScope::Local),
            ("fec0::1", AddressScope::Local),
            ("ff02::1", AddressScope::Local),
        ] {
            assert_eq!(AddressScope::of(address.parse().unwrap()), address_scope, "{address}");
        }
    }

    #[test]
    fn every_notation_of_an_address_is_checked() {
        for host in
            ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0", "10.1"]
        {
            let url = Url::parse(&format!("http://{host}:80/x")).unwrap();
            assert!(AddressScope::Public.check(&url).is_err(), "{host}");
            assert!(AddressScope::Local.check(&url).is_ok(), "{host}");
        }
        assert!(AddressScope::Private.check(&Url::parse("http://10.1/").unwrap()).is_ok());
        assert!(AddressScope::Private.check(&Url::parse("http://169.254.169.254/").unwrap()).is_err());
        assert!(AddressScope::Public.check(&Url::parse("http://example.com/").unwrap()).is_ok());
    }
}
