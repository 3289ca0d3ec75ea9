//! The keybox `pubring.kbx` of GnuPG (its `kbx/keybox-blob.c`): blobs with a length, and offsets to their key.

/// The type of a blob with an OpenPGP key.
const OPENPGP: u8 = 2;

/// Returns whether bytes are a keybox.
pub(super) fn is_keybox(bytes: &[u8]) -> bool {
    bytes.get(8..12) == Some(b"KBXf")
}

/// Returns the certificates, one after the other, as packets. Blobs that are damaged are left out.
pub(super) fn certificates(bytes: &[u8]) -> Vec<u8> {
    let mut certificates = Vec::new();
    let mut rest = bytes;
    while let Some(length) = number(rest, 0).filter(|&length| length >= 5) {
        let Some((blob, after)) = rest.split_at_checked(length) else { break };
        certificates.extend_from_slice(certificate(blob).unwrap_or_default());
        rest = after;
    }
    certificates
}

fn certificate(blob: &[u8]) -> Option<&[u8]> {
    if *blob.get(4)? != OPENPGP {
        return None;
    }
    let (offset, length) = (number(blob, 8)?, number(blob, 12)?);
    blob.get(offset..)?.get(..length)
}

fn number(bytes: &[u8], offset: usize) -> Option<usize> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    usize::try_from(u32::from_be_bytes(*bytes)).ok()
}
