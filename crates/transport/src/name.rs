//! Names of image sources: `TRANSPORT:details`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use vmroot_model::Reference;

use crate::{Error, Format, ImageSelector, Result};

/// The name of an image source.
///
/// | form | meaning |
/// |---|---|
/// | `docker://NAME[:TAG][@DIGEST]` | a repository of a registry |
/// | `docker-archive:PATH[:NAME[:TAG]\|:@N]` | a tar from `docker save` |
/// | `oci:PATH[:REF\|:@N]` | an OCI layout |
/// | `oci-archive:PATH[:REF\|:@N]` | a tar of an OCI layout |
/// | `dir:PATH` | a directory as skopeo writes it |
///
/// A path ends at its first colon, except in `dir:`. `@N` counts from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageName {
    /// A repository of a registry.
    Docker(Reference),
    /// An image of a file or directory.
    Archive {
        /// The format.
        format: Format,
        /// The path of the file or directory.
        path: PathBuf,
        /// The selected image.
        selector: ImageSelector,
    },
}

impl ImageName {
    /// Returns whether `text` starts with the name of a transport and a colon. Such a text is a source's name, not a
    /// reference.
    pub fn has_transport(text: &str) -> bool {
        text.split_once(':').is_some_and(|(transport, details)| match transport {
            "docker" => details.starts_with("//"),
            _ => format_of(transport).is_some(),
        })
    }

    /// Returns whether `text` names an image in a file or a directory: it starts with the name of a transport other than
    /// `docker`. The rest of `text` is not checked.
    pub fn is_archive(text: &str) -> bool {
        text.split_once(':').is_some_and(|(transport, _)| format_of(transport).is_some())
    }

    /// Parses `TRANSPORT:details`.
    ///
    /// # Errors
    /// [`Error::InvalidName`] if the transport is unknown, the path is empty, or the details are not of the transport's
    /// form.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |reason: String| Error::InvalidName { name: text.to_owned(), reason };
        let (transport, details) = text.split_once(':').ok_or_else(|| invalid("it has no TRANSPORT:".to_owned()))?;
        if transport == "docker" {
            let reference = details.strip_prefix("//").ok_or_else(|| invalid("docker: requires //NAME".to_owned()))?;
            let reference = Reference::parse(reference).map_err(|error| invalid(error.to_string()))?;
            return Ok(Self::Docker(reference));
        }
        let format = format_of(transport).ok_or_else(|| invalid(format!("unknown transport {transport:?}")))?;
        let (path, selector) = match details.split_once(':') {
            Some((path, details)) if format != Format::Dir => (path, Some(details)),
            _ => (details, None),
        };
        if path.is_empty() {
            return Err(invalid("the path is empty".to_owned()));
        }
        let selector = match selector {
            None => ImageSelector::Only,
            Some(details) => parse_selector(format, details).map_err(invalid)?,
        };
        Ok(Self::Archive { format, path: PathBuf::from(path), selector })
    }

    /// Returns the path of a file or directory, or `None` for a registry.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Docker(_) => None,
            Self::Archive { path, .. } => Some(path),
        }
    }
}

impl FromStr for ImageName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Docker(reference) => write!(f, "docker://{reference}"),
            Self::Archive { format, path, selector: ImageSelector::Only } => write!(f, "{format}:{}", path.display()),
            Self::Archive { format, path, selector } => write!(f, "{format}:{}:{selector}", path.display()),
        }
    }
}

fn format_of(transport: &str) -> Option<Format> {
    let formats = [Format::DockerArchive, Format::OciLayout, Format::OciArchive, Format::Dir];
    formats.into_iter().find(|format| format.transport() == transport)
}

fn parse_selector(format: Format, details: &str) -> std::result::Result<ImageSelector, String> {
    if let Some(index) = details.strip_prefix('@') {
        let digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
        let index = index.parse().ok().filter(|_| digits);
        return index.map(ImageSelector::Index).ok_or_else(|| format!("{details:?} is not @ and a number"));
    }
    if format == Format::DockerArchive {
        let reference = Reference::parse(details).map_err(|error| error.to_string())?;
        if reference.digest().is_some() {
            return Err("the images of docker-archive: have no digests".to_owned());
        }
        let tag = reference.tag().unwrap_or("latest");
        let tagged = reference.with_tag(tag).map_err(|error| error.to_string())?;
        return Ok(ImageSelector::Name(tagged.familiar()));
    }
    if is_ref_name(details) {
        Ok(ImageSelector::Name(details.to_owned()))
    } else {
        Err(format!("{details:?} is not a valid image name in an OCI layout"))
    }
}

