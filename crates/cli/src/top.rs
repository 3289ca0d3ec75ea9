//! `--layer` and `--add`: layers and files on top of an image.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use rustix::fs::Access;
use vmroot::changes::Owner;
use vmroot::{Addition, Top};

use crate::paths;

/// Options that put layers and files on top of an image.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "On top of the image")]
pub(crate) struct TopArguments {
    /// Put a layer on top: a tar, compressed or not, or a directory, whose files keep owners and modes. Whiteouts
    /// delete files of the image. A directory replaces a symbolic link, with a warning. Repeatable, the lowest layer
    /// first
    #[arg(long, value_name = "DIR|TAR")]
    layer: Vec<PathBuf>,
    /// Put a file or a directory on top, above all layers. MODE is octal [default: the mode of SRC], UID:GID is the
    /// owner [default: root]. DEST is a path in the image; if it ends in a slash or is a directory, SRC is put into it
    /// under its own name. SRC/. copies the entries of the directory SRC. Repeatable; a later addition replaces an
    /// earlier one
    #[arg(long, value_name = "SRC:DEST[:MODE[:UID:GID]]", value_parser = OsStringValueParser::new().try_map(parse_addition))]
    add: Vec<Addition>,
}

impl TopArguments {
    /// Fails if a source is missing or unreadable, before an image is fetched.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for layer in &self.layer {
            paths::check_access(layer, Access::READ_OK).with_context(|| layer.display().to_string())?;
        }
        for addition in &self.add {
            if let Addition::Copy { source, destination, .. } = addition {
                let named = || format!("{} to {}", source.display(), destination.escape_ascii());
                let metadata = source.symlink_metadata().with_context(named)?;
                if !metadata.is_symlink() {
                    paths::check_access(source, Access::READ_OK).with_context(named)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the layers and additions for the library.
    pub(crate) fn top(&self) -> Top {
        Top { layers: self.layer.clone(), additions: self.add.clone(), strict: false }
    }
}

/// Parses `SRC:DEST[:MODE[:UID:GID]]` from its end. DEST begins with a slash and has no colon, so SRC may have colons.
fn parse_addition(text: OsString) -> Result<Addition, String> {
    let fields: Vec<&[u8]> = text.as_bytes().split(|&byte| byte == b':').collect();
    let is_destination = |at: &usize| fields[*at].starts_with(b"/");
    let at = (1..fields.len())
        .rev()
        .find(is_destination)
        .ok_or("expected SRC:DEST, with a DEST that begins with a slash")?;
    let source = OsStr::from_bytes(&fields[..at].join(&b':')).to_owned();
    if source.is_empty() {
        return Err("expected SRC:DEST, but SRC is empty".to_owned());
    }
    let (mode, owner) = match fields[at + 1..] {
        [] => (None, None),
        [mode] => (Some(parse_mode(mode)?), None),
        [mode, uid, gid] => (Some(parse_mode(mode)?), Some(Owner { uid: parse_id(uid)?, gid: parse_id(gid)? })),
        _ => return Err("expected MODE or MODE:UID:GID after DEST, and no colon in DEST".to_owned()),
    };
    Ok(Addition::Copy { source: source.into(), destination: fields[at].to_vec(), mode, owner })
}

fn parse_mode(digits: &[u8]) -> Result<u32, String> {
    let mode = std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 8).ok());
    let text = digits.escape_ascii();
    mode.filter(|mode| *mode <= 0o7777 && digits[0] != b'+').ok_or_else(|| format!("`{text}` is not an octal mode"))
}

fn parse_id(digits: &[u8]) -> Result<u32, String> {
    let id = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    // chown(2) leaves an owner unchanged for the largest id.
    let id = id.filter(|id| *id != u32::MAX && digits[0] != b'+');
    id.ok_or_else(|| format!("`{}` is not a user or group id", digits.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addition_is_parsed_from_its_end() {
        let copy = |source: &str, destination: &str, mode, owner| {
            Ok(Addition::Copy { source: source.into(), destination: destination.into(), mode, owner })
        };
        for (text, expected) in [
            ("a:/b", copy("a", "/b", None, None)),
            ("a:/b/", copy("a", "/b/", None, None)),
            ("dir/.:/", copy("dir/.", "/", None, None)),
            ("a:/b:755", copy("a", "/b", Some(0o755), None)),
            ("a:/b:0644:1000:100", copy("a", "/b", Some(0o644), Some(Owner { uid: 1000, gid: 100 }))),
            ("a:b:c:/d", copy("a:b:c", "/d", None, None)),
            ("/a:/b:/c", copy("/a:/b", "/c", None, None)),
            ("/a:7:0:0:/c:4755", copy("/a:7:0:0", "/c", Some(0o4755), None)),
        ] {
            assert_eq!(parse_addition(text.into()), expected, "{text}");
        }
        for text in ["a", "a:", ":/b", "a:b", "a:/b:", "a:/b:9", "a:/b:1:2", "a:/b:755:1:x", "a:/b:77777", "a:/b:+7"] {
            assert!(parse_addition(text.into()).is_err(), "{text}");
        }
        assert_eq!(parse_addition("a:/b:9".into()).unwrap_err(), "`9` is not an octal mode");
        assert_eq!(parse_addition("a:/b:7:1:x".into()).unwrap_err(), "`x` is not a user or group id");
        for text in ["a:/b:755:1:4294967295", "a:/b:755:-1:0", "a:/b:755:0:0:0"] {
            assert!(parse_addition(text.into()).is_err(), "{text}");
        }
    }
}
