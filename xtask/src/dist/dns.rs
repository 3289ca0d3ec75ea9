//! A DNS server that knows one name, for the program in a root without `/etc/hosts`.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    thread,
};

/// The address of the server. The whole of 127.0.0.0/8 is on loopback, so a resolver of the host keeps its port.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 153);

/// The port that `/etc/resolv.conf` cannot change.
const PORT: u16 = 53;

/// The length of a message's header (RFC 1035, section 4.1.1).
const HEADER: usize = 12;

/// The type of a question for an IPv4 address (RFC 1035, section 3.2.2).
const ADDRESS: u16 = 1;

/// The answer codes (RFC 1035, section 4.1.1).
const NO_ERROR: u8 = 0;
const NO_SUCH_NAME: u8 = 3;

/// Answers questions for `name` with 127.0.0.1 until the process ends. No other name exists.
pub fn serve(name: &str) -> io::Result<()> {
    let socket = UdpSocket::bind((SERVER, PORT))?;
    let name = encoded(name);
    thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            if let Some(answer) = answer(&question[..length], &name) {
                // A lost answer is asked for again.
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    Ok(())
}

/// Returns a name as DNS writes it: labels, each with its length, and an empty one.
fn encoded(name: &str) -> Vec<u8> {
    let mut encoded = Vec::new();
    for label in name.split('.') {
        encoded.push(u8::try_from(label.len()).unwrap_or_default());
        encoded.extend(label.as_bytes());
    }
    encoded.push(0);
    encoded
}

/// Returns the answer to a message with one question, or `None` for other messages.
fn answer(message: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let asked = message.get(HEADER..)?;
    let end = asked.iter().position(|&byte| byte == 0)? + 1;
    let kind = u16::from_be_bytes(asked.get(end..end + 2)?.try_into().ok()?);
    let is_known = asked[..end].eq_ignore_ascii_case(name);
    let has_address = is_known && kind == ADDRESS;
    let code = if is_known { NO_ERROR } else { NO_SUCH_NAME };
    // An authoritative response without recursion: flags 0x8400 and the code.
    let mut answer = [&message[..2], &[0x84, code, 0, 1, 0, u8::from(has_address), 0, 0, 0, 0]].concat();
    answer.extend(asked.get(..end + 4)?);
    if has_address {
        // A pointer to the name of the question, class IN, a minute to live, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: &str, kind: u8) -> Vec<u8> {
        let mut message = vec![7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend(encoded(name));
        message.extend([0, kind, 0, 1]);
        answer(&message, &encoded("registry.test")).unwrap()
    }

    #[test]
    fn only_the_name_has_an_address() {
        assert!(ask("registry.test", 1).ends_with(&[127, 0, 0, 1]));
        assert_eq!(ask("Registry.TEST", 28)[..8], [7, 8, 0x84, 0, 0, 1, 0, 0]);
        assert_eq!(ask("other.test", 1)[3], NO_SUCH_NAME);
        assert_eq!(answer(&[0; 12], b""), None);
    }
}
