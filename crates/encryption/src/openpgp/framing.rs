//! The headers of packets (RFC 9580, section 4.2).
//!
//! The messages of ocicrypt begin with parts of less than 512 bytes, which the RFC forbids and the crate `pgp` refuses.

/// The first byte of the length of a part that is not the last one.
const PARTIAL: u8 = 224;

/// Returns the packets with one definite length each, in the new format. Returns `None` if they are cut off.
pub(super) fn joined(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut joined = Vec::with_capacity(bytes.len());
    while !bytes.is_empty() {
        let (tag, body, rest) = packet(bytes)?;
        joined.push(0xc0 | tag);
        joined.push(0xff);
        joined.extend_from_slice(&u32::try_from(body.len()).ok()?.to_be_bytes());
        joined.extend_from_slice(&body);
        bytes = rest;
    }
    Some(joined)
}

/// Reads a packet. Returns its type, its body and the bytes after it.
fn packet(bytes: &[u8]) -> Option<(u8, Vec<u8>, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    match first {
        0xc0.. => {
            let (body, rest) = new_body(rest)?;
            Some((first & 0x3f, body, rest))
        }
        0x80.. => {
            let width = match first & 3 {
                0 => 1,
                1 => 2,
                2 => 4,
                // The packet ends with the file.
                _ => return Some((first >> 2 & 0x0f, rest.to_vec(), &[])),
            };
            let (length, rest) = number(rest, width)?;
            let (body, rest) = rest.split_at_checked(length)?;
            Some((first >> 2 & 0x0f, body.to_vec(), rest))
        }
        _ => None,
    }
}

/// Reads the body of a packet in the new format, which may have several parts.
fn new_body(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let (&first, rest) = bytes.split_first()?;
        let (length, rest, is_last) = match first {
            0..192 => (usize::from(first), rest, true),
            192..PARTIAL => {
                let (second, rest) = number(rest, 1)?;
                (((usize::from(first) - 192) << 8) + second + 192, rest, true)
            }
            PARTIAL..255 => (1 << (first & 0x1f), rest, false),
            255 => {
                let (length, rest) = number(rest, 4)?;
                (length, rest, true)
            }
        };
        let (part, rest) = rest.split_at_checked(length)?;
        body.extend_from_slice(part);
        bytes = rest;
        if is_last {
            return Some((body, bytes));
        }
    }
}

fn number(bytes: &[u8], width: usize) -> Option<(usize, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(width)?;
    Some((digits.iter().fold(0, |number, digit| number << 8 | usize::from(*digit)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_all_forms_are_joined() {
        let body = vec![7; 300];
        let forms = [
            [&[0xcb, 192, 108][..], &body].concat(),
            [&[0xcb, 255, 0, 0, 1, 44][..], &body].concat(),
            [&[0xcb, 224 + 8][..], &body[..256], &[44], &body[..44]].concat(),
            [&[0xad, 1, 44][..], &body].concat(),
            [&[0xae, 0, 0, 1, 44][..], &body].concat(),
            [&[0xaf][..], &body].concat(),
        ];
        for form in &forms {
            assert_eq!(joined(form).unwrap(), forms[1], "{:x?}", &form[..4]);
        }
        assert!(joined(&[]).unwrap().is_empty());
        for cut in [&[0xcb][..], &[0xcb, 5, 1], &[0xcb, 224 + 1, 1, 1], &[0xcb, 255, 0], &[0x05, 1, 1]] {
            assert!(joined(cut).is_none(), "{cut:x?}");
        }
    }
}
