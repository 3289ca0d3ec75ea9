//! PAX extended header records: `length key=value\n`. The length includes its own digits.

use vmroot_container_fs::Timestamp;

/// The records of an entry.
#[derive(Debug, Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
}

impl Records {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + digits(length) {
            length = rest + digits(length);
        }
        self.bytes.extend_from_slice(length.to_string().as_bytes());
        self.bytes.push(b' ');
        self.bytes.extend_from_slice(key);
        self.bytes.push(b'=');
        self.bytes.extend_from_slice(value);
        self.bytes.push(b'\n');
    }

    pub(super) fn add_number(&mut self, key: &[u8], value: u64) {
        self.add(key, value.to_string().as_bytes());
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

/// Returns the time in seconds with as many decimals as necessary. A time before 1970 is a negative number, including
/// its fraction.
pub(super) fn decimal_time(time: Timestamp) -> String {
    let total = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
    let sign = if total < 0 { "-" } else { "" };
    let (seconds, nanoseconds) = (total.abs() / 1_000_000_000, total.abs() % 1_000_000_000);
    let fraction = format!(".{nanoseconds:09}");
    format!("{sign}{seconds}{}", fraction.trim_end_matches('0').trim_end_matches('.'))
}

/// Returns the key of an xattr record. A key cannot contain `=`, so the name is escaped as in GNU tar, and only where
/// GNU tar would unescape it.
pub(super) fn xattr_key(name: &[u8]) -> Vec<u8> {
    let mut key = b"SCHILY.xattr.".to_vec();
    let looks_escaped = |name: &[u8]| name.windows(3).any(|three| matches!(three, b"%3D" | b"%25"));
    if !name.contains(&b'=') && !looks_escaped(name) {
        key.extend_from_slice(name);
        return key;
    }
    for byte in name {
        match byte {
            b'=' => key.extend_from_slice(b"%3D"),
            b'%' => key.extend_from_slice(b"%25"),
            byte => key.push(*byte),
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_length_includes_its_own_digits() {
        for value in [0, 1, 87, 88, 89, 90, 985, 986, 987, 988, 9983, 9984, 9985] {
            let mut records = Records::default();
            records.add(b"path", &vec![b'x'; value]);
            let text = records.as_bytes();
            let space = text.iter().position(|&byte| byte == b' ').unwrap();
            let length: usize = std::str::from_utf8(&text[..space]).unwrap().parse().unwrap();
            assert_eq!(length, text.len());
        }
    }

    #[test]
    fn times_before_and_after_1970() {
        let time = |seconds, nanoseconds| decimal_time(Timestamp { seconds, nanoseconds });
        assert_eq!(time(0, 0), "0");
        assert_eq!(time(10, 0), "10");
        assert_eq!(time(1, 500_000_000), "1.5");
        assert_eq!(time(1, 1), "1.000000001");
        assert_eq!(time(-1, 0), "-1");
        assert_eq!(time(-1, 999_999_999), "-0.000000001");
        assert_eq!(time(-2, 500_000_000), "-1.5");
        assert_eq!(time(i64::MIN, 0), "-9223372036854775808");
    }

    #[test]
    fn xattr_names_are_escaped_for_gnu_tar() {
        assert_eq!(xattr_key(b"user.% x"), b"SCHILY.xattr.user.% x");
        assert_eq!(xattr_key(b"user.a=b%"), b"SCHILY.xattr.user.a%3Db%25");
        assert_eq!(xattr_key(b"user.%3D"), b"SCHILY.xattr.user.%253D");
    }
}
