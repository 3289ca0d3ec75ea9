//! The records of a PAX extended header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// A sequence of records of the form `<length> <keyword>=<value>\n`.
#[derive(Debug, Clone, Default)]
pub struct PaxRecords {
    bytes: Vec<u8>,
}

impl PaxRecords {
    /// Returns an empty sequence.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a record with the correct length. The value may have any bytes.
    pub fn record(mut self, keyword: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let (keyword, value) = (keyword.as_ref(), value.as_ref());
        let payload = keyword.len() + value.len() + 3; // blank, equals sign, newline
        let mut length = payload + 1;
        while length != payload + length.to_string().len() {
            length = payload + length.to_string().len();
        }
        self.bytes.extend_from_slice(format!("{length} ").as_bytes());
        self.bytes.extend_from_slice(keyword);
        self.bytes.push(b'=');
        self.bytes.extend_from_slice(value);
        self.bytes.push(b'\n');
        self
    }

    /// Appends bytes that need not be a valid record.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends a time as decimal seconds with up to nine fractional digits. Negative times are written as in POSIX.
    pub fn time(self, keyword: &str, seconds: i64, nanoseconds: u32) -> Self {
        self.record(keyword, decimal_time(seconds, nanoseconds))
    }

    /// Appends an extended attribute in the format of star, GNU tar and Go: a raw value.
    pub fn schily_xattr(self, name: &[u8], value: &[u8]) -> Self {
        self.record([b"SCHILY.xattr.", name].concat(), value)
    }

    /// Appends an extended attribute in the format of libarchive: a percent-encoded name, and a base64 value without
    /// padding.
    pub fn libarchive_xattr(self, name: &[u8], value: &[u8]) -> Self {
        let mut keyword = b"LIBARCHIVE.xattr.".to_vec();
        for &byte in name {
            if byte.is_ascii_graphic() && byte != b'%' && byte != b'=' {
                keyword.push(byte);
            } else {
                keyword.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
        }
        self.record(keyword, STANDARD_NO_PAD.encode(value))
    }

    /// Returns whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the bytes of the records.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Formats `seconds + nanoseconds/1e9` as a decimal number: -1 s and 750,000,000 ns is `-0.25`.
fn decimal_time(seconds: i64, nanoseconds: u32) -> String {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let sign = if total < 0 { "-" } else { "" };
    let (whole, fraction) = (total.unsigned_abs() / 1_000_000_000, total.unsigned_abs() % 1_000_000_000);
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{}", format!("{fraction:09}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_length_counts_itself() {
        assert_eq!(PaxRecords::new().record("a", "b").as_bytes(), b"6 a=b\n");
        // The payload has 97 bytes: with a length of two digits the record has 99 bytes, and with three it would have
        // 100.
        let value = "v".repeat(93);
        assert_eq!(PaxRecords::new().record("k", &value).as_bytes(), format!("99 k={value}\n").as_bytes());
        let value = "v".repeat(94);
        assert_eq!(PaxRecords::new().record("k", &value).as_bytes(), format!("101 k={value}\n").as_bytes());
    }

    #[test]
    fn times_before_1970() {
        assert_eq!(decimal_time(-1, 750_000_000), "-0.25");
        assert_eq!(decimal_time(-2, 0), "-2");
        assert_eq!(decimal_time(1, 1), "1.000000001");
    }
}