/// Returns whether this is a valid `org.opencontainers.image.ref.name`: components joined by slashes, each of runs of
/// letters and digits joined by one of `-._:@+` or by `--` (OCI image-spec, annotations.md).
fn is_ref_name(text: &str) -> bool {
    let is_separator = |c: char| "-._:@+".contains(c);
    text.split('/').all(|component| {
        let component = component.replace("--", "-");
        component.split(is_separator).all(|run| !run.is_empty() && run.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_each_transport_and_its_details() {
        let archive = |format, path: &str, selector| ImageName::Archive { format, path: path.into(), selector };
        let name = |name: &str| ImageSelector::Name(name.to_owned());
        for (text, wanted) in [
            ("docker-archive:/tmp/a.tar", archive(Format::DockerArchive, "/tmp/a.tar", ImageSelector::Only)),
            ("docker-archive:a.tar:alpine", archive(Format::DockerArchive, "a.tar", name("alpine:latest"))),
            (
                "docker-archive:a.tar:localhost:5000/a:b",
                archive(Format::DockerArchive, "a.tar", name("localhost:5000/a:b")),
            ),
            ("docker-archive:a.tar:@12", archive(Format::DockerArchive, "a.tar", ImageSelector::Index(12))),
            ("oci:dir/x", archive(Format::OciLayout, "dir/x", ImageSelector::Only)),
            ("oci:dir:latest", archive(Format::OciLayout, "dir", name("latest"))),
            (
                "oci:dir:docker.io/library/a--b_c:3.20@x+y",
                archive(Format::OciLayout, "dir", name("docker.io/library/a--b_c:3.20@x+y")),
            ),
            ("oci-archive:a.tar:@0", archive(Format::OciArchive, "a.tar", ImageSelector::Index(0))),
            ("dir:a:b", archive(Format::Dir, "a:b", ImageSelector::Only)),
            ("docker://alpine:3.20", ImageName::Docker(Reference::parse("alpine:3.20").unwrap())),
        ] {
            let parsed = ImageName::parse(text).unwrap();
            assert_eq!(parsed, wanted, "{text}");
            assert_eq!(ImageName::parse(&parsed.to_string()).unwrap(), wanted, "{text}");
            assert!(ImageName::has_transport(text), "{text}");
            assert_eq!(ImageName::is_archive(text), wanted.path().is_some(), "{text}");
        }
    }

    /// A malformed name still tells where its image would be.
    #[test]
    fn is_archive_looks_at_the_transport_only() {
        for text in ["oci:", "docker-archive:a.tar:@-1", "dir:a b"] {
            assert!(ImageName::is_archive(text), "{text}");
        }
        for text in ["docker://BAD NAME", "docker:latest", "oci", "", "ostree:x"] {
            assert!(!ImageName::is_archive(text), "{text}");
        }
    }

    #[test]
    fn errors_state_the_reason() {
        let digest = format!("docker-archive:a.tar:alpine@sha256:{}", "0".repeat(64));
        for (text, reason) in [
            ("alpine", "no TRANSPORT"),
            ("ostree:x", "unknown transport \"ostree\""),
            ("docker:alpine", "requires //NAME"),
            ("docker://UPPER/case", "UPPER"),
            ("oci:", "path is empty"),
            ("docker-archive::alpine", "path is empty"),
            ("docker-archive:a.tar:", "reference"),
            ("docker-archive:a.tar:@", "not @ and a number"),
            ("docker-archive:a.tar:@-1", "not @ and a number"),
            ("oci:a:@+1", "not @ and a number"),
            (&digest, "no digests"),
            ("oci:a:b c", "not a valid image name"),
            ("oci:a:b---c", "not a valid image name"),
            ("oci:a:/b", "not a valid image name"),
            ("oci:a:", "not a valid image name"),
        ] {
            let error = ImageName::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(&format!("{text:?}")), "{text}: {error}");
        }
    }

    #[test]
    fn references_have_no_transport() {
        for text in ["alpine", "alpine:3.20", "localhost:5000/x", "docker:latest", "ocid:latest"] {
            assert!(!ImageName::has_transport(text), "{text}");
        }
    }
}
