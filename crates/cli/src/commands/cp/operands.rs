//! The operands of `cp`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use vmroot::{ImageName, is_id, validate_image_name};

use crate::exit::Advised;

/// The prefix of the name of a prebaked directory.
const PREBAKED: &str = "prebaked:";

/// The operands of `cp`.
#[derive(Debug)]
pub(super) struct Operands {
    pub(super) image: String,
    /// The path in the image.
    pub(super) path: Vec<u8>,
    /// The path on this machine, or `-`.
    pub(super) destination: OsString,
}

impl Operands {
    /// Parses `IMAGE:/PATH DEST` or `IMAGE PATH DEST`.
    pub(super) fn parse(operands: &[OsString]) -> Result<Self, Advised> {
        let (image, path, destination) = match operands {
            [source, destination] => {
                let Some((image, path)) = split(source.as_bytes()) else {
                    return Err(no_path(source, destination));
                };
                if is_of_image(destination) {
                    return Err(no_change());
                }
                (image.to_owned(), path.to_vec(), destination)
            }
            [image, path, destination] => {
                let name = image.to_str();
                let name = name.ok_or_else(|| not_a_name(image))?;
                (name.to_owned(), path.clone().into_vec(), destination)
            }
            _ => {
                return Err(Advised::usage(
                    "cp takes two or three operands",
                    "they are IMAGE:/PATH and DEST, or IMAGE, PATH and DEST",
                ));
            }
        };
        if destination.is_empty() {
            return Err(Advised::usage("DEST is empty", "`.` is the working directory"));
        }
        Ok(Self { image, path, destination: destination.clone() })
    }
}

/// Splits `IMAGE:/PATH` at the last `:/` before which there is the name of an image.
fn split(text: &[u8]) -> Option<(&str, &[u8])> {
    let whole = Kind::of(&String::from_utf8_lossy(text));
    (0..text.len().saturating_sub(1)).rev().filter(|&at| text[at..].starts_with(b":/")).find_map(|at| {
        let image = std::str::from_utf8(&text[..at]).ok()?;
        // `docker:` of `docker://NAME` is no image, and neither is `oci` of `oci:/DIR`.
        (Kind::of(image) == whole && is_image(image)).then_some((image, &text[at + 1..]))
    })
}

/// The form of an image's name.
#[derive(PartialEq, Eq)]
enum Kind {
    Prebaked,
    Transport,
    Reference,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            _ if name.starts_with(PREBAKED) => Self::Prebaked,
            _ if ImageName::has_transport(name) => Self::Transport,
            _ => Self::Reference,
        }
    }
}

fn is_image(name: &str) -> bool {
    match Kind::of(name) {
        Kind::Prebaked => name.len() > PREBAKED.len(),
        Kind::Transport => ImageName::parse(name).is_ok(),
        Kind::Reference => is_id(name) || validate_image_name(name).is_ok(),
    }
}

/// Returns whether a destination is a path in an image, and no path of this machine.
fn is_of_image(destination: &OsStr) -> bool {
    let bytes = destination.as_bytes();
    let Some((image, _)) = split(bytes) else { return false };
    // A directory may be named as an image and a colon.
    !Path::new(OsStr::from_bytes(&bytes[..=image.len()])).exists()
}

/// Returns the error for a destination in an image.
fn no_change() -> Advised {
    Advised::usage(
        "cp copies from an image, and images do not change",
        "`vmroot commit` adds a layer to an image, and --add of `export`, `mount` and `boot` puts files on top",
    )
}

/// Returns the error for a source without a path.
fn no_path(source: &OsStr, destination: &OsStr) -> Advised {
    if split(destination.as_bytes()).is_some() {
        return no_change();
    }
    let message = match source.is_empty() {
        true => "the source is empty".to_owned(),
        false => format!("{}: has no path in an image", source.display()),
    };
    Advised::usage(message, "write it as IMAGE:/PATH, with a slash after the colon")
}

fn not_a_name(image: &OsStr) -> Advised {
    Advised::usage(format!("{}: not the name of an image", image.display()), "names of images are UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, String)> {
        let (image, path) = split(text.as_bytes())?;
        Some((image.to_owned(), String::from_utf8(path.to_vec()).unwrap()))
    }

    #[test]
    fn image_ends_at_the_last_colon_that_leaves_a_name() {
        for (text, image, path) in [
            ("alpine:/etc/motd", "alpine", "/etc/motd"),
            ("alpine:3.20:/etc/motd", "alpine:3.20", "/etc/motd"),
            ("localhost:5000/demo:/", "localhost:5000/demo", "/"),
            ("localhost:5000/demo:1:/a:b", "localhost:5000/demo:1", "/a:b"),
            ("0123456789ab:/etc/.", "0123456789ab", "/etc/."),
            ("alpine:/a:/b", "alpine", "/a:/b"),
            ("prebaked:web:/etc", "prebaked:web", "/etc"),
            ("prebaked:/srv/web:/etc", "prebaked:/srv/web", "/etc"),
            ("oci:layout:/etc", "oci:layout", "/etc"),
            ("oci:/srv/layout:tag:/etc", "oci:/srv/layout:tag", "/etc"),
            ("docker-archive:/a.tar:demo:1:/etc", "docker-archive:/a.tar:demo:1", "/etc"),
            ("docker://alpine:3:/etc", "docker://alpine:3", "/etc"),
            ("docker://localhost:5000/demo:/etc", "docker://localhost:5000/demo", "/etc"),
            ("tarball:/a.tar:/b.tar:/etc", "tarball:/a.tar:/b.tar", "/etc"),
            ("vmroot:alpine:/etc", "vmroot:alpine", "/etc"),
        ] {
            assert_eq!(parsed(text), Some((image.to_owned(), path.to_owned())), "{text}");
        }
        for text in
            ["alpine", "alpine:etc", "docker://alpine", "docker://alpine/x", "prebaked:/srv", "oci:/srv", ":/a", ""]
        {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn mistakes_say_how_it_is_written() {
        let fails = |operands: &[&str]| {
            let operands: Vec<_> = operands.iter().map(OsString::from).collect();
            Operands::parse(&operands).unwrap_err().to_string()
        };
        assert!(fails(&["alpine", "x"]).contains("has no path in an image"));
        assert!(fails(&["x", "alpine:/etc"]).contains("images do not change"));
        assert!(fails(&["alpine:/etc", "alpine:/tmp"]).contains("images do not change"));
        assert!(fails(&["alpine:/etc", ""]).contains("DEST is empty"));
        let three = ["prebaked:/a:/b", "/c:/d", "x"].map(OsString::from);
        let parsed = Operands::parse(&three).unwrap();
        assert_eq!((&*parsed.image, &parsed.path[..]), ("prebaked:/a:/b", &b"/c:/d"[..]));
    }
}
