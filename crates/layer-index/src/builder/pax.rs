//! Reading PAX extended headers (POSIX pax, "pax Extended Header"), with the xattr and sparse keys of star, libarchive
//! and GNU tar.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bstr::ByteSlice;

use crate::inode::Timestamp;

/// The values that extended headers set for the next entry.
#[derive(Debug, Clone, Default)]
pub(super) struct Overrides {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Timestamp>,
    /// In the order of the headers. Of two xattrs with one name, the last counts.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: SparseKeys,
}

/// The `GNU.sparse.*` keys.
#[derive(Debug, Clone, Default)]
pub(super) struct SparseKeys {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// The offsets and lengths of runs in turn, in formats 0.0 and 0.1.
    pub(super) map: Option<Vec<u64>>,
}

impl Overrides {
    /// Applies the records of one header.
    pub(super) fn apply(&mut self, mut data: &[u8]) -> Result<(), String> {
        while !data.is_empty() {
            let (key, value, rest) = split_record(data).ok_or("a PAX record is malformed")?;
            self.set(key, value).ok_or_else(|| {
                format!("the PAX record {}={} has an invalid value", key.escape_ascii(), value.escape_ascii())
            })?;
            data = rest;
        }
        Ok(())
    }

    /// Keeps the values that a global header may set.
    ///
    /// Returns an error for a name, a size, xattrs or a sparse map, since some readers apply these to every entry and
    /// others ignore them.
    pub(super) fn into_global(self) -> Result<Self, String> {
        let sparse = &self.sparse;
        let forbidden = [
            ("path", self.path.is_some()),
            ("linkpath", self.link.is_some()),
            ("size", self.size.is_some()),
            ("xattrs", !self.xattrs.is_empty()),
            ("GNU.sparse", sparse.major.is_some() || sparse.name.is_some() || sparse.map.is_some()),
        ];
        match forbidden.into_iter().find(|(_, is_set)| *is_set) {
            Some((key, _)) => Err(format!("a global PAX header sets {key} for every entry")),
            None => Ok(Self { uid: self.uid, gid: self.gid, mtime: self.mtime, ..Self::default() }),
        }
    }

    /// Applies one record. An empty value removes an earlier value, as POSIX specifies.
    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let bytes = || (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = bytes(),
            b"linkpath" => self.link = bytes(),
            b"size" => self.size = parse_optional(value, parse_decimal)?,
            b"uid" => self.uid = parse_optional(value, |value| u32::try_from(parse_decimal(value)?).ok())?,
            b"gid" => self.gid = parse_optional(value, |value| u32::try_from(parse_decimal(value)?).ok())?,
            b"mtime" => self.mtime = parse_optional(value, parse_timestamp)?,
            b"GNU.sparse.major" => self.sparse.major = Some(parse_decimal(value)?),
            b"GNU.sparse.minor" => self.sparse.minor = Some(parse_decimal(value)?),
            b"GNU.sparse.name" => self.sparse.name = bytes(),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.real_size = Some(parse_decimal(value)?),
            b"GNU.sparse.map" => {
                let numbers = value.split(|&byte| byte == b',').filter(|number| !number.is_empty());
                self.sparse.map = Some(numbers.map(parse_decimal).collect::<Option<_>>()?);
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let map = self.sparse.map.get_or_insert_default();
                // Format 0.0 repeats the two keys in turn. Another order would pair the wrong numbers.
                let is_offset = key == b"GNU.sparse.offset";
                (map.len().is_multiple_of(2) == is_offset).then_some(())?;
                map.push(parse_decimal(value)?);
            }
            _ => self.set_xattr(key, value)?,
        }
        Some(())
    }

    fn set_xattr(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (name, value) = if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            (decode_keyword(name), value.to_vec())
        } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            (decode_percent(name)?, decode_base64(value)?)
        } else {
            return Some(());
        };
        self.xattrs.push((name, value));
        Some(())
    }
}

/// Splits the first record (`length key=value\n`) off, and returns its key, its value and the rest.
fn split_record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(20).position(|&byte| byte == b' ')?;
    let length = usize::try_from(parse_decimal(&data[..space])?).ok()?;
    let (record, rest) = data.split_at_checked(length)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    (equals > 0).then(|| (&body[..equals], &body[equals + 1..], rest))
}

