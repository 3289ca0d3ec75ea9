//! Requests to the kernel's network configuration over netlink. The older ioctls have no safe wrapper.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

// linux/netlink.h, linux/rtnetlink.h, linux/if.h, linux/if_addr.h
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;

/// The size of `nlmsghdr` in bytes.
const HEADER: usize = 16;

/// Brings an interface up.
///
/// # Errors
/// The error of the kernel, for example if it has no network support.
pub(crate) fn bring_up(interface: i32) -> io::Result<()> {
    call(&link_request(interface))
}

/// Adds an address to an interface.
///
/// # Errors
/// The error of the kernel. An address that the interface has already is not one.
pub(crate) fn add_address(interface: i32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
    let broadcast = Ipv4Addr::from(u32::from(address) | u32::MAX.checked_shr(prefix.into()).unwrap_or(0));
    // `struct ifaddrmsg`: family, length of the prefix, flags, scope, interface.
    let mut body = vec![AF_INET, prefix, 0, 0];
    body.extend(interface.to_ne_bytes());
    attribute(&mut body, IFA_LOCAL, &address.octets());
    attribute(&mut body, IFA_ADDRESS, &address.octets());
    attribute(&mut body, IFA_BROADCAST, &broadcast.octets());
    call(&request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &body))
}

/// Adds a default route over a router, which must be in a network of the interface.
///
/// # Errors
/// The error of the kernel.
pub(crate) fn add_default_route(interface: i32, gateway: Ipv4Addr) -> io::Result<()> {
    // `struct rtmsg`: family, lengths of the prefixes, type of service, table, origin, scope, type, flags.
    let mut body = vec![AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0];
    attribute(&mut body, RTA_GATEWAY, &gateway.octets());
    attribute(&mut body, RTA_OIF, &interface.to_ne_bytes());
    call(&request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &body))
}

fn call(request: &[u8]) -> io::Result<()> {
    let socket = route_socket()?;
    sendto(&socket, request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; 256];
    let (_, length) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    parse_answer(answer.get(..length).unwrap_or_default())
}

/// Opens a socket for the protocol NETLINK_ROUTE, which has the number 0 and therefore no constant.
fn route_socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?)
}

fn link_request(interface: i32) -> Vec<u8> {
    // `struct ifinfomsg`: family, padding and type of the device; interface; flags; mask of the flags to change.
    let mut body = vec![0; 4];
    body.extend(interface.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes());
    request(RTM_NEWLINK, 0, &body)
}

/// Returns a message with its header. Bodies have a length that is a multiple of four.
fn request(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
    bytes.extend([0; 8]); // sequence number and port, unused for a single request
    bytes.extend(body);
    bytes
}

/// Adds a `struct rtattr` with a value of four bytes.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8; 4]) {
    body.extend(8_u16.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
}

/// Parses the answer. An `NLMSG_ERROR` with the number 0 means success.
fn parse_answer(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let number = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, number) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(number)) => Err(io::Error::from_raw_os_error(number.wrapping_neg())),
        _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_request_has_the_length_in_its_header() {
        let bytes = link_request(1);
        assert_eq!(bytes.len(), 32);
        assert_eq!(bytes[..4], 32_u32.to_ne_bytes());
    }

    #[test]
    fn the_kernel_rejects_an_unknown_interface() {
        // The requests need no privilege to be parsed, so the kernel's errors show that they are well-formed.
        let address = Ipv4Addr::new(10, 0, 2, 15);
        for outcome in [
            bring_up(i32::MAX),
            add_address(i32::MAX, address, 24),
            add_default_route(i32::MAX, Ipv4Addr::new(10, 0, 2, 2)),
        ] {
            let error = outcome.unwrap_err().raw_os_error().unwrap();
            let refusals = [Errno::NODEV, Errno::PERM, Errno::NETUNREACH].map(Errno::raw_os_error);
            assert!(refusals.contains(&error), "{error}");
        }
    }

    #[test]
    fn a_truncated_answer_is_an_error() {
        assert!(parse_answer(&[0; 7]).is_err());
    }
}
