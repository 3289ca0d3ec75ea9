//! The headers of tar entries, read as Go's `archive/tar` reads them.
//!
//! Readers of zstd:chunked compare the table of contents with headers that Go parsed, so every field must be equal.

use std::collections::BTreeMap;
use std::str;

/// The size of a header and of the units of a tar in bytes.
pub(super) const BLOCK: usize = 512;

/// A time in seconds and nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) seconds: i64,
    pub(super) nanoseconds: u32,
}

/// A header of one entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: i64,
    pub(super) size: i64,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) modified: Time,
    pub(super) accessed: Option<Time>,
    pub(super) changed: Option<Time>,
    pub(super) device: (i64, i64),
    /// Without the prefix of the PAX record.
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The reason why a header cannot be read.
pub(super) type Fault = &'static str;

impl Header {
    /// Reads a header. The block is not all zeros.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, Fault> {
        check_sum(block)?;
        let mut header = Self {
            kind: block[156],
            name: text(&block[..100]).to_vec(),
            link: text(&block[157..257]).to_vec(),
            mode: number(&block[100..108])?,
            size: number(&block[124..136])?,
            uid: number(&block[108..116])?,
            gid: number(&block[116..124])?,
            modified: seconds(&block[136..148])?,
            ..Self::default()
        };
        match &block[257..265] {
            b"ustar\x0000" if &block[508..] == b"tar\0" => {
                header.set_devices(block)?;
                header.accessed = Some(seconds(&block[476..488])?);
                header.changed = Some(seconds(&block[488..500])?);
                header.add_prefix(text(&block[345..476]));
            }
            b"ustar\x0000" => {
                header.set_devices(block)?;
                header.add_prefix(text(&block[345..500]));
            }
            b"ustar  \0" => {
                header.set_devices(block)?;
                header.set_gnu_times(block)?;
            }
            _ => {}
        }
        Ok(header)
    }

    fn set_devices(&mut self, block: &[u8; BLOCK]) -> Result<(), Fault> {
        self.device = (number(&block[329..337])?, number(&block[337..345])?);
        Ok(())
    }

    fn set_gnu_times(&mut self, block: &[u8; BLOCK]) -> Result<(), Fault> {
        for (field, time) in [(&block[345..357], &mut self.accessed), (&block[357..369], &mut self.changed)] {
            if field[0] != 0 {
                *time = Some(seconds(field)?);
            }
        }
        Ok(())
    }

    fn add_prefix(&mut self, prefix: &[u8]) {
        if !prefix.is_empty() {
            self.name = [prefix, b"/", &self.name].concat();
        }
    }

    /// Applies the records of a PAX header. An empty value leaves the field as it is.
    pub(super) fn apply_pax(&mut self, mut records: &[u8]) -> Result<(), Fault> {
        while !records.is_empty() {
            let (key, value, rest) = pax_record(records)?;
            records = rest;
            if key.starts_with(b"GNU.sparse.") {
                return Err("it is a sparse file");
            }
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                self.xattrs.insert(name.to_vec(), value.to_vec());
            } else if !value.is_empty() {
                self.apply_record(key, value)?;
            }
        }
        Ok(())
    }

    fn apply_record(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        match key {
            b"path" => self.name = value.to_vec(),
            b"linkpath" => self.link = value.to_vec(),
            b"size" => self.size = decimal(value)?,
            b"uid" => self.uid = decimal(value)?,
            b"gid" => self.gid = decimal(value)?,
            b"mtime" => self.modified = pax_time(value)?,
            b"atime" => self.accessed = Some(pax_time(value)?),
            b"ctime" => self.changed = Some(pax_time(value)?),
            _ => {}
        }
        Ok(())
    }
}

fn check_sum(block: &[u8; BLOCK]) -> Result<(), Fault> {
    let expected = number(&block[148..156])?;
    let bytes = block[..148].iter().chain(&[b' '; 8]).chain(&block[156..]);
    let (unsigned, signed) =
        bytes.fold((0, 0), |(u, s), byte| (u + i64::from(*byte), s + i64::from(byte.cast_signed())));
    if expected == unsigned || expected == signed { Ok(()) } else { Err("it is not a tar header") }
}

