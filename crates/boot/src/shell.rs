//! Quoting of words for a shell.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Returns a word as a POSIX shell reads it: in single quotes if it contains other characters than letters, digits and
/// `_./=,:+@%^-`, or is empty.
pub fn quote(word: impl AsRef<OsStr>) -> Vec<u8> {
    let word = word.as_ref().as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./=,:+@%^-".contains(byte);
    if !word.is_empty() && word.iter().all(is_plain) {
        return word.to_owned();
    }
    let mut quoted = b"'".to_vec();
    for byte in word {
        match byte {
            b'\'' => quoted.extend(br"'\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn plain_words_stay_as_they_are() {
        assert_eq!(quote("file=/a_b.c,x:1+2@3%4^5-"), b"file=/a_b.c,x:1+2@3%4^5-");
        assert_eq!(quote(""), b"''");
        assert_eq!(quote("~"), b"'~'");
        assert_eq!(quote("it's"), br"'it'\''s'");
    }

    #[test]
    fn a_shell_reads_every_word_back() {
        let all = (1..=255).collect::<Vec<u8>>();
        for word in [&all[..], b"a b", b"$HOME", b"`id`", b"\\", b"\n", b"'", b"''", b"-n"] {
            let mut script = b"printf '%s|' ".to_vec();
            script.extend(quote(OsStr::from_bytes(word)));
            let output = Command::new("sh").arg("-c").arg(OsString::from_vec(script)).output().unwrap();
            assert_eq!(output.stdout, [word, b"|"].concat());
        }
    }
}