/// Parses a value, or returns `Some(None)` if it is empty.
fn parse_optional<T>(value: &[u8], parse: impl FnOnce(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if value.is_empty() { Some(None) } else { parse(value).map(Some) }
}

/// Parses a number that consists only of decimal digits.
pub(super) fn parse_decimal(digits: &[u8]) -> Option<u64> {
    let digit = |value: u64, &digit: &u8| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    };
    (!digits.is_empty()).then(|| digits.iter().try_fold(0, digit))?
}

/// Parses `[-]seconds[.fraction]`. Digits after the ninth of the fraction are dropped.
fn parse_timestamp(value: &[u8]) -> Option<Timestamp> {
    let (negative, value) = value.strip_prefix(b"-").map_or((false, value), |value| (true, value));
    let (whole, fraction) = match value.iter().position(|&byte| byte == b'.') {
        Some(dot) => (&value[..dot], &value[dot + 1..]),
        None => (value, &[][..]),
    };
    fraction.iter().all(u8::is_ascii_digit).then_some(())?;
    let seconds = i64::try_from(parse_decimal(whole)?).ok()?;
    let place = |nanoseconds, place| nanoseconds * 10 + u32::from(fraction.get(place).map_or(0, |digit| digit - b'0'));
    let nanoseconds = (0..9).fold(0, place);
    Some(match (negative, nanoseconds) {
        (false, nanoseconds) => Timestamp { seconds, nanoseconds },
        (true, 0) => Timestamp { seconds: -seconds, nanoseconds },
        (true, nanoseconds) => Timestamp { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

/// Decodes the name of an xattr from GNU tar, which writes `=` as `%3D` and `%` as `%25`, since a key ends at the first
/// `=`.
fn decode_keyword(name: &[u8]) -> Vec<u8> {
    name.replace(b"%3D", b"=").replace(b"%25", b"%")
}

fn decode_percent(name: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            decoded.push(byte);
            rest = after;
        }
    }
    Some(decoded)
}

/// Decodes standard base64 with or without padding. libarchive omits it, other writers do not.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    STANDARD_NO_PAD.decode(&text[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(records: &[u8]) -> Result<Overrides, String> {
        let mut overrides = Overrides::default();
        overrides.apply(records).map(|()| overrides)
    }

    #[test]
    fn values_may_hold_newlines_nuls_and_equals_signs() {
        let overrides = parse(b"29 SCHILY.xattr.user.a=\n\0=b\n\n15 path=a=b\nc\xff\n").unwrap();
        assert_eq!(overrides.xattrs, [(b"user.a".to_vec(), b"\n\0=b\n".to_vec())]);
        assert_eq!(overrides.path.unwrap(), b"a=b\nc\xff");
    }

    #[test]
    fn times_are_rounded_down() {
        for (text, seconds, nanoseconds) in [
            ("0", 0, 0),
            ("1.5", 1, 500_000_000),
            ("-1.5", -2, 500_000_000),
            ("-3", -3, 0),
            ("1350244992.023960108", 1_350_244_992, 23_960_108),
            ("1.0000000019", 1, 1),
        ] {
            assert_eq!(parse_timestamp(text.as_bytes()), Some(Timestamp { seconds, nanoseconds }), "{text}");
        }
        for text in ["", "-", ".5", "1.x", "1e3", "99999999999999999999"] {
            assert_eq!(parse_timestamp(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn xattrs_of_libarchive_are_decoded() {
        let overrides = parse(b"34 LIBARCHIVE.xattr.user.%41=AAEC\n").unwrap();
        assert_eq!(overrides.xattrs, [(b"user.A".to_vec(), vec![0, 1, 2])]);
    }

    #[test]
    fn malformed_records_are_refused() {
        for records in [&b"5 a\n"[..], b"99 path=x\n", b"x path=y\n", b"9 path=x ", b"11 size=-1\n", b"6 =xy\n"] {
            assert!(parse(records).is_err(), "{}", records.escape_ascii());
        }
    }

    #[test]
    fn sparse_numbers_must_come_in_pairs() {
        assert!(parse(b"23 GNU.sparse.offset=0\n23 GNU.sparse.offset=1\n").is_err());
    }
}
