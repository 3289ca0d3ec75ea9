//! Brings up the loopback interface over netlink. The older ioctl has no safe wrapper.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

// linux/netlink.h, linux/rtnetlink.h, linux/if.h
const RTM_NEWLINK: u16 = 16;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const IFF_UP: u32 = 1;

/// The size of `nlmsghdr` and `ifinfomsg` in bytes.
const REQUEST: u32 = 16 + 16;

/// The index of the loopback interface, which is the first one of every network namespace (net/core/net_namespace.c).
const LOOPBACK: i32 = 1;

/// Brings the interface up. The kernel assigns its addresses.
///
/// # Errors
/// The error of the kernel, for example if it has no network support.
pub(crate) fn bring_up() -> io::Result<()> {
    let socket = route_socket()?;
    sendto(&socket, &request(LOOPBACK), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; 256];
    let (_, length) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    parse_answer(answer.get(..length).unwrap_or_default())
}

/// Opens a socket for the protocol NETLINK_ROUTE, which has the number 0 and therefore no constant.
fn route_socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?)
}

fn request(interface: i32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(REQUEST as usize);
    bytes.extend(REQUEST.to_ne_bytes());
    bytes.extend(RTM_NEWLINK.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    bytes.extend([0; 8]); // sequence number and port, unused for a single request
    bytes.extend([0; 4]); // family, padding, type of the device
    bytes.extend(interface.to_ne_bytes());
    bytes.extend(IFF_UP.to_ne_bytes()); // flags
    bytes.extend(IFF_UP.to_ne_bytes()); // mask of the flags to change
    bytes
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
    use super::*;

    #[test]
    fn a_request_has_the_length_in_its_header() {
        assert_eq!(request(LOOPBACK).len(), REQUEST as usize);
    }

    #[test]
    fn the_kernel_rejects_an_unknown_interface() {
        // The request needs no privilege to be parsed, so the kernel's error shows that it is well-formed.
        let socket = route_socket().unwrap();
        sendto(&socket, &request(i32::MAX), SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).unwrap();
        let mut answer = [0; 256];
        let (_, length) = recv(&socket, &mut answer[..], RecvFlags::empty()).unwrap();
        let error = parse_answer(&answer[..length]).unwrap_err().raw_os_error().unwrap();
        let refusals = [rustix::io::Errno::NODEV, rustix::io::Errno::PERM].map(rustix::io::Errno::raw_os_error);
        assert!(refusals.contains(&error), "{error}");
    }

    #[test]
    fn a_truncated_answer_is_an_error() {
        assert!(parse_answer(&[0; 7]).is_err());
    }
}
