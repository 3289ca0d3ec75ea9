//! The network: the loopback interface, and the first other interface with the addresses of the config.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use vmroot_guest_config::GuestNetwork;

use crate::{Error, Result, devices, netlink};

/// The interfaces of the kernel.
const INTERFACES: &str = "/sys/class/net";
/// The index of the loopback interface, which is the first one of every network namespace (net/core/net_namespace.c).
const LOOPBACK: i32 = 1;
/// The longest prefix of an IPv4 network in bits.
const MAX_PREFIX: u8 = 32;

/// Brings the loopback interface up. The kernel assigns its addresses.
///
/// # Errors
/// The error of the kernel.
pub(crate) fn bring_up_loopback() -> io::Result<()> {
    netlink::bring_up(LOOPBACK)
}

/// Brings the first interface with a device up, and gives it the addresses of the config.
///
/// # Errors
/// - [`Error::NoInterface`] if there is none.
/// - [`Error::Network`] if the kernel refuses a request.
pub(crate) fn bring_up(network: &GuestNetwork, timeout: Duration) -> Result<()> {
    let GuestNetwork { address, prefix, gateway, .. } = network;
    let failed = |what| move |source: io::Error| Error::Network { what, source };
    if *prefix > MAX_PREFIX {
        return Err(failed("set the address")(io::ErrorKind::InvalidInput.into()));
    }
    let first = || first_interface(Path::new(INTERFACES));
    let interface = devices::retry(timeout, first).ok_or(Error::NoInterface)?;
    netlink::bring_up(interface).map_err(failed("bring the interface up"))?;
    netlink::add_address(interface, *address, *prefix).map_err(failed("set the address"))?;
    match gateway {
        Some(gateway) => netlink::add_default_route(interface, *gateway).map_err(failed("set the default route")),
        None => Ok(()),
    }
}

/// Returns the number of the first interface, by name, that has a device. The loopback interface and tunnels have none.
fn first_interface(directory: &Path) -> Option<i32> {
    let mut names: Vec<_> = fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path()).collect();
    names.sort();
    let interface = names.into_iter().find(|interface| interface.join("device").exists())?;
    fs::read_to_string(interface.join("ifindex")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_first_interface_with_a_device_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(first_interface(directory.path()), None);
        for (name, index, has_device) in [("dummy0", "4\n", false), ("eth1", "3\n", true), ("eth0", "2\n", true)] {
            let interface = directory.path().join(name);
            fs::create_dir(&interface).unwrap();
            fs::write(interface.join("ifindex"), index).unwrap();
            if has_device {
                fs::create_dir(interface.join("device")).unwrap();
            }
        }
        assert_eq!(first_interface(directory.path()), Some(2));
    }

    #[test]
    fn an_impossible_prefix_is_an_error() {
        let network = GuestNetwork { address: Ipv4Addr::LOCALHOST, prefix: 33, gateway: None, dns: Vec::new() };
        let error = bring_up(&network, Duration::ZERO).unwrap_err().to_string();
        assert!(error.starts_with("cannot set the address: "), "{error}");
    }
}
