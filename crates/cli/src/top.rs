//! `--layer` and `--add`: what goes on top of an image.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use rustix::fs::Access;
use vmroot::{Addition, Top};

use crate::places;

/// What goes on top of an image.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "On top of the image")]
pub(crate) struct TopArguments {
    /// Put a layer on top: a tar, compressed or not, or a directory, whose files keep owners and modes. Whiteouts in either
    /// delete; a directory takes the place of a link, which is warned of. May be given several times, the lowest first
    #[arg(long, value_name = "DIR|TAR")]
    layer: Vec<PathBuf>,
    /// Put a file or a directory on top, above all layers; it belongs to root unless UID:GID says otherwise. DEST is a
    /// path in the image, and one that ends in a slash or is a directory gets SRC under its own name; SRC/. is what is in
    /// SRC. May be given several times, and the last one wins
    #[arg(long, value_name = "SRC:DEST[:MODE[:UID:GID]]", value_parser = OsStringValueParser::new().try_map(addition))]
    add: Vec<Addition>,
}

impl TopArguments {
    /// Refuses what is not there or may not be read, before an image is fetched for it.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for layer in &self.layer {
            let io = |source| vmroot::Error::Io { path: layer.clone(), source };
            places::may(layer, Access::READ_OK).map_err(io)?;
        }
        for addition in &self.add {
            if let Addition::Copy { source, destination, .. } = addition {
                let named = || format!("{} to {}", source.display(), destination.escape_ascii());
                let metadata = source.symlink_metadata().with_context(named)?;
                if !metadata.is_symlink() {
                    places::may(source, Access::READ_OK).with_context(named)?;
                }
            }
        }
        Ok(())
    }

    /// The same for the library.
    pub(crate) fn top(&self) -> Top {
        Top { layers: self.layer.clone(), additions: self.add.clone(), strict: false }
    }
}

/// Takes `SRC:DEST[:MODE[:UID:GID]]` apart, from its end: as DEST begins with a slash and has no colon, SRC may have any.
fn addition(text: OsString) -> Result<Addition, String> {
    let fields: Vec<&[u8]> = text.as_bytes().split(|&byte| byte == b':').collect();
    let is_destination = |at: &usize| fields[*at].starts_with(b"/");
    let at = (1..fields.len()).rev().find(is_destination).ok_or("wants SRC:DEST, and DEST begins with a slash")?;
    let source = OsStr::from_bytes(&fields[..at].join(&b':')).to_owned();
    if source.is_empty() {
        return Err("wants SRC:DEST, and SRC is missing".to_owned());
    }
    let (mode, owner) = match fields[at + 1..] {
        [] => (None, None),
        [mode] => (Some(octal(mode)?), None),
        [mode, uid, gid] => (Some(octal(mode)?), Some((id(uid)?, id(gid)?))),
        _ => return Err("wants MODE or MODE:UID:GID after DEST, and no colon in DEST".to_owned()),
    };
    Ok(Addition::Copy { source: source.into(), destination: fields[at].to_vec(), mode, owner })
}

fn octal(digits: &[u8]) -> Result<u32, String> {
    let mode = std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 8).ok());
    let text = digits.escape_ascii();
    mode.filter(|mode| *mode <= 0o7777 && digits[0] != b'+').ok_or_else(|| format!("`{text}` is no octal mode"))
}

fn id(digits: &[u8]) -> Result<u32, String> {
    let id = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    // The kernel takes the largest for "leave it".
    let id = id.filter(|id| *id != u32::MAX && digits[0] != b'+');
    id.ok_or_else(|| format!("`{}` is no user or group id", digits.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_the_end() {
        let copy = |source: &str, destination: &str, mode, owner| {
            Ok(Addition::Copy { source: source.into(), destination: destination.into(), mode, owner })
        };
        for (text, expected) in [
            ("a:/b", copy("a", "/b", None, None)),
            ("a:/b/", copy("a", "/b/", None, None)),
            ("dir/.:/", copy("dir/.", "/", None, None)),
            ("a:/b:755", copy("a", "/b", Some(0o755), None)),
            ("a:/b:0644:1000:100", copy("a", "/b", Some(0o644), Some((1000, 100)))),
            ("a:b:c:/d", copy("a:b:c", "/d", None, None)),
            ("/a:/b:/c", copy("/a:/b", "/c", None, None)),
            ("/a:7:0:0:/c:4755", copy("/a:7:0:0", "/c", Some(0o4755), None)),
        ] {
            assert_eq!(addition(text.into()), expected, "{text}");
        }
        for text in ["a", "a:", ":/b", "a:b", "a:/b:", "a:/b:9", "a:/b:1:2", "a:/b:755:1:x", "a:/b:77777", "a:/b:+7"] {
            assert!(addition(text.into()).is_err(), "{text}");
        }
        assert_eq!(addition("a:/b:9".into()).unwrap_err(), "`9` is no octal mode");
        assert_eq!(addition("a:/b:7:1:x".into()).unwrap_err(), "`x` is no user or group id");
        for text in ["a:/b:755:1:4294967295", "a:/b:755:-1:0", "a:/b:755:0:0:0"] {
            assert!(addition(text.into()).is_err(), "{text}");
        }
    }
}
