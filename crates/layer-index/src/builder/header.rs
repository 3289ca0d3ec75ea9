//! Reading a 512-byte tar header: its checksum, its fields and its numbers (POSIX ustar, GNU, star and V7).

use std::ops::Range;

use tar::{EntryType, Header};

/// The size of a header in bytes. Data is padded to a multiple of it.
pub(super) const BLOCK: usize = 512;

// The device number in POSIX and GNU headers, and the prefix of the name in POSIX headers (POSIX pax, "ustar
// Interchange Format"; GNU tar, "tar.h").
const DEVICE_MAJOR: Range<usize> = 329..337;
const DEVICE_MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;
/// The prefix in star's headers. It is shorter, since the access and change times follow it (star, "star.4").
const STAR_PREFIX: Range<usize> = 345..476;
const STAR_TRAILER: Range<usize> = 508..512;

/// The layout of a header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// The format before POSIX, without device numbers and prefix.
    V7,
    Posix,
    Star,
    Gnu,
}

/// The fields of a header, before extended headers are applied.
pub(super) struct Fields {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: EntryType,
    /// Whether the type is that of V7 for both files and directories. The name of a directory ends with a slash.
    pub(super) old_type: bool,
    pub(super) mode: u32,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) size: i64,
    pub(super) mtime: i64,
}

/// Returns whether a block is zero. Two such blocks end an archive.
pub(super) fn is_end(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|&byte| byte == 0)
}

/// Checks the checksum of a header and reads its fields.
pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Fields, String> {
    let header = Header::from_byte_slice(block);
    let old = header.as_old();
    check_checksum(block, &old.cksum)?;
    Ok(Fields {
        name: read_name(block),
        link: until_nul(&old.linkname).to_vec(),
        kind: header.entry_type(),
        old_type: old.linkflag == [0],
        // Some writers store the type bits of st_mode here as well. Only the type flag counts.
        mode: (parse_field("mode", &old.mode)? & 0o7777) as u32,
        uid: parse_field("uid", &old.uid)?,
        gid: parse_field("gid", &old.gid)?,
        size: parse_field("size", &old.size)?,
        mtime: parse_field("mtime", &old.mtime)?,
    })
}

/// Reads the major and minor number of a device. They are 0 in V7 headers, which have no such fields.
pub(super) fn read_device(block: &[u8; BLOCK]) -> Result<(i64, i64), String> {
    match Format::of(block) {
        Format::V7 => Ok((0, 0)),
        _ => Ok((parse_field("devmajor", &block[DEVICE_MAJOR])?, parse_field("devminor", &block[DEVICE_MINOR])?)),
    }
}

impl Format {
    /// Returns the format of a header.
    ///
    /// Only the six bytes of the POSIX magic count. Maven, Ant and JRuby write other versions than `00` after it, and
    /// GNU tar and Go ignore the version as well. The magic of GNU includes the version field.
    fn of(block: &[u8; BLOCK]) -> Self {
        match &block[257..265] {
            b"ustar  \0" => Self::Gnu,
            [b'u', b's', b't', b'a', b'r', 0, _, _] if block[STAR_TRAILER] == *b"tar\0" => Self::Star,
            [b'u', b's', b't', b'a', b'r', 0, _, _] => Self::Posix,
            _ => Self::V7,
        }
    }
}

/// Returns the name, with the prefix of the header before it.
fn read_name(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&block[..100]);
    let prefix = match Format::of(block) {
        Format::V7 => &[],
        Format::Posix => until_nul(&block[PREFIX]),
        Format::Star => until_nul(&block[STAR_PREFIX]),
        Format::Gnu => prefix_of_old_go(block),
    };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

/// Returns the prefix that Go before 1.8, and therefore old Docker, may have written into a GNU header.
///
/// The prefix lies in place of the access and change times (golang.org/issue/12594). As in current Go, bytes count as a
/// prefix if they are ASCII and not a pair of times.
fn prefix_of_old_go(block: &[u8; BLOCK]) -> &[u8] {
    let times =
        Header::from_byte_slice(block).as_gnu().and_then(|gnu| parse_number(&gnu.atime).and(parse_number(&gnu.ctime)));
    let prefix = until_nul(&block[PREFIX]);
    if times.is_none() && prefix.is_ascii() { prefix } else { &[] }
}

/// Returns whether a block has the magic number of POSIX or GNU.
pub(super) fn has_magic(block: &[u8; BLOCK]) -> bool {
    block[257..262] == *b"ustar"
}

/// Returns the bytes of a text field, which end at the first NUL.
fn until_nul(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|&byte| byte == 0).unwrap_or(field.len())]
}

fn parse_field(name: &str, bytes: &[u8]) -> Result<i64, String> {
    parse_number(bytes).ok_or_else(|| format!("the {name} field is not a number"))
}

/// Checks the sum of all bytes, with the bytes of the checksum itself taken as spaces. Some old writers summed signed
/// bytes.
fn check_checksum(block: &[u8; BLOCK], field: &[u8; 8]) -> Result<(), String> {
    let stored = parse_number(field).ok_or("the checksum field is not a number")?;
    let spaces = 8 * i64::from(b' ');
    let unsigned = |bytes: &[u8]| bytes.iter().map(|&byte| i64::from(byte)).sum::<i64>();
    let signed = |bytes: &[u8]| bytes.iter().map(|&byte| i64::from(byte as i8)).sum::<i64>();
    let matches =
        unsigned(block) - unsigned(field) + spaces == stored || signed(block) - signed(field) + spaces == stored;
    if matches { Ok(()) } else { Err("the checksum is wrong".to_owned()) }
}

/// Parses a number in octal, or in GNU's base-256 form if the first bit is set. An empty field is 0.
pub(super) fn parse_number(field: &[u8]) -> Option<i64> {
    if field.first().is_some_and(|first| first & 0x80 != 0) { parse_base_256(field) } else { parse_octal(field) }
}

/// Parses a big-endian number in two's complement. The first bit is not part of it (GNU tar, "Large Size and Time").
fn parse_base_256(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let first = if negative { field[0] } else { field[0] & 0x7f };
    field[1..]
        .iter()
        .try_fold(i64::from(first as i8), |value, &byte| value.checked_mul(256).map(|value| value | i64::from(byte)))
}

fn parse_octal(field: &[u8]) -> Option<i64> {
    let ends = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !ends(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(ends).unwrap_or(digits.len());
    digits[..end].iter().try_fold(0_i64, |value, &digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_parsed_in_octal_and_base_256() {
        assert_eq!(parse_number(b"0000644\0"), Some(0o644));
        assert_eq!(parse_number(b"   644 \0"), Some(0o644));
        assert_eq!(parse_number(b"\0\0\0\0"), Some(0));
        assert_eq!(parse_number(b"12345671"), Some(0o12345671));
        assert_eq!(parse_number(b"8"), None);
        assert_eq!(parse_number(b"-1"), None);
        assert_eq!(parse_number(&[0x80, 0, 0, 0, 1, 0]), Some(256));
        assert_eq!(parse_number(&[0xff; 12]), Some(-1));
        assert_eq!(parse_number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00]), Some(-256));
        assert_eq!(
            parse_number(&[0x80, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            None,
            "over 64 bits"
        );
    }
}
