//! One 512-byte tar header: its checksum, its fields and its numbers (POSIX ustar, GNU and V7).

use std::ops::Range;

use tar::{EntryType, Header};

/// The size of a header and of the unit that data is padded to, in bytes.
pub(super) const BLOCK: usize = 512;

// Where POSIX and GNU headers have the device number, and POSIX headers the prefix of the name (POSIX pax, "ustar
// Interchange Format"; GNU tar, "tar.h").
const DEVICE_MAJOR: Range<usize> = 329..337;
const DEVICE_MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;
/// The prefix of star's headers is shorter: access and change time follow it (star's "star.4").
const STAR_PREFIX: Range<usize> = 345..476;
const STAR_TRAILER: Range<usize> = 508..512;

/// Whose layout a header has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// From before POSIX: no device numbers, no prefix.
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
    /// Whether it has the type that V7 gave to files and to directories, which a slash at the end of the name tells apart.
    pub(super) old_type: bool,
    pub(super) mode: u32,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) size: i64,
    pub(super) mtime: i64,
}

/// Whether a block is one of the two that end an archive.
pub(super) fn is_end(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|&byte| byte == 0)
}

/// Reads the fields of a header whose checksum is right.
pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Fields, String> {
    let header = Header::from_byte_slice(block);
    let old = header.as_old();
    check_sum(block, &old.cksum)?;
    Ok(Fields {
        name: name(block),
        link: until_nul(&old.linkname).to_vec(),
        kind: header.entry_type(),
        old_type: old.linkflag == [0],
        // Writers put the type bits of st_mode here as well; the type flag decides.
        mode: (field("mode", &old.mode)? & 0o7777) as u32,
        uid: field("uid", &old.uid)?,
        gid: field("gid", &old.gid)?,
        size: field("size", &old.size)?,
        mtime: field("mtime", &old.mtime)?,
    })
}

/// The major and minor number in the header of a device. V7 had no field for them.
pub(super) fn device(block: &[u8; BLOCK]) -> Result<(i64, i64), String> {
    match Format::of(block) {
        Format::V7 => Ok((0, 0)),
        _ => Ok((field("devmajor", &block[DEVICE_MAJOR])?, field("devminor", &block[DEVICE_MINOR])?)),
    }
}

impl Format {
    /// The magic of POSIX is six bytes. Maven, Ant and JRuby write other versions after it than `00`, and GNU tar and Go
    /// do not look at the version either. GNU's magic takes up both fields.
    fn of(block: &[u8; BLOCK]) -> Self {
        match &block[257..265] {
            b"ustar  \0" => Self::Gnu,
            [b'u', b's', b't', b'a', b'r', 0, _, _] if block[STAR_TRAILER] == *b"tar\0" => Self::Star,
            [b'u', b's', b't', b'a', b'r', 0, _, _] => Self::Posix,
            _ => Self::V7,
        }
    }
}

/// The name, with the prefix of POSIX headers before it.
fn name(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&block[..100]);
    let prefix = match Format::of(block) {
        Format::V7 => &[],
        Format::Posix => until_nul(&block[PREFIX]),
        Format::Star => until_nul(&block[STAR_PREFIX]),
        Format::Gnu => prefix_of_old_go(block),
    };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

/// Go before 1.8, and so Docker of that time, could write a prefix into a GNU header, where access and change time lie
/// (golang.org/issue/12594): bytes there that are text and no pair of times are taken for a prefix, as Go still does.
fn prefix_of_old_go(block: &[u8; BLOCK]) -> &[u8] {
    let times = Header::from_byte_slice(block).as_gnu().and_then(|gnu| number(&gnu.atime).and(number(&gnu.ctime)));
    let prefix = until_nul(&block[PREFIX]);
    if times.is_none() && prefix.is_ascii() { prefix } else { &[] }
}

/// The bytes of a text field.
fn until_nul(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|&byte| byte == 0).unwrap_or(field.len())]
}

fn field(name: &str, bytes: &[u8]) -> Result<i64, String> {
    number(bytes).ok_or_else(|| format!("the {name} field is not a number"))
}

/// The sum of all bytes with the checksum's own taken as spaces. Some old writers summed signed bytes.
fn check_sum(block: &[u8; BLOCK], field: &[u8; 8]) -> Result<(), String> {
    let stored = number(field).ok_or("the checksum field is not a number")?;
    let spaces = 8 * i64::from(b' ');
    let unsigned = |bytes: &[u8]| bytes.iter().map(|&byte| i64::from(byte)).sum::<i64>();
    let signed = |bytes: &[u8]| bytes.iter().map(|&byte| i64::from(byte as i8)).sum::<i64>();
    let matches =
        unsigned(block) - unsigned(field) + spaces == stored || signed(block) - signed(field) + spaces == stored;
    if matches { Ok(()) } else { Err("the checksum is wrong".to_owned()) }
}

/// A number in octal, or in GNU's base-256 form when the first bit is set. Empty fields are 0.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    if field.first().is_some_and(|first| first & 0x80 != 0) { base_256(field) } else { octal(field) }
}

/// Two's complement, big-endian, the very first bit not part of the number (GNU tar, "Large Size and Time").
fn base_256(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let first = if negative { field[0] } else { field[0] & 0x7f };
    field[1..]
        .iter()
        .try_fold(i64::from(first as i8), |value, &byte| value.checked_mul(256).map(|value| value | i64::from(byte)))
}

fn octal(field: &[u8]) -> Option<i64> {
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
    fn numbers_of_all_forms() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0"), Some(0));
        assert_eq!(number(b"12345671"), Some(0o12345671));
        assert_eq!(number(b"8"), None);
        assert_eq!(number(b"-1"), None);
        assert_eq!(number(&[0x80, 0, 0, 0, 1, 0]), Some(256));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00]), Some(-256));
        assert_eq!(number(&[0x80, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None, "over 64 bits");
    }
}
