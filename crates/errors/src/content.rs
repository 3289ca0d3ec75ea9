//! Descriptions of files by their first bytes, for errors about files of another kind than expected.

/// The beginnings of files: offset, bytes, description.
const BEGINNINGS: [(usize, &[u8], &str); 24] = [
    (0, b"\x1f\x8b", "gzip data"),
    (0, b"\x28\xb5\x2f\xfd", "zstd data"),
    (0, b"\xfd7zXZ\0", "xz data"),
    (0, b"BZh", "bzip2 data"),
    (0, b"\x04\x22\x4d\x18", "LZ4 data"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"!<arch>\n", "an ar archive or a Debian package"),
    (0, b"\xed\xab\xee\xdb", "an RPM package"),
    (0, b"070701", "a cpio archive"),
    (0, b"070702", "a cpio archive"),
    (0, b"070707", "a cpio archive"),
    (0, b"\x7fELF", "a program or library (ELF)"),
    (0, b"MZ", "a Windows program or a kernel image"),
    (0, b"QFI\xfb", "a qcow2 disk image"),
    (0, b"KDMV", "a VMDK disk image"),
    (0, b"# Disk DescriptorFile", "a VMDK disk image"),
    (0, b"vhdxfile", "a VHDX disk image"),
    (0, b"hsqs", "a squashfs image"),
    (1024, b"\xe2\xe1\xf5\xe0", "an EROFS image"),
    (1080, b"\x53\xef", "an ext4 image"),
    (257, b"ustar", "a tar"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"#!", "a script"),
];

/// Returns what a file seems to be, by its first bytes: 2 KiB of them are enough. The result follows "it seems to be" in
/// a message, and has none of the bytes. It is `None` for bytes of no known kind.
///
/// ```
/// assert_eq!(vmroot_errors::describe_content(b"PK\x03\x04..."), Some("a zip archive"));
/// assert_eq!(vmroot_errors::describe_content(b"{\"a\": 1}"), Some("a JSON document"));
/// assert_eq!(vmroot_errors::describe_content(b"some lines\nof text\n"), Some("text"));
/// assert_eq!(vmroot_errors::describe_content(&[0; 512]), Some("zeros"));
/// assert_eq!(vmroot_errors::describe_content(&[0x80, 0, 7, 0xff]), None);
/// ```
pub fn describe_content(start: &[u8]) -> Option<&'static str> {
    if start.is_empty() {
        return Some("an empty file");
    }
    let known =
        |(offset, bytes, _): &&(usize, &[u8], &str)| start.get(*offset..).is_some_and(|rest| rest.starts_with(bytes));
    if let Some((_, _, description)) = BEGINNINGS.iter().find(known) {
        return Some(description);
    }
    if start.iter().all(|&byte| byte == 0) {
        return Some("zeros");
    }
    let is_text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..);
    if !start.iter().all(is_text) || !is_utf8_start(start) {
        return None;
    }
    let text = start.trim_ascii_start();
    let is_html = [&b"<!doctype html"[..], b"<html"]
        .iter()
        .any(|tag| text.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag)));
    Some(match text.first() {
        _ if is_html => "an HTML page",
        Some(b'{' | b'[') => "a JSON document",
        _ => "text",
    })
}

/// Returns whether bytes are UTF-8, except that the last character may be cut off.
fn is_utf8_start(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_is_recognised_at_its_offset() {
        for (offset, bytes, description) in BEGINNINGS {
            let start = [&vec![1; offset], bytes].concat();
            assert_eq!(describe_content(&start), Some(description), "{bytes:?}");
        }
    }

    #[test]
    fn text_may_end_inside_a_character() {
        assert_eq!(describe_content(&"größer".as_bytes()[..4]), Some("text"));
        assert_eq!(describe_content(b"\xff\xfe\0a"), None);
        assert_eq!(describe_content(b"  <HTML>"), Some("an HTML page"));
        assert_eq!(describe_content(b""), Some("an empty file"));
    }
}
