//! ASCII armor (RFC 9580, section 6): packets in base64 between two lines.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns whether bytes are text with an armored block.
pub(crate) fn is_armored(bytes: &[u8]) -> bool {
    // A packet starts with a byte above 127, and armor is text.
    bytes.first().is_some_and(u8::is_ascii) && bytes.windows(15).any(|window| window == b"-----BEGIN PGP ")
}

/// Returns the packets of all armored blocks of a kind, such as `PUBLIC KEY BLOCK`. Blocks that cannot be decoded are
/// omitted. The checksum is ignored, as RFC 9580, section 6.1 requires.
pub(crate) fn blocks(bytes: &[u8], kind: &str) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(bytes);
    let begin = format!("-----BEGIN PGP {kind}-----");
    let end = format!("-----END PGP {kind}-----");
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while lines.by_ref().any(|line| line == begin) {
        let mut data = String::new();
        // Headers such as "Version: x" end with an empty line.
        let mut in_headers = true;
        for line in lines.by_ref() {
            if line == end {
                blocks.extend(BASE64.decode(&data));
                break;
            }
            match () {
                () if in_headers && (line.is_empty() || !line.contains(':')) => {
                    in_headers = false;
                    data.push_str(line);
                }
                () if in_headers || line.starts_with('=') => {}
                () => data.push_str(line),
            }
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_one_kind_are_decoded() {
        let text = "x\n-----BEGIN PGP A-----\nVersion: 1\n\naGVs\nbG8=\n=abcd\n-----END PGP A-----\n\
            -----BEGIN PGP B-----\n\nYQ==\n-----END PGP B-----\n-----BEGIN PGP A-----\n\n!\n-----END PGP A-----\n\
            -----BEGIN PGP A-----\r\n\r\nYg==\r\n-----END PGP A-----\r\n-----BEGIN PGP A-----\nYw==\n";
        assert!(is_armored(text.as_bytes()));
        assert_eq!(blocks(text.as_bytes(), "A"), [b"hello".to_vec(), b"b".to_vec()]);
        assert!(!is_armored(b"\xc6-----BEGIN PGP A-----") && !is_armored(b"plain"));
    }
}