/// Returns a field up to its first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Returns a number in octal or, with the highest bit set, in base 256.
fn number(field: &[u8]) -> Result<i64, Fault> {
    const OUT_OF_RANGE: Fault = "a number is out of range";
    match field {
        [first, rest @ ..] if first & 0x80 != 0 => {
            let is_negative = first & 0x40 != 0;
            let start = i128::from(first & 0x3f) - if is_negative { 0x40 } else { 0 };
            let add = |value: i128, byte: &u8| value.checked_mul(256)?.checked_add(i128::from(*byte));
            let value = rest.iter().try_fold(start, add).ok_or(OUT_OF_RANGE)?;
            i64::try_from(value).map_err(|_| OUT_OF_RANGE)
        }
        _ => {
            let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
            let start = field.iter().position(|byte| !is_padding(byte)).unwrap_or(field.len());
            let digits = text(&field[start..]).trim_ascii_end();
            if digits.is_empty() {
                return Ok(0);
            }
            let digits = str::from_utf8(digits).map_err(|_| "a number is not octal")?;
            i64::from_str_radix(digits, 8).map_err(|_| "a number is not octal")
        }
    }
}

fn seconds(field: &[u8]) -> Result<Time, Fault> {
    Ok(Time { seconds: number(field)?, nanoseconds: 0 })
}

fn decimal(value: &[u8]) -> Result<i64, Fault> {
    str::from_utf8(value).ok().and_then(|value| value.parse().ok()).ok_or("a PAX record is not a decimal number")
}

/// Returns a time of a PAX record: seconds, and optionally a fraction, which is cut after nine digits.
fn pax_time(value: &[u8]) -> Result<Time, Fault> {
    const INVALID: Fault = "a PAX record is not a time";
    let value = str::from_utf8(value).map_err(|_| INVALID)?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let seconds: i64 = whole.parse().map_err(|_| INVALID)?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(INVALID);
    }
    let digits = fraction.bytes().chain([b'0'; 9]).take(9);
    let nanoseconds = digits.fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    if whole.starts_with('-') && nanoseconds > 0 {
        let seconds = seconds.checked_sub(1).ok_or(INVALID)?;
        return Ok(Time { seconds, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Ok(Time { seconds, nanoseconds })
}

/// The key and the value of a PAX record, and the bytes after it.
type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Reads the first record: `LENGTH KEY=VALUE\n`.
fn pax_record(records: &[u8]) -> Result<Record<'_>, Fault> {
    const INVALID: Fault = "a PAX record is invalid";
    let space = records.iter().position(|byte| *byte == b' ').ok_or(INVALID)?;
    let length =
        str::from_utf8(&records[..space]).ok().and_then(|length| length.parse::<usize>().ok()).ok_or(INVALID)?;
    let (record, rest) = records.split_at_checked(length).ok_or(INVALID)?;
    let record = record.get(space + 1..).and_then(|record| record.strip_suffix(b"\n")).ok_or(INVALID)?;
    let equals = record.iter().position(|byte| *byte == b'=').ok_or(INVALID)?;
    Ok((&record[..equals], &record[equals + 1..], rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000644\0"), Ok(0o644));
        assert_eq!(number(b"   644 \0"), Ok(0o644));
        assert_eq!(number(b"\0\0\0\0"), Ok(0));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x01\0\0\0\0"), Ok(1 << 32));
        assert_eq!(number(b"\xff\xff\xff\xfe"), Ok(-2));
        assert!(number(b"0009\0").is_err());
        assert!(number(&[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err());
    }

    #[test]
    fn times_of_pax_records_have_nanoseconds() {
        let time = |seconds, nanoseconds| Ok(Time { seconds, nanoseconds });
        assert_eq!(pax_time(b"1350244992.023960108"), time(1_350_244_992, 23_960_108));
        assert_eq!(pax_time(b"1.5"), time(1, 500_000_000));
        assert_eq!(pax_time(b"7"), time(7, 0));
        assert_eq!(pax_time(b"1.0000000019"), time(1, 1));
        assert_eq!(pax_time(b"-1.25"), time(-2, 750_000_000));
        assert!(pax_time(b"1.5x").is_err());
        assert!(pax_time(b"").is_err());
    }

    #[test]
    fn pax_records_replace_fields() {
        let mut header = Header { name: b"short".to_vec(), uid: 5, ..Header::default() };
        header.apply_pax(b"13 path=long\n7 uid=\n26 SCHILY.xattr.user.a=\0b\n").unwrap();
        assert_eq!((&header.name[..], header.uid), (&b"long"[..], 5));
        assert_eq!(header.xattrs[&b"user.a"[..]], b"\0b");
        for bad in [&b"12 path=long\n"[..], b"99 path=long\n", b"path=long\n", b"9 pathlo\n", b"0 a=b\n"] {
            assert!(header.clone().apply_pax(bad).is_err(), "{bad:?}");
        }
        assert!(header.apply_pax(b"22 GNU.sparse.major=1\n").is_err());
    }
}
